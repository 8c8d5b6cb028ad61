"""Who may write which part of a status, and which values are valid.

The status decides what is executed, so the permission to patch it is not enough. Only the operator writes the status of
a run, except the decisions on its gates. The operator writes the status of a step; the step's own containers write the
fields that the SDK reports. Source: admission contract 8.2, 9.3 and 15; StepRun contract 24.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import orjson

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.gatedata import KEY_RULE, is_key
from core.api.objects import ReadOnlyObject
from core.api.phases import REPORTED_PHASES, TERMINAL_PHASES, ConditionType
from core.api.resource import STEP_RUN, STORY, STORY_RUN
from core.api.sizes import MAX_STEP_STATUS_DEPTH, bounds_of
from core.api.text import text
from core.engine.ports import WORKER
from core.engine.step.assignment import assignment_of
from core.kube.reading import why_status_too_large
from core.kube.scan import depth_of
from core.story.step import Step
from webhooks.caller import Caller
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, gates, payload, reference
from webhooks.validate.change import fields_of, metadata_of, namespace_of
from webhooks.validate.container import ServedStep, works_for

WRITER: Final = Rule("status/writer", "15", CauseType.FORBIDDEN)
OPERATOR_FIELD: Final = Rule("status/operator-field", "15", CauseType.FORBIDDEN)
PHASE: Final = Rule("status/phase", "15", CauseType.FORBIDDEN)
ENDED: Final = Rule("status/ended", "15", CauseType.FORBIDDEN)
GATE_DECIDED: Final = Rule("status/gate-decided", "15", CauseType.FORBIDDEN)
GATE_TIME: Final = Rule("status/gate-time", "15")
GATE_DATA: Final = Rule("status/gate-data", "15")
GATE_UNKNOWN: Final = Rule("status/gate-unknown", "15", CauseType.NOT_FOUND, Severity.WARNING)
GENERATION: Final = Rule("status/generation", "8.2", severity=Severity.WARNING)
OUTPUT_SIZE: Final = Rule("status/output-size", "15", severity=Severity.WARNING)
SIZE: Final = Rule("status/size", "15")
OUTPUT_REFERENCE: Final = Rule("status/output-reference", "15", severity=Severity.WARNING)
OUTPUT_NAMESPACE: Final = Rule("status/output-namespace", "15", CauseType.FORBIDDEN, Severity.WARNING)

OPERATOR_FIELDS: Final = (
    "conditions",
    "observedGeneration",
    "attempt",
    "failedAttempts",
    "trace",
    "nextRetryAt",
    "inputSchemaRef",
    "outputSchemaRef",
    "lastOutputAt",
    "handoff",
    "cached",
    "cachedFrom",
)
"""Fields in the status of a StepRun; ``retries`` is another, but 0 equals absent. SDKs write the remaining fields."""

RELEASES: Final = ("workerExit",)
"""Fields in which a warm worker says that nothing runs any more; it may do so when its attempt is over."""

LATE_FIELDS: Final = ("logs", "effects", *RELEASES)
"""What a container may still say after the operator has recorded the end of the step.

A container may outlive that: in its grace period after a timeout, or while it stores its logs after its report. What
later steps read, such as the output and signals, stays as recorded.
"""

_GUARDED: Final = ("StoryRun", "StepRun", "StoryTrigger", "EffectClaim")
_DECISIONS: Final = ("Approved", "Rejected")
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a client's clock may be behind that of the API server."""
_MADE: Final = ("state", "updatedBy", "updatedAt", "data")
"""Fields of a decision that cannot change after it was made."""


def validate(new: ReadOnlyObject, old: ReadOnlyObject, caller: Caller, world: ClusterView) -> list[Finding]:
    """All errors and probable errors in a write to the status subresource.

    Warnings let a container report its result, and the operator checks a result again before it uses it. Kinds whose
    status decides nothing are not checked here; the cluster's permissions protect them.
    """
    if new.get("kind") not in _GUARDED or change.is_deleted(new):
        return []
    before, after = fields_of(old.get("status")), fields_of(new.get("status"))
    findings = [*_writer(new, before, after, caller, world), *_generation(before, after)]
    if new.get("kind") == "StoryRun":
        findings += _gates(new, fields_of(before.get("gates")), fields_of(after.get("gates")), caller, world)
    elif new.get("kind") == "StepRun" and change.differs(after, before):
        findings += _size(after)
        if change.differs(after.get("output"), before.get("output")):
            findings += _output(new, after.get("output"), world)
    return findings


def _size(status: ReadOnlyObject) -> Iterator[Finding]:
    """A finding if a status is too large or too deep for the readers of StepRuns."""
    try:
        text = orjson.dumps(status)
    except TypeError:
        return  # a review that was read cannot have such values
    why = why_status_too_large(text, bounds_of(STEP_RUN.plural))
    if not why and (levels := depth_of(text)) > MAX_STEP_STATUS_DEPTH:
        why = f"is nested {levels} levels deep, the maximum is {MAX_STEP_STATUS_DEPTH}"
    if why:
        yield SIZE.at("status", why, "report less, or put large data into storage")


def _writer(
    new: ReadOnlyObject, before: ReadOnlyObject, after: ReadOnlyObject, caller: Caller, world: ClusterView
) -> Iterator[Finding]:
    if caller.is_trusted:
        return
    if _is_container(new, before, caller, world):
        yield from _reported(before, after)
        if is_ended(before):
            for field in change.changed_fields(after, before, sorted({*before, *after} - {*LATE_FIELDS})):
                message = "the operator has recorded the end of the step, so this cannot change any more"
                yield ENDED.at(f"status.{field}", message, f"write {', '.join(LATE_FIELDS)} alone")
        if _is_of_earlier_attempt(new, before):
            for field in change.changed_fields(after, before, sorted({*before, *after} - {*RELEASES})):
                message = "the worker's attempt is over, so it may only say that its process has ended"
                yield WRITER.at(f"status.{field}", message, f"write {', '.join(RELEASES)} alone")
        return
    allowed = ("gates",) if new["kind"] == "StoryRun" else ()
    for field in change.changed_fields(after, before, sorted({*before, *after} - {*allowed})):
        remedy = "decide on gates, or cancel the run" if allowed else "leave it to the operator"
        yield WRITER.at(f"status.{field}", f"{caller.username} may not write this", remedy)


def is_ended(status: ReadOnlyObject) -> bool:
    """Whether the operator has recorded the end of a step. A container may report a phase, but never a condition."""
    conditions = status.get("conditions")
    known = map(fields_of, conditions if isinstance(conditions, list) else ())
    progressing = find_condition(known, ConditionType.PROGRESSING) or {}
    return text(status.get("phase")) in TERMINAL_PHASES and progressing.get("status") == "False"


def _is_container(new: ReadOnlyObject, before: ReadOnlyObject, caller: Caller, world: ClusterView) -> bool:
    """Whether the caller's Pod belongs to the current attempt of the step; its account does not matter.

    While a Job of another attempt is awaited, no Pod belongs to the current one: the operator removes ``nextRetryAt``
    before it creates that Job, and it creates no Job beside Pods of an earlier attempt. A realtime step starts without
    that write.
    """
    if new["kind"] != "StepRun":
        return False
    step = ServedStep.of(new, namespace_of(new))
    if step.is_stream or step.is_warm:
        return works_for(caller, step, world)
    if "nextRetryAt" in before:
        return False
    retries = before.get("retries") or 0
    return works_for(caller, replace(step, attempt=retries if isinstance(retries, int) else None), world)


def _is_of_earlier_attempt(new: ReadOnlyObject, before: ReadOnlyObject) -> bool:
    """Whether a warm worker still has an attempt that is not the current one."""
    found = assignment_of({"metadata": metadata_of(new)})
    if found is None or fields_of(new.get("spec")).get("executor") != WORKER:
        return False
    return found.attempt != (before.get("retries") or 0)


def _reported(before: ReadOnlyObject, after: ReadOnlyObject) -> Iterator[Finding]:
    """Findings about fields of the operator that a container has changed."""
    fields = list(change.changed_fields(after, before, OPERATOR_FIELDS))
    if change.differs(after.get("retries") or 0, before.get("retries") or 0):
        fields.append("retries")
    for field in fields:
        yield OPERATOR_FIELD.at(f"status.{field}", "only the operator may write this", "leave it unchanged")
    phase = after.get("phase")
    if change.differs(phase, before.get("phase")) and phase not in REPORTED_PHASES:
        message = f"a container may not report {phase or 'no phase'}"
        yield PHASE.at("status.phase", message, f"use one of {', '.join(REPORTED_PHASES)}")


def _generation(before: ReadOnlyObject, after: ReadOnlyObject) -> Iterator[Finding]:
    was, is_ = before.get("observedGeneration"), after.get("observedGeneration") or 0
    if isinstance(was, int) and isinstance(is_, int) and is_ < was:
        message = f"decreases from {was} to {is_}"
        yield GENERATION.at("status.observedGeneration", message, "read the object again before writing its status")


def _gates(
    run: ReadOnlyObject, before: ReadOnlyObject, after: ReadOnlyObject, caller: Caller, world: ClusterView
) -> Iterator[Finding]:
    known = _gates_of(run, world)
    for name in sorted({*before, *after}):
        was, is_ = fields_of(before.get(name)), fields_of(after.get(name))
        if not change.differs(was, is_):
            continue
        path = f"status.gates.{name}"
        made = change.changed_fields(is_, was, _MADE) if was.get("state") in _DECISIONS else ()
        if list(made) and not caller.is_trusted:
            yield GATE_DECIDED.at(path, f"is already {was['state']}; a decision cannot be changed", "start another run")
            continue
        if list(change.changed_fields(is_, was, ("state", "data"))):
            yield from _data(is_, path)
        if was.get("state") not in _DECISIONS and is_.get("state") in _DECISIONS and not caller.is_trusted:
            yield from _time(run, is_, path)
        if known is not None and not any(gates.is_meant(gate, name) for gate in known):
            there_are = f"the gates are: {', '.join(map(gates.in_words, known))}" if known else "the Story has no gates"
            yield GATE_UNKNOWN.at(path, f"there is no gate {name!r}", there_are)


def _time(run: ReadOnlyObject, decision: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """A finding if a decision is older than the run. Admission has already set other instants to the current time."""
    made = parse_instant_or_none(decision.get("updatedAt"))
    created = parse_instant_or_none(metadata_of(run).get("creationTimestamp"))
    if made is not None and created is not None and made + CLOCK_SKEW < created:
        yield GATE_TIME.at(f"{path}.updatedAt", "is before the creation of the run", "leave it out")


def _data(decision: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Findings about the data of a decision; the schema limits its size."""
    data = fields_of(decision.get("data"))
    if data and decision.get("state") != "Approved":
        yield GATE_DATA.at(f"{path}.data", "is only allowed with state Approved", "leave it out, or approve")
    for key in sorted(key for key in data if not is_key(key)):
        yield GATE_DATA.at(f"{path}.data", f"templates cannot read the key {key!r}", f"use {KEY_RULE}")


def _gates_of(run: ReadOnlyObject, world: ClusterView) -> list[Step] | None:
    """The gates of the run's Story; ``None`` if the Story is unknown."""
    its_story = fields_of(fields_of(run.get("spec")).get("storyRef"))
    story = reference.find(reference.link(STORY_RUN, namespace_of(run), STORY, its_story), world)
    return None if isinstance(story, Unseen) else list(gates.of_story(story))


def _output(new: ReadOnlyObject, output: Any, world: ClusterView) -> Iterator[Finding]:
    path = "status.output"
    yield from payload.check_size(OUTPUT_SIZE, output, path, world.settings.engram.max_inline_size_bytes)
    yield from payload.check_references(
        OUTPUT_REFERENCE, OUTPUT_NAMESPACE, output, path, STEP_RUN, namespace_of(new), world
    )
