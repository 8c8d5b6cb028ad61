"""Permissions that the operator never grants to containers: policy ``rights``.

When a run starts, these rules are left out for every author (``core.workloads.runner_rules``); the policy refuses them
when the object is written. A permission that the operator does not have is not refused: an administrator may add it
later.
Source: StepRun contract 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, IMPULSE, IMPULSE_TEMPLATE, Resource
from core.workloads import runner_rules
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import NOT_DELETED, SPEC_CHANGED
from deployment.policies.policy import SPECS, Check, Policy
from webhooks.validate import rights

NEVER_HANDED_ON: Final = rights.NEVER.id

_ASKED_FOR: Final = (
    (ENGRAM_TEMPLATE, "execution"),
    (IMPULSE_TEMPLATE, "execution"),
    (ENGRAM, "overrides"),
    (IMPULSE, "execution"),
)
_RULE_WORDS: Final = "(r.resources + r.verbs + (has(r.resourceNames) ? r.resourceNames : []))"
_COMPLETE: Final = (
    "(!has(r.nonResourceURLs) || size(r.nonResourceURLs) == 0)"
    " && has(r.apiGroups) && size(r.apiGroups) > 0 && has(r.resources) && size(r.resources) > 0 && size(r.verbs) > 0"
)
_SPELLED_OUT: Final = f"!r.apiGroups.exists(w, w.contains('*')) && {_RULE_WORDS}.all(w, w != '' && !w.contains('*'))"
_NO_RIGHTS_TO_RIGHTS: Final = (
    "!('rbac.authorization.k8s.io' in r.apiGroups) && !r.verbs.exists(v, v in ['escalate', 'bind', 'impersonate'])"
)
_NAMED_SECRETS: Final = (
    "!('' in r.apiGroups && 'secrets' in r.resources)"
    " || (r.verbs.all(v, v == 'get') && has(r.resourceNames) && size(r.resourceNames) > 0)"
)
_NO_ACCOUNTS: Final = (
    "!('' in r.apiGroups) || (!r.resources.exists(x, x.startsWith('serviceaccounts/'))"
    " && (!('serviceaccounts' in r.resources) || r.verbs.all(v, v in ['get', 'list', 'watch'])))"
)
_READS_BY_NAME: Final = (
    "has(r.apiGroups) && has(r.resources) && has(r.resourceNames) && size(r.resourceNames) > 0"
    " && r.apiGroups.all(g, g == '') && r.resources.all(x, x in ['configmaps', 'secrets'])"
    " && r.verbs.all(v, v == 'get')"
)
_ON_ITSELF: Final = (
    f"has(r.resourceNames) && has(object.metadata.name) && r.resourceNames == [object.metadata.name]"
    f" && has(r.apiGroups) && r.apiGroups.all(g, g == '{IMPULSE.group}') && has(r.resources) && r.resources.all(x, "
    + " || ".join(
        f"(x == '{resource}' && r.verbs.all(v, v in {list(verbs)}))"
        for resource, verbs in runner_rules.OWN_OBJECT.items()
    )
    + ")"
)
_RULES: Final = (
    (_COMPLETE, "apiGroups, resources and verbs must name something, nonResourceURLs do not exist inside a namespace"),
    (_SPELLED_OUT, "wildcards and empty strings are not allowed"),
    (_NO_RIGHTS_TO_RIGHTS, "containers never get permissions to grant permissions"),
    (_NAMED_SECRETS, "on Secrets, containers only get the verb get, by resourceNames"),
    (_NO_ACCOUNTS, "containers never get access to ServiceAccounts and their tokens"),
)
_REMEDY: Final = "remove the rule; docs/permissions.md describes which rules are possible"


def policy(_: Installation) -> Policy:
    """The policy for new specs: an object that was stored before the policy can still be labelled and deleted."""
    return Policy(
        "rights",
        "Permissions that containers never get may not be requested.",
        tuple(_checks()),
        (NOT_DELETED, SPEC_CHANGED),
        SPECS,
    )


def _checks() -> Iterator[Check]:
    for target, part in _ASKED_FOR:
        for expression, problem in _RULES:
            yield _check(target, part, expression, problem)
        if target in (ENGRAM, IMPULSE):
            fits = _READS_BY_NAME if target is ENGRAM else f"({_READS_BY_NAME}) || ({_ON_ITSELF})"
            yield _check(target, part, fits, runner_rules.only_possible(target.kind))


def _check(target: Resource, part: str, rule_keeps_to: str, problem: str) -> Check:
    path = f"variables.now.{part}"
    none = f"!has({path}) || !has({path}.rbac) || !has({path}.rbac.rules)"
    message = f"spec.{part}.rbac.rules: {problem} ({_REMEDY})"
    return Check(target, f"{none} || {path}.rbac.rules.all(r, {_guarded(rule_keeps_to)})", message, (NEVER_HANDED_ON,))


def _guarded(rule_keeps_to: str) -> str:
    """An incomplete rule only fails the check for completeness."""
    return rule_keeps_to if rule_keeps_to == _COMPLETE else f"!({_COMPLETE}) || ({rule_keeps_to})"
