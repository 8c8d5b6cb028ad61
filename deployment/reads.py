"""Who names a Secret must be allowed to read it: policy ``reads``.

A container reads for its author what Stories, Engrams and Impulses name: Secrets, ConfigMaps (by rules of an Engram),
volumes of claims, and what the account may read that it runs under. So the user of the request must have the right
himself, which only the API server can tell: ``authorizer``. There is no such rule at the gate.

A check of a right costs a third of what one expression may cost, and a policy's expressions together may make 28. So
whoever may read all Secrets of the namespace costs one; for others each name is an expression, up to ``NAMES``.
Branches of ``parallel`` steps are looked into as deep as the gate admits them. Source: KEP-3488.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import ANNOTATION_ENGRAM_TLS_SECRET, ANNOTATION_TLS_SECRET
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, IMPULSE, STORY, Resource
from core.expressions.fields import STEP_LISTS
from deployment.condition import NOT_DELETED, SPEC_CHANGED, Condition, annotation
from deployment.policy import Check, Policy
from manager.permissions.roles import Installation
from webhooks.validate.steps import MAX_BRANCH_DEPTH

NAMES: Final = 8
"""Different Secrets that one object may name for somebody who may only read some by name; 4 of the other kinds."""
_OTHERS: Final = 4

_TLS: Final = (ANNOTATION_ENGRAM_TLS_SECRET, ANNOTATION_TLS_SECRET)
_SECRET_REFERENCE: Final = ("storage", "s3", "authentication", "secretRef", "name")
_CLAIM: Final = ("storage", "file", "volumeClaimName")
_SPEC: Final = "variables.now"


def policy(_: Installation) -> Policy:
    return Policy(
        "reads",
        "Who names Secrets, ConfigMaps, claims or accounts for containers may use them himself.",
        tuple(_checks()),
        (NOT_DELETED, _spec_or_tls_is_new()),
        dict(_variables()),
        asks_for_rights=True,
    )


def _spec_or_tls_is_new() -> Condition:
    changed = (f"{annotation('object', key)} != {annotation('oldObject', key)}" for key in _TLS)
    return Condition("spec-or-tls-secret-is-new", f"{SPEC_CHANGED.expression} || {' || '.join(changed)}")


# What is named.


def _variables() -> Iterator[tuple[str, str]]:
    """Names as texts; then, of each kind, those that are left when the first, the second … is taken away."""
    yield "now", "dyn(object.spec)"
    secrets = {
        STORY: [
            _of_all_steps(_secrets_of_step),
            _text("policy", *_SECRET_REFERENCE),
            _in_execution(_SECRET_REFERENCE),
        ],
        ENGRAM: [
            _values("secrets"),
            _text("overrides", *_SECRET_REFERENCE),
            _of_rules("overrides", "secrets"),
            *(f"string({annotation('object', key)})" for key in _TLS),
        ],
        IMPULSE: [
            _values("secrets"),
            _text("execution", *_SECRET_REFERENCE),
            _of_rules("execution", "secrets"),
            *(f"string({annotation('object', key)})" for key in _TLS),
        ],
    }
    claims = {
        STORY: [_of_all_steps(_claims_of_step), _text("policy", *_CLAIM), _in_execution(_CLAIM)],
        ENGRAM: [_text("overrides", *_CLAIM)],
        IMPULSE: [_text("execution", *_CLAIM)],
    }
    maps = {ENGRAM: [_of_rules("overrides", "configmaps")], IMPULSE: [_of_rules("execution", "configmaps")]}
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
    annotations = (*("policy", "storage", "s3", "authentication"), "serviceAccountAnnotations")
    yield "roles", f"request.resource.resource == '{STORY.plural}' && {_has(annotations)}"
    account = ("execution", "serviceAccountName")
    yield "account", f"request.resource.resource == '{IMPULSE.plural}' && {_has(account)}"


def _by_kind(texts: dict[Resource, list[str]]) -> str:
    """The texts of the object's own kind, joined by commas; names have none."""
    branches = [
        f"request.resource.resource == '{target.plural}' ? [{', '.join(parts)}].join(',')"
        for target, parts in texts.items()
    ]
    return " : ".join([*branches, "''"])


def _of_all_steps(of_step: str) -> str:
    lists = " + ".join(f"(has({_SPEC}.{name}) ? {_SPEC}.{name} : [])" for name in STEP_LISTS)
    return f"({lists}).filter(s0, {_interesting('s0')}).map(s0, {_of_step(of_step, 0)}).join(',')"


def _interesting(step: str) -> str:
    """What can name something, itself or in its branches; the others cost next to nothing."""
    return f"has({step}.secrets) || has({step}.execution) || (has({step}.type) && {step}.type == 'parallel')"


def _of_step(template: str, depth: int) -> str:
    """Of a step and its branches, which no schema checks; each level has a variable of its own name.

    A branch that is so odd that it cannot be evaluated is refused, as it is at the gate.
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
    """The text at ``path`` below ``root``; empty where there is none."""
    return f"string({root}.?{'.?'.join(path)}.orValue(''))"


_secrets_of_step: Final = (
    f"((has(STEP.secrets) ? STEP.secrets.map(KEY, string(STEP.secrets[KEY])).join(',') : '') + ','"
    f" + {_at('STEP', 'execution', *_SECRET_REFERENCE)})"
)
_claims_of_step: Final = _at("STEP", "execution", *_CLAIM)


def _has(path: tuple[str, ...]) -> str:
    return " && ".join(f"has({'.'.join((_SPEC, *path[: index + 1]))})" for index in range(len(path)))


def _text(*path: str) -> str:
    return _at(_SPEC, *path)


def _in_execution(path: tuple[str, ...]) -> str:
    return _text("policy", "execution", *path)


def _values(field: str) -> str:
    return f"(has({_SPEC}.{field}) ? {_SPEC}.{field}.map(k, {_SPEC}.{field}[k]).join(',') : '')"


def _of_rules(part: str, plural: str) -> str:
    """Names in rules about ``plural``; no rule without names is handed on."""
    rules = f"{_SPEC}.{part}.rbac.rules"
    there = f"has({_SPEC}.{part}) && has({_SPEC}.{part}.rbac) && has({rules})"
    named = f"{rules}.filter(r, has(r.resources) && '{plural}' in r.resources && has(r.resourceNames))"
    return f"({there} ? {named}.map(r, r.resourceNames.join(',')).join(',') : '')"


# What is asked.


def _may(plural: str, verb: str, name: str = "") -> str:
    named = f".name({name})" if name else ""
    return f"authorizer.group('').resource('{plural}').namespace(request.namespace){named}.check('{verb}').allowed()"


def _checks() -> Iterator[Check]:
    yield from _named((STORY, ENGRAM, IMPULSE), "secret", "secrets", "Secret", NAMES)
    yield from _named((STORY, ENGRAM, IMPULSE), "claim", "persistentvolumeclaims", "PersistentVolumeClaim", _OTHERS)
    yield from _named((ENGRAM, IMPULSE), "map", "configmaps", "ConfigMap", _OTHERS)
    yield Check(
        STORY,
        f"!variables.roles || {_may('serviceaccounts', 'patch')}",
        "spec.policy.storage.s3.authentication.serviceAccountAnnotations: needs the right to patch ServiceAccounts of "
        "this namespace, which they are written to (remove them, or ask for that right)",
        (),
    )
    yield Check(
        IMPULSE,
        f"!variables.account || {_may('pods', 'create')}",
        "spec.execution.serviceAccountName: needs the right to create Pods in this namespace, which could use that "
        "account as well (remove it, or ask for that right)",
        (),
    )
    rules = f"{_SPEC}.execution.rbac.rules"
    asks = f"has({_SPEC}.execution) && has({_SPEC}.execution.rbac) && has({rules})"
    yield Check(
        ENGRAM_TEMPLATE,
        f"!({asks} && {rules}.exists(r, has(r.resources) && 'secrets' in r.resources))"
        " || authorizer.group('').resource('secrets').check('get').allowed()",
        "spec.execution.rbac.rules: names Secrets for every namespace that uses the template, which you may not read "
        "(leave it to the Engrams, or ask for get on Secrets of all namespaces)",
        (),
    )


def _named(targets: tuple[Resource, ...], kind: str, plural: str, word: str, most: int) -> Iterator[Check]:
    """Names are only looked for where the user may not read them all.

    Messages know nothing of the authorizer, so the names must not depend on it.
    """
    first, *others = targets
    for index in range(most):
        left = f"variables.{kind}{index}"
        yield Check(
            first,
            f"variables.{kind}All || size({left}) == 0 || {_may(plural, 'get', f'{left}[0]')}",
            f"spec: names a {word} that you may not read (name another, or ask for get on it)",
            (),
            detail=(
                f"'spec: names {word} ' + {left}[0] + ', which you may not read "
                "(name another, or ask for the right to get it)'"
            ),
            others=tuple(others),
        )
    yield Check(
        first,
        f"variables.{kind}All || size(variables.{kind}{most}) == 0",
        f"spec: names more than {most} {plural}, each of which would have to be asked about (name fewer, or ask for "
        f"get on all {plural} of this namespace)",
        (),
        others=tuple(others),
    )
