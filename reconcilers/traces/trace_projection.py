"""Exports the spans of runs when their ends are recorded: it follows the informers, the engine does not know it.

A span is made from the stored StoryRun and StepRuns, so a crash loses none. What had ended shortly before the process
died may not have left it; the next leader exports that again, with the same ids (``catch_up``). While nothing is
exported, a change costs one comparison. Source: operator contract 9.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import trio

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import NamespacedName, Object, controller_of, has_ended, is_controlled_by, step_path
from core.engine.status.state import RunState
from core.engine.step.manifest import step_run_name
from core.engine.step.record import retries_of
from core.engine.step.state import steps_from
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.story.story import read_story
from core.telemetry.logs import get_logger
from core.telemetry.tracing.run_trace import RunTrace, TraceRules, run_trace
from core.telemetry.tracing.trace_span import SpanSink, TraceSpan
from reconcilers.adapters.world import World
from reconcilers.traces.run_spans import TracedRun, TracedStep, failed_attempt_spans, run_spans, step_spans
from reconcilers.traces.seen_instants import SeenInstants

LOOK_BACK: Final = timedelta(minutes=2)
"""What had ended so long before the last thing that is recorded is exported again by a new leader: the time that a span
spends in the queue of a process whose collector answers.
"""

_log = get_logger("telemetry")


class PatientSink(SpanSink, Protocol):
    """The part of an exporter that is needed here."""

    def put_all(self, spans: Iterable[TraceSpan]) -> Awaitable[None]: ...


class LiveStates(Protocol):
    """The part of ``Supervisor`` that is needed here."""

    def live_state(self, key: NamespacedName, uid: str) -> RunState | None: ...


class TraceProjection:
    """``connect`` once; ``sink`` is set while spans are exported."""

    def __init__(
        self,
        world: World,
        live: LiveStates,
        rules: Callable[[], TraceRules],
        now: Callable[[], datetime],
        ownership: Ownership = WHOLE_CLUSTER,
    ) -> None:
        self._world = world
        self._live = live
        self._rules = rules
        self._now = now
        self._ownership = ownership
        self._seen = SeenInstants()
        self._sent: dict[str, set[str]] = {}
        """Ids of the failed attempts that were exported when they failed, by the UID of their live StepRun."""
        self.sink: PatientSink | None = None

    def connect(self) -> None:
        self._world.step_runs.add_handler(self.step_run_changed)
        self._world.story_runs.add_handler(self.story_run_changed)

    def story_run_changed(self, change: Change) -> None:
        sink, run = self.sink, change.new
        if sink is None:
            return
        if run is None:
            self._seen.forget(change.object["metadata"]["uid"])
            return
        uid = run["metadata"]["uid"]
        if change.old is None:
            self._seen.created(uid, self._now())
            return
        if not self._is_ours(run):
            return
        trace = run_trace(run, self._rules())
        if not trace.sampled:
            return
        facts: TracedRun | None = None
        for path in _newly_ended(change.old, run):
            facts = facts or self._facts(run, trace)
            self._put(sink, self._of_step(facts, path))
        if has_ended(run) and not has_ended(change.old):
            self._put(sink, run_spans(facts or self._facts(run, trace)))
            self._seen.forget(uid)

    def step_run_changed(self, change: Change) -> None:
        sink, step_run = self.sink, change.new
        if sink is None:
            return
        if step_run is None:
            self._seen.forget(change.object["metadata"]["uid"])
            self._sent.pop(change.object["metadata"]["uid"], None)
            return
        if change.old is None:
            self._seen.created(step_run["metadata"]["uid"], self._now())
            return
        if has_ended(step_run) and not has_ended(change.old):
            self._seen.ended(step_run["metadata"]["uid"], self._now())
        before, after = (retries_of(obj.get("status") or {}) for obj in (change.old, step_run))
        if after == before + 1:
            self._attempt_failed(sink, step_run, before)

    async def catch_up(self) -> None:
        """Export again what ended in traced runs shortly before this process began: the one before may not have sent
        it.
        """
        sink = self.sink
        if sink is None:
            await trio.lowlevel.checkpoint()
            return
        last: datetime | None = None
        for run in self._world.story_runs.each():
            if (at := _last_recorded(run)) is not None:
                last = at if last is None else max(last, at)
        if last is not None:
            await sink.put_all(self._ended_since(last - LOOK_BACK))
        await trio.lowlevel.checkpoint()

    def _ended_since(self, since: datetime) -> Iterator[TraceSpan]:
        for namespace, name in [*self._world.story_runs.all_keys()]:
            run = self._world.story_runs.get(namespace, name)
            at = _last_recorded(run) if run is not None else None
            if run is None or at is None or at < since or not self._is_ours(run):
                continue
            if not run["status"].get("trace"):  # it was not traced
                continue
            yield from self._spans_of(run, since)

    def _spans_of(self, run: Object, since: datetime) -> list[TraceSpan]:
        trace = run_trace(run, self._rules())
        if not trace.sampled:
            return []
        try:
            return [*self._of_run_since(self._facts(run, trace), since)]
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # a damaged object costs its own spans
            place = "/".join((run["metadata"]["namespace"], run["metadata"]["name"]))
            _log.error("the spans of a run cannot be made", run=place, error=error)
            return []

    def _of_run_since(self, facts: TracedRun, since: datetime) -> Iterator[TraceSpan]:
        for path, step in steps_from(facts.status.get("stepStates")).items():
            if step.phase.terminal and step.finished_at is not None and step.finished_at >= since:
                yield from self._of_step(facts, path)
            elif not step.phase.terminal:
                known = self._step_facts(facts.run, path)
                retries = retries_of((known.step_run or {}).get("status") or {})
                for number in range(retries):
                    spans = failed_attempt_spans(facts, path, known, number)
                    yield from (span for span in spans if span.ended_at >= since)
        if has_ended(facts.run):
            yield from run_spans(facts)

    def _attempt_failed(self, sink: SpanSink, step_run: Object, number: int) -> None:
        run = self._run_of(step_run)
        if run is None or not self._is_ours(run):
            return
        trace = run_trace(run, self._rules())
        if trace.sampled:
            path, facts, uid = step_path(step_run), self._facts(run, trace), step_run["metadata"]["uid"]
            known = TracedStep(step_run, seen=self._seen.of(uid))
            self._put(sink, failed_attempt_spans(facts, path, known, number))
            self._sent.setdefault(uid, set()).add(trace.attempt_id(path, number))

    def _of_step(self, facts: TracedRun, path: str) -> Iterator[TraceSpan]:
        known = self._step_facts(facts.run, path)
        sent = self._sent.pop(known.step_run["metadata"]["uid"], ()) if known.step_run is not None else ()
        yield from (span for span in step_spans(facts, path, known) if span.span_id not in sent)

    def _facts(self, run: Object, trace: RunTrace) -> TracedRun:
        metadata = run["metadata"]
        live = self._live.live_state(NamespacedName(metadata["namespace"], metadata["name"]), metadata["uid"])
        return TracedRun(run, trace, live, self._seen.of(metadata["uid"]))

    def _step_facts(self, run: Object, path: str) -> TracedStep:
        metadata = run["metadata"]
        namespace, name = metadata["namespace"], step_run_name(metadata["name"], path)
        step_run = self._world.step_runs.get(namespace, name)
        step = read_story(self._story_of(run)).find(path)
        kind = step.word if step is not None else ""
        if step_run is None or not is_controlled_by(step_run, metadata["uid"]) or step_path(step_run) != path:
            return TracedStep(kind=kind)
        job = self._world.jobs.get(namespace, name)
        uid = step_run["metadata"]["uid"]
        has_job = job is not None and is_controlled_by(job, uid)
        return TracedStep(step_run, "engram", has_job, self._seen.of(uid))

    def _story_of(self, run: Object) -> Object | None:
        reference: Mapping[str, Any] = (run.get("spec") or {}).get("storyRef") or {}
        namespace = reference.get("namespace") or run["metadata"]["namespace"]
        return self._world.stories.get(str(namespace), str(reference.get("name")))

    def _run_of(self, step_run: Object) -> Object | None:
        owner = controller_of(step_run) or {}
        run = self._world.story_runs.get(step_run["metadata"]["namespace"], str(owner.get("name")))
        return run if run is not None and run["metadata"]["uid"] == owner.get("uid") else None

    def _is_ours(self, run: Object) -> bool:
        return self._ownership.owns((run["metadata"]["namespace"], run["metadata"]["name"]))

    @staticmethod
    def _put(sink: SpanSink, spans: Iterable[TraceSpan]) -> None:
        for span in spans:
            sink.put(span)


def _newly_ended(old: Object, new: Object) -> Iterator[str]:
    """The steps whose end is recorded in ``new`` and not in ``old``, and that ended in the run as it runs now."""
    before, after = ((obj.get("status") or {}).get("stepStates") or {} for obj in (old, new))
    if before is after:
        return
    for path, entry in after.items():
        if _finished(entry) and not _finished(before.get(path)):
            yield path


def _finished(entry: object) -> bool:
    return isinstance(entry, Mapping) and bool(entry.get("finishedAt"))


def _last_recorded(run: Object) -> datetime | None:
    """The last instant in the status of a run that the operator has written."""
    status = run.get("status") or {}
    if ended_at := parse_instant_or_none(status.get("finishedAt")):
        return ended_at
    states = steps_from(status.get("stepStates")).values()
    instants = (status.get("startedAt"), *(at for step in states for at in (step.started_at, step.finished_at)))
    known = [at if isinstance(at, datetime) else parse_instant_or_none(at) for at in instants]
    return max((at for at in known if at is not None), default=None)
