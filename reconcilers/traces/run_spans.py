"""The spans of a run, from what is recorded: run, its turn, steps, their slots, attempts, waits for retries. Pure.

    run ─┬─ queued                  until its turn has come
         ├─ step a ─┬─ queued       until it had a slot
         │          ├─ attempt 1    its container adds spans of its own below it
         │          ├─ retry wait
         │          └─ attempt 2
         └─ step b ─── run          of a StoryRun that the step has started

Attributes have the names of the reference, where it has the same fact. They hold names, phases, reasons, counts, and
the messages of failures, never inputs or outputs. Source: operator contract 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.conditions import truncated
from core.api.objects import Object
from core.api.phases import Phase, member_or_none
from core.engine.status.state import RunState
from core.engine.step.record import executor_of, recorded_attempt_of, retries_of
from core.engine.step.state import StepState, steps_from
from core.telemetry.logs import redact
from core.telemetry.tracing.run_trace import RunTrace
from core.telemetry.tracing.trace_span import AttributeValue, TraceSpan
from reconcilers.traces.seen_instants import UNSEEN, Sight, refined

_LONGEST_MESSAGE: Final = 256
_SECOND: Final = timedelta(seconds=1)
"""A recorded end may be up to this much earlier than the end was."""


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A run, and what this process knows of it beyond the record."""

    run: Object
    trace: RunTrace
    live: RunState | None = None
    """Its state in this process; instants in it have fractions of seconds."""
    seen: Sight = UNSEEN

    @property
    def status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.run.get("status") or {}
        return status

    @property
    def created_at(self) -> datetime | None:
        return refined(parse_instant_or_none(self.run["metadata"].get("creationTimestamp")), self.seen.created_at)

    @property
    def began_at(self) -> datetime | None:
        """When the run started, as it runs now."""
        known = self.live.started_at if self.live is not None else None
        return _exact(parse_instant_or_none(self.status.get("startedAt")), known)

    def step(self, path: str) -> StepState | None:
        """The step as it is recorded, with the exact instants of this process."""
        entry = (self.status.get("stepStates") or {}).get(path)
        step = steps_from({path: entry}).get(path) if entry else None
        known = self.live.step(path) if self.live is not None else None
        if step is None or known is None:
            return step
        return replace(
            step,
            started_at=_exact(step.started_at, known.started_at),
            finished_at=_exact(step.finished_at, known.finished_at),
            queued_at=_exact(step.queued_at, known.queued_at),
        )


@dataclass(frozen=True, slots=True)
class TracedStep:
    """What is known of a step beyond its entry in the run."""

    step_run: Object | None = None
    kind: str = ""
    """``engram``, or the ``type`` of the step; empty: not known."""
    has_job: bool = False
    seen: Sight = UNSEEN


def run_spans(facts: TracedRun) -> Iterator[TraceSpan]:
    """Of a run that has ended: its own span, and the wait for its turn."""
    run, trace, status = facts.run, facts.trace, facts.status
    live_end = facts.live.finished_at if facts.live is not None else None
    ended_at = _exact(parse_instant_or_none(status.get("finishedAt")), live_end)
    is_first = trace.root_id == trace.first_id
    began_at = facts.created_at if is_first else facts.began_at
    began_at = began_at or facts.began_at or ended_at
    if ended_at is None or began_at is None:
        return
    if is_first and facts.began_at is not None:
        yield _span(trace, "queued", trace.queue_id(), trace.root_id, began_at, facts.began_at, _of_run(run))
    phase = member_or_none(Phase, status.get("phase"))
    attributes = _of_run(run) | {"phase": str(status.get("phase")), "run.attempt": int(status.get("attempts") or 1)}
    error = status.get("error") or {}
    attributes |= _known({"error.type": error.get("type")})
    span = _span(
        trace,
        f"run {attributes.get('story', '')}".strip(),
        trace.root_id,
        trace.above_root,
        began_at,
        ended_at,
        attributes,
        error=_words(error.get("message") or status.get("message")) if phase and phase.failing else None,
        succeeded=phase is Phase.SUCCEEDED,
    )
    yield replace(span, is_entry=is_first and bool(trace.parent_id))


def step_spans(facts: TracedRun, path: str, step: TracedStep) -> Iterator[TraceSpan]:
    """Of a step that has ended: its own span, the wait for its slot, its attempts and the waits between them."""
    state = facts.step(path)
    if state is None or not state.phase.terminal or state.finished_at is None:
        return
    trace, common = facts.trace, _of_step(facts.run, path)
    started_at = state.started_at or state.finished_at
    parts = list(_attempt_spans(facts, path, step, started_at))
    ended_at = max(state.finished_at, started_at, *(part.ended_at for part in parts))
    if state.queued_at is not None:
        yield _span(trace, "queued", trace.queue_id(path), trace.step_id(path), state.queued_at, started_at, common)
        started_at = state.queued_at
    attributes = common | {"phase": str(state.phase), "reason": state.reason}
    attributes |= _known({"step_type": step.kind, "child_storyrun": state.child_run})
    if step.step_run is not None:
        status = step.step_run.get("status") or {}
        attributes |= _of_step_run(step.step_run) | {
            "retries": retries_of(status),
            "cached": bool(status.get("cached")),
        }
    yield _span(
        trace,
        f"step {path}",
        trace.step_id(path),
        trace.above_step(path),
        started_at,
        ended_at,
        attributes,
        error=_words(state.message) or state.reason if state.phase.failing else None,
        succeeded=state.phase is Phase.SUCCEEDED,
    )
    yield from parts


def failed_attempt_spans(facts: TracedRun, path: str, step: TracedStep, number: int) -> Iterator[TraceSpan]:
    """The attempt ``number`` of a step that has not ended, after which a retry follows."""
    state = facts.step(path)
    started_at = state.started_at if state is not None else None
    wanted = facts.trace.attempt_id(path, number)
    for span in _failed_attempts(facts, path, step, started_at, None):
        if span.span_id == wanted:
            yield span


def _attempt_spans(facts: TracedRun, path: str, step: TracedStep, started_at: datetime) -> Iterator[TraceSpan]:
    step_run = step.step_run
    status: Mapping[str, Any] = (step_run or {}).get("status") or {}
    if step_run is None or not _had_attempt(step_run, step):
        return
    began_at: datetime | None = None
    last, ended_at = retries_of(status), parse_instant_or_none(status.get("finishedAt"))
    for span in _failed_attempts(facts, path, step, started_at, ended_at):
        yield span
        began_at = span.ended_at
    if status.get("cached") or ended_at is None or _ended_before_retry(step_run, ended_at):
        return
    began_at = began_at or _first_began_at(step, started_at) or started_at
    ended_at = max(refined(ended_at, step.seen.ended_at) or ended_at, began_at)
    phase = member_or_none(Phase, status.get("phase"))
    recorded = recorded_attempt_of(step_run)
    attributes = _of_step(facts.run, path) | _of_step_run(step_run) | {"attempt": last + 1, "phase": str(phase)}
    attributes |= _known(
        {
            "pod": status.get("podName"),
            "worker": recorded.worker if recorded is not None else "",
            "exit_code": status.get("exitCode"),
            "exit_class": status.get("exitClass"),
        }
    )
    yield _span(
        facts.trace,
        f"attempt {last + 1}",
        facts.trace.attempt_id(path, last),
        facts.trace.step_id(path),
        began_at,
        ended_at,
        attributes,
        error=_words(status.get("lastFailureMsg")) or str(phase) if phase and phase.failing else None,
        succeeded=phase is Phase.SUCCEEDED,
    )


def _failed_attempts(
    facts: TracedRun, path: str, step: TracedStep, started_at: datetime | None, ended_at: datetime | None
) -> Iterator[TraceSpan]:
    """Attempts after which a retry followed, each with the wait for that retry, which the end of the step cuts off."""
    step_run, trace = step.step_run, facts.trace
    recorded = ((step_run or {}).get("status") or {}).get("failedAttempts")
    if step_run is None or not isinstance(recorded, list):
        return
    common = _of_step(facts.run, path) | _of_step_run(step_run)
    began_at = _first_began_at(step, started_at)
    for entry in recorded:
        number = entry.get("number") if isinstance(entry, Mapping) else None
        finished_at = parse_instant_or_none(entry.get("finishedAt")) if isinstance(number, int) else None
        if not isinstance(number, int) or finished_at is None:
            continue
        began_at = min(began_at or finished_at, finished_at)
        yield _span(
            trace,
            f"attempt {number + 1}",
            trace.attempt_id(path, number),
            trace.step_id(path),
            began_at,
            finished_at,
            common | {"attempt": number + 1} | _known({"exit_code": entry.get("exitCode")}),
            error=_words(entry.get("message")) or "the attempt failed",
        )
        began_at = finished_at
        retry_at = parse_instant_or_none(entry.get("retryAt"))
        if retry_at is not None and ended_at is not None:
            retry_at = min(retry_at, ended_at + _SECOND)
        if retry_at is not None and retry_at > finished_at:
            span_id = trace.retry_id(path, number + 1)
            waited = common | {"attempt": number + 2}
            yield _span(trace, "retry wait", span_id, trace.step_id(path), finished_at, retry_at, waited)
            began_at = retry_at


def _ended_before_retry(step_run: Object, ended_at: datetime) -> bool:
    """Whether the step ended while it waited for its next attempt."""
    recorded = step_run["status"].get("failedAttempts")
    last = recorded[-1] if isinstance(recorded, list) and recorded else None
    retry_at = parse_instant_or_none(last.get("retryAt")) if isinstance(last, Mapping) else None
    return retry_at is not None and ended_at + _SECOND < retry_at


def _first_began_at(step: TracedStep, started_at: datetime | None) -> datetime | None:
    """When the first attempt began: with the creation of its StepRun, and never before its step."""
    if step.step_run is None:
        return started_at
    created_at = refined(
        parse_instant_or_none(step.step_run["metadata"].get("creationTimestamp")), step.seen.created_at
    )
    return max(created_at or started_at, started_at) if started_at is not None else created_at


def _had_attempt(step_run: Object, step: TracedStep) -> bool:
    """Whether a container may have run for the step, as far as anything tells."""
    status = step_run.get("status") or {}
    if retries_of(status) or step.has_job or recorded_attempt_of(step_run) is not None:
        return True
    succeeded = status.get("phase") == Phase.SUCCEEDED and not status.get("cached")
    return succeeded or bool(status.get("podName")) or status.get("exitCode") is not None


def _span(
    trace: RunTrace,
    name: str,
    span_id: str,
    parent_id: str,
    started_at: datetime,
    ended_at: datetime,
    attributes: Mapping[str, AttributeValue],
    *,
    error: str | None = None,
    succeeded: bool = False,
) -> TraceSpan:
    ended_at = max(ended_at, started_at)
    return TraceSpan(
        name, trace.trace_id, span_id, parent_id, started_at, ended_at, attributes, error, succeeded, trace.state
    )


def _of_run(run: Object) -> dict[str, AttributeValue]:
    metadata = run["metadata"]
    story = (run.get("spec") or {}).get("storyRef") or {}
    facts = {"namespace": metadata.get("namespace"), "storyrun": metadata["name"], "story": story.get("name")}
    return _known(facts | {"storyrun.uid": metadata["uid"]})


def _of_step(run: Object, path: str) -> dict[str, AttributeValue]:
    return _of_run(run) | {"step": path}


def _of_step_run(step_run: Object) -> dict[str, AttributeValue]:
    engram = (step_run.get("spec") or {}).get("engramRef") or {}
    facts = {"steprun": step_run["metadata"]["name"], "engram": engram.get("name"), "executor": executor_of(step_run)}
    return _known(facts)


def _known(facts: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The facts that are there, with values that an attribute can have."""
    return {name: value for name, value in facts.items() if isinstance(value, (str, int, float)) and value != ""}


def _words(message: object) -> str:
    return truncated(str(redact(message)), _LONGEST_MESSAGE) if isinstance(message, str) else ""


def _exact(recorded: datetime | None, known: datetime | None) -> datetime | None:
    """``known`` if it is what was recorded, before its fraction of a second was cut off."""
    if recorded is None or known is None:
        return recorded
    return known if format_instant(known) == format_instant(recorded) else recorded
