"""Who may write which fields of a status: policy ``status``. Its rules are those of ``webhooks.validate.status``.

The status decides what is executed, and status writes pass while the admission server is down, so the API server
enforces the rules as well. Source: admission contract 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.keys import ANNOTATION_ASSIGNMENT
from core.api.phases import REPORTED_PHASES, TERMINAL_PHASES, ConditionType
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY_RUN, STORY_TRIGGER, Resource
from core.engine.ports import STREAM, WORKER
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import (
    IS_ACCOUNT_OF_NAMESPACE,
    NOT_DELETED,
    POD,
    UID_OF_POD,
    annotation,
    is_assigned_attempt,
    is_assigned_worker,
    is_pod_of,
    is_stream_pod_of,
    not_by_trusted,
)
from deployment.policies.policy import UPDATE, Check, Policy
from webhooks.validate import status

_NAMED: Final = "object.metadata.name"
_IS_STREAM: Final = f"has(object.spec.executor) && object.spec.executor == '{STREAM}'"
_AWAITS_RETRY: Final = "'nextRetryAt' in variables.before"
_RETRIES: Final = "('retries' in variables.before ? variables.before.retries : 0)"


def _same_but(field: str) -> str:
    """All other fields are unchanged; ``null`` counts as absent."""
    before, after = "variables.before", "variables.after"
    return (
        f"{after}.all(k, {field} || (k in {before} ? {before}[k] : null) == {after}[k])"
        f" && {before}.all(k, {field} || k in {after} || {before}[k] == null)"
    )


_IS_WARM: Final = f"has(object.spec.executor) && object.spec.executor == '{WORKER}'"
_IS_CURRENT: Final = is_assigned_attempt(_RETRIES)
"""Also while ``nextRetryAt`` is there: a retry is assigned without a write of the status."""
_ONLY_RELEASES: Final = f"({_same_but(f'k in {[*status.RELEASES]}')})"
_IS_CONTAINER: Final = (
    f"({IS_ACCOUNT_OF_NAMESPACE} && ({_IS_WARM} ? {is_assigned_worker()} && ({_IS_CURRENT} || {_ONLY_RELEASES})"
    f" : {_IS_STREAM} ? {is_stream_pod_of(_NAMED)}"
    f" : (!({_AWAITS_RETRY}) && {is_pod_of(_NAMED)})))"
)
"""The Pod that the token is bound to decides, not the account; see ``webhooks.validate.status``."""
_FIELDS_STAY: Final = (
    f"[{', '.join(repr(field) for field in status.OPERATOR_FIELDS)}].all(f,"
    " (f in variables.after ? variables.after[f] : null) == (f in variables.before ? variables.before[f] : null))"
    " && ('retries' in variables.after ? variables.after.retries : 0)"
    " == ('retries' in variables.before ? variables.before.retries : 0)"
)
_PHASE_IS_REPORTED: Final = (
    f"('phase' in variables.after && variables.after.phase in [{', '.join(repr(str(p)) for p in REPORTED_PHASES)}])"
    " || ('phase' in variables.after ? variables.after.phase : null)"
    " == ('phase' in variables.before ? variables.before.phase : null)"
)
_TERMINAL: Final = sorted(str(phase) for phase in TERMINAL_PHASES)
_IS_ENDED: Final = (
    f"'phase' in variables.before && variables.before.phase in {_TERMINAL}"
    " && 'conditions' in variables.before && variables.before.conditions.exists(c,"
    f" c.type == '{ConditionType.PROGRESSING}' && c.status == 'False')"
)
_RESULT_STAYS: Final = f"!({_IS_ENDED}) || ({_same_but(f'k in {[*status.LATE_FIELDS]}')})"
_WAS: Final = "variables.before.gates[g]"
_IS: Final = "variables.after.gates[g]"
_DECISIONS: Final = "['Approved', 'Rejected']"
_DECISIONS_STAY: Final = (
    "!has(variables.before.gates) || variables.before.gates.all(g,"
    f" !has({_WAS}.state) || !({_WAS}.state in {_DECISIONS})"
    f" || (has(variables.after.gates) && g in variables.after.gates && has({_IS}.state) && {_IS}.state == {_WAS}.state"
    f" && (has({_IS}.data) ? {_IS}.data : dyn({{}})) == (has({_WAS}.data) ? {_WAS}.data : dyn({{}}))"
    f" && (has({_IS}.updatedBy) ? {_IS}.updatedBy : '') == (has({_WAS}.updatedBy) ? {_WAS}.updatedBy : '')"
    f" && (has({_IS}.updatedAt) ? {_IS}.updatedAt : '') == (has({_WAS}.updatedAt) ? {_WAS}.updatedAt : '')))"
)
_IS_DECIDED_BEFORE: Final = (
    f"has(variables.before.gates) && g in variables.before.gates && has({_WAS}.state) && {_WAS}.state in {_DECISIONS}"
)
_DECISIONS_ARE_NOT_OLDER: Final = (
    "!has(variables.after.gates) || !has(object.metadata.creationTimestamp) || variables.after.gates.all(g,"
    f" !has({_IS}.state) || !({_IS}.state in {_DECISIONS}) || ({_IS_DECIDED_BEFORE}) || !has({_IS}.updatedAt)"
    f" || timestamp({_IS}.updatedAt) + duration('{int(status.CLOCK_SKEW.total_seconds())}s')"
    " >= timestamp(object.metadata.creationTimestamp))"
)
"""CEL has no clock, so this check does not find decisions in the future."""


def policy(installation: Installation) -> Policy:
    """The policy. Administrators of the cluster are trusted: they could delete the policy."""
    return Policy(
        "status",
        "Only the operator writes the status of a run, except decisions on gates; containers write that of their step.",
        tuple(_checks()),
        (NOT_DELETED, not_by_trusted(installation)),
        {
            "before": "has(oldObject.status) ? dyn(oldObject.status) : dyn({})",
            "after": "has(object.status) ? dyn(object.status) : dyn({})",
            "pod": POD,
            "podUid": UID_OF_POD,
            "assignment": annotation("object", ANNOTATION_ASSIGNMENT),
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
        "status.gates: a decision cannot be changed (start another run)",
        status.GATE_DECIDED.id,
    )
    yield _check(
        STORY_RUN,
        _DECISIONS_ARE_NOT_OLDER,
        "status.gates: a decision is before the creation of the run (leave out updatedAt)",
        status.GATE_TIME.id,
    )
    yield _check(
        STEP_RUN,
        f"{_IS_CONTAINER} || ({_same_but('false')})",
        "status: only the operator and the containers of the step's attempt may write this (leave it to the operator)",
        status.WRITER.id,
    )
    yield _check(
        STEP_RUN,
        _FIELDS_STAY,
        f"status: only the operator may write {', '.join((*status.OPERATOR_FIELDS, 'retries'))} (leave it unchanged)",
        status.OPERATOR_FIELD.id,
    )
    yield _check(
        STEP_RUN,
        _PHASE_IS_REPORTED,
        f"status.phase: a container may not report this (use one of {', '.join(REPORTED_PHASES)})",
        status.PHASE.id,
    )
    yield _check(
        STEP_RUN,
        _RESULT_STAYS,
        "status: the operator has recorded the end of the step, so only"
        f" {', '.join(status.LATE_FIELDS)} may change (leave the rest)",
        status.ENDED.id,
    )
    for target in (STORY_TRIGGER, EFFECT_CLAIM):
        message = "status: only the operator may write this (leave it to the operator)"
        yield _check(target, _same_but("false"), message, status.WRITER.id)


def _check(target: Resource, expression: str, message: str, rule: str) -> Check:
    return Check(target, expression, message, (rule,), (UPDATE,))
