"""A user who names a Secret must be allowed to read it: policy ``reads``.

A container reads the objects that its Story, Engram or Impulse names: Secrets, also those that its image is pulled
with, ConfigMaps (by rules of an Engram, or as volumes), claims, and everything that its ServiceAccount may read. So the
author must have the same permission. Only
the API server knows the permissions of the user (``authorizer``), so the admission server has no such rule.

One check of a permission costs a third of the cost limit of one expression, and the expressions of a policy together
may make 28 checks. So for a user who may read all Secrets of the namespace there is one check; for other users each
name is an expression, up to ``NAMES``. Branches of ``parallel`` steps are checked as deep as admission allows them.
Source: KEP-3488.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import ANNOTATION_ENGRAM_TLS_SECRET, ANNOTATION_TLS_SECRET
from core.api.objects import STEP_LISTS
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, IMPULSE, IMPULSE_TEMPLATE, STORY, Resource
from core.story.step import MAX_BRANCH_DEPTH
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import NOT_DELETED, SPEC_CHANGED, MatchCondition, annotation
from deployment.policies.policy import Check, Policy

NAMES: Final = 8
"""Different Secrets that one object may name for a user who may read only some by name; 4 of the other kinds."""
_OTHERS: Final = 4

_TLS: Final = (ANNOTATION_ENGRAM_TLS_SECRET, ANNOTATION_TLS_SECRET)
_SECRET_REFERENCE: Final = ("storage", "s3", "authentication", "secretRef", "name")
_CLAIM: Final = ("storage", "file", "volumeClaimName")
_CLAIM_VOLUME: Final = ("persistentVolumeClaim", "claimName")
_MAP_VOLUME: Final = ("configMap", "name")
_SPEC: Final = "variables.now"


def policy(_: Installation) -> Policy:
    return Policy(
        "reads",
        "A user who names Secrets, ConfigMaps, claims or accounts for containers must have access to them.",
        tuple(_checks()),
        (NOT_DELETED, _spec_or_tls_is_new()),
        dict(_variables()),
        asks_for_rights=True,
    )


def _spec_or_tls_is_new() -> MatchCondition:
    changed = (f"{annotation('object', key)} != {annotation('oldObject', key)}" for key in _TLS)
    return MatchCondition("spec-or-tls-secret-is-new", f"{SPEC_CHANGED.expression} || {' || '.join(changed)}")


# The names in an object.


def _variables() -> Iterator[tuple[str, str]]:
    """Names as strings; then, for each kind, the names that remain after the first, the second … is removed."""
    yield "now", "dyn(object.spec)"
    secrets = {
        STORY: [
            _of_all_steps(_secrets_of_step),
            _text("policy", *_SECRET_REFERENCE),
            _in_execution(_SECRET_REFERENCE),
            _pulled("policy", "execution"),
        ],
        ENGRAM: [
            _values("secrets"),
            _text("overrides", *_SECRET_REFERENCE),
            _pulled("overrides"),
            _pulled("executionPolicy"),
            _of_rules("overrides", "secrets"),
            *(f"string({annotation('object', key)})" for key in _TLS),
        ],
        IMPULSE: [
            _values("secrets"),
            _text("execution", *_SECRET_REFERENCE),
            _pulled("execution"),
            _of_rules("execution", "secrets"),
            *(f"string({annotation('object', key)})" for key in _TLS),
        ],
    }
    claims = {
        STORY: [
            _of_all_steps(_claims_of_step),
            _text("policy", *_CLAIM),
            _in_execution(_CLAIM),
            _mounted(_CLAIM_VOLUME, "policy", "execution"),
        ],
        ENGRAM: [
            _text("overrides", *_CLAIM),
            _mounted(_CLAIM_VOLUME, "overrides"),
            _mounted(_CLAIM_VOLUME, "executionPolicy"),
        ],
        IMPULSE: [_text("execution", *_CLAIM), _mounted(_CLAIM_VOLUME, "execution")],
    }
    maps = {
        STORY: [_of_all_steps(_maps_of_step), _mounted(_MAP_VOLUME, "policy", "execution")],
        ENGRAM: [
            _of_rules("overrides", "configmaps"),
            _mounted(_MAP_VOLUME, "overrides"),
            _mounted(_MAP_VOLUME, "executionPolicy"),
        ],
        IMPULSE: [_of_rules("execution", "configmaps"), _mounted(_MAP_VOLUME, "execution")],
    }
    for kind, plural, texts, most in (
        ("secret", "secrets", secrets, NAMES),
        ("claim", "persistentvolumeclaims", claims, _OTHERS),
        ("map", "configmaps", maps, _OTHERS),
    ):
        yield f"{kind}All", f"request.namespace == '' || {_may(plural, 'get')}"
        yield f"{kind}0", f"({_by_kind(texts)}).split(',').map(n, n.trim()).filter(n, n != '')"
        for index in range(most):
            left = f"variables.{kind}{index}"
            yield f"{kind}{index + 1}", f"size({left}) == 0 ? {left} : {left}.filter(n, n != {left}[0])"
    annotations = ("storage", "s3", "authentication", "serviceAccountAnnotations")
    yield "roles", f"request.resource.resource == '{STORY.plural}' && {_has(('policy', *annotations))}"
    yield "listenerRoles", f"request.resource.resource == '{IMPULSE.plural}' && {_has(('execution', *annotations))}"
    account = ("execution", "serviceAccountName")
    yield "account", f"request.resource.resource == '{IMPULSE.plural}' && {_has(account)}"


def _by_kind(texts: dict[Resource, list[str]]) -> str:
    """The strings for the object's own kind, joined by commas; names have no commas."""
    branches = [
        f"request.resource.resource == '{target.plural}' ? [{', '.join(parts)}].join(',')"
        for target, parts in texts.items()
    ]
    return " : ".join([*branches, "''"])


def _of_all_steps(of_step: str) -> str:
    lists = " + ".join(f"(has({_SPEC}.{name}) ? {_SPEC}.{name} : [])" for name in STEP_LISTS)
    return f"({lists}).filter(s0, {_interesting('s0')}).map(s0, {_of_step(of_step, 0)}).join(',')"


def _interesting(step: str) -> str:
    """Whether a step can name an object, itself or in its branches; evaluating the others costs almost nothing."""
    return f"has({step}.secrets) || has({step}.execution) || (has({step}.type) && {step}.type == 'parallel')"


def _of_step(template: str, depth: int) -> str:
    """The template for a step and its branches, which no schema checks; each level has a variable with its own name.

    The policy refuses a branch that cannot be evaluated, as the admission server does.
    """
    here = f"s{depth}"
    own = template.replace("STEP", here).replace("KEY", f"k{depth}")
    if depth == MAX_BRANCH_DEPTH:
        return own
    below = f"s{depth + 1}"
    branches = (
        f"(has({here}.type) && {here}.type == 'parallel' && has({here}.with) && has({here}.with.steps)"
        f" ? {here}.with.steps.filter({below}, {_interesting(below)})"
        f".map({below}, {_of_step(template, depth + 1)}).join(',') : '')"
    )
    return f"({own} + ',' + {branches})"


def _at(root: str, *path: str) -> str:
    """The string at ``path`` below ``root``; empty if there is none."""
    return f"string({root}.?{'.?'.join(path)}.orValue(''))"


def _pulled_at(root: str, *path: str) -> str:
    """The image pull secrets of the block at ``path`` below ``root``."""
    return f"{root}.?{'.?'.join(path)}.?imagePullSecrets.orValue([]).map(KEY, string(KEY)).join(',')"


def _mounted_at(root: str, source: tuple[str, str], *path: str) -> str:
    """The objects that the volumes of the block at ``path`` below ``root`` name; ``source``: kind of volume, field."""
    kind, name = source
    volumes = f"{root}.?{'.?'.join(path)}.?volumes.orValue([])"
    return f"{volumes}.filter(KEY, has(KEY.{kind})).map(KEY, string(KEY.{kind}.?{name}.orValue(''))).join(',')"


def _pulled(*path: str) -> str:
    return _pulled_at(_SPEC, *path).replace("KEY", "k")


def _mounted(source: tuple[str, str], *path: str) -> str:
    return _mounted_at(_SPEC, source, *path).replace("KEY", "k")


_secrets_of_step: Final = (
    f"((has(STEP.secrets) ? STEP.secrets.map(KEY, string(STEP.secrets[KEY])).join(',') : '') + ','"
    f" + {_at('STEP', 'execution', *_SECRET_REFERENCE)} + ',' + {_pulled_at('STEP', 'execution')})"
)
_claims_of_step: Final = (
    f"({_at('STEP', 'execution', *_CLAIM)} + ',' + {_mounted_at('STEP', _CLAIM_VOLUME, 'execution')})"
)
_maps_of_step: Final = _mounted_at("STEP", _MAP_VOLUME, "execution")


def _has(path: tuple[str, ...]) -> str:
    return " && ".join(f"has({'.'.join((_SPEC, *path[: index + 1]))})" for index in range(len(path)))


def _text(*path: str) -> str:
    return _at(_SPEC, *path)


def _in_execution(path: tuple[str, ...]) -> str:
    return _text("policy", "execution", *path)


def _values(field: str) -> str:
    return f"(has({_SPEC}.{field}) ? {_SPEC}.{field}.map(k, {_SPEC}.{field}[k]).join(',') : '')"


def _of_rules(part: str, plural: str) -> str:
    """Names in rules about ``plural``; containers never get a rule without names."""
    rules = f"{_SPEC}.{part}.rbac.rules"
    there = f"has({_SPEC}.{part}) && has({_SPEC}.{part}.rbac) && has({rules})"
    named = f"{rules}.filter(r, has(r.resources) && '{plural}' in r.resources && has(r.resourceNames))"
    return f"({there} ? {named}.map(r, r.resourceNames.join(',')).join(',') : '')"


# The checks of the user's permissions.


def _may(plural: str, verb: str, name: str = "") -> str:
    named = f".name({name})" if name else ""
    return f"authorizer.group('').resource('{plural}').namespace(request.namespace){named}.check('{verb}').allowed()"


def _checks() -> Iterator[Check]:
    yield from _named((STORY, ENGRAM, IMPULSE), "secret", "secrets", "Secret", NAMES)
    yield from _named((STORY, ENGRAM, IMPULSE), "claim", "persistentvolumeclaims", "PersistentVolumeClaim", _OTHERS)
    yield from _named((STORY, ENGRAM, IMPULSE), "map", "configmaps", "ConfigMap", _OTHERS)
    for target, part, variable in ((STORY, "policy", "roles"), (IMPULSE, "execution", "listenerRoles")):
        yield Check(
            target,
            f"!variables.{variable} || {_may('serviceaccounts', 'patch')}",
            f"spec.{part}.storage.s3.authentication.serviceAccountAnnotations: are written to a ServiceAccount; "
            "you need the permission to patch ServiceAccounts in this namespace (remove them, or get that permission)",
            (),
        )
    yield Check(
        IMPULSE,
        f"!variables.account || {_may('pods', 'create')}",
        "spec.execution.serviceAccountName: a Pod runs with that account; you need the permission to create Pods in "
        "this namespace (remove it, or get that permission)",
        (),
    )
    rules = f"{_SPEC}.execution.rbac.rules"
    asks = f"has({_SPEC}.execution) && has({_SPEC}.execution.rbac) && has({rules})"
    yield Check(
        ENGRAM_TEMPLATE,
        f"!({asks} && {rules}.exists(r, has(r.resources) && 'secrets' in r.resources))"
        " || authorizer.group('').resource('secrets').check('get').allowed()",
        "spec.execution.rbac.rules: names Secrets in every namespace that uses the template, and you may not read them "
        "(let the Engrams or Impulses name them, or get read access to Secrets in all namespaces)",
        (),
        others=(IMPULSE_TEMPLATE,),
    )


def _named(targets: tuple[Resource, ...], kind: str, plural: str, word: str, most: int) -> Iterator[Check]:
    """One check for each name, for users who may not read all objects of the kind.

    Messages cannot use the authorizer, so the names must not depend on it.
    """
    first, *others = targets
    for index in range(most):
        left = f"variables.{kind}{index}"
        yield Check(
            first,
            f"variables.{kind}All || size({left}) == 0 || {_may(plural, 'get', f'{left}[0]')}",
            f"spec: names a {word} that you may not read (name another, or get read access to it)",
            (),
            detail=(
                f"'spec: names {word} ' + {left}[0] + ', which you may not read "
                "(name another, or get read access to it)'"
            ),
            others=tuple(others),
        )
    yield Check(
        first,
        f"variables.{kind}All || size(variables.{kind}{most}) == 0",
        f"spec: names more than {most} {plural}, which is too many to check one by one (name fewer, or get read "
        f"access to all {plural} in this namespace)",
        (),
        others=tuple(others),
    )
