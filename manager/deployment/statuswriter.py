"""Who may write what of a status: policy ``status``. The same as ``webhooks.validate.status``; admission contract 15.

It decides what is executed, and the gate lets such writes pass while nobody answers, so it is held here as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.identity import MAX_NAME_LENGTH, RUNNER_SUFFIX
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY_RUN, STORY_TRIGGER, Resource
from manager.deployment.condition import NOT_DELETED, not_by_trusted
from manager.deployment.policy import UPDATE, Check, Policy
from manager.permissions.roles import Installation
from webhooks.validate import status

_SUFFIX: Final = f"-{RUNNER_SUFFIX}"
_RUN: Final = "object.spec.storyRunRef"
_PLACE: Final = f"(has({_RUN}.namespace) && {_RUN}.namespace != '' ? {_RUN}.namespace : request.namespace)"
_ACCOUNTS: Final = f"('system:serviceaccount:' + {_PLACE} + ':')"
_IS_RUNNER: Final = (
    f"(size({_RUN}.name) + {len(_SUFFIX)} <= {MAX_NAME_LENGTH}"
    f" ? request.userInfo.username == {_ACCOUNTS} + {_RUN}.name + '{_SUFFIX}'"
    f" : request.userInfo.username.startsWith({_ACCOUNTS}) && request.userInfo.username.endsWith('{_SUFFIX}'))"
)
"""Of a run whose name is too long, the account's name has a digest, which CEL cannot make."""
_DECISIONS_STAY: Final = (
    "!has(variables.before.gates) || variables.before.gates.all(g,"
    " !has(variables.before.gates[g].state) || !(variables.before.gates[g].state in ['Approved', 'Rejected'])"
    " || (has(variables.after.gates) && g in variables.after.gates && has(variables.after.gates[g].state)"
    " && variables.after.gates[g].state == variables.before.gates[g].state"
    " && (has(variables.after.gates[g].data) ? variables.after.gates[g].data : dyn({}))"
    " == (has(variables.before.gates[g].data) ? variables.before.gates[g].data : dyn({}))))"
)


def policy(installation: Installation) -> Policy:
    """Administrators of the cluster are trusted: they could switch the policy off."""
    return Policy(
        "status",
        "What a run's status says is the operator's, but for decisions on gates; a step's is its containers', too.",
        tuple(_checks()),
        (NOT_DELETED, not_by_trusted(installation)),
        {
            "before": "has(oldObject.status) ? dyn(oldObject.status) : dyn({})",
            "after": "has(object.status) ? dyn(object.status) : dyn({})",
        },
        subresource="status",
    )


def _checks() -> Iterator[Check]:
    yield _check(
        STORY_RUN,
        _same_but("k == 'gates'"),
        "status: only the operator may write this (decide on gates, or cancel the run)",
        status.WRITER.id,
    )
    yield _check(
        STORY_RUN,
        _DECISIONS_STAY,
        "status.gates: a decision stays (start another run)",
        status.GATE_DECIDED.id,
    )
    yield _check(
        STEP_RUN,
        f"{_IS_RUNNER} || ({_same_but('false')})",
        "status: only the operator and the containers of the run may write this (leave it to the operator)",
        status.WRITER.id,
    )
    for target in (STORY_TRIGGER, EFFECT_CLAIM):
        message = "status: only the operator may write this (leave it to the operator)"
        yield _check(target, _same_but("false"), message, status.WRITER.id)


def _check(target: Resource, expression: str, message: str, rule: str) -> Check:
    return Check(target, expression, message, (rule,), (UPDATE,))


def _same_but(field: str) -> str:
    """Nothing else has changed; ``null`` counts as absent."""
    before, after = "variables.before", "variables.after"
    return (
        f"{after}.all(k, {field} || (k in {before} ? {before}[k] : null) == {after}[k])"
        f" && {before}.all(k, {field} || k in {after} || {before}[k] == null)"
    )
