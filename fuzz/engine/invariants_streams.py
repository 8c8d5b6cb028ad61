"""I61 to I66: what is promised about the streams of realtime runs, and their workloads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object, has_ended, is_controlled_by, is_owned_by, step_path
from core.api.phases import Phase
from core.engine.plan import StoryPlan
from core.engine.settings import EngineSettings, RunDefaults
from core.engine.status.stored_run import terminated_at
from core.engine.step.record import announced_end, attempt_of, end_is_requested, is_final, phase_of, retries_of
from core.engine.streams.record import serves_stream
from core.workloads.hub_lease import HubSilence
from fuzz.engine.actions import Verb
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import GATHERING, History, by_operator, starts_of, states_of, status_of
from fuzz.engine.invariants_definitions import is_waiting
from fuzz.engine.model_hub import BINDING, is_drained, is_finished, silence_at, stream_of
from fuzz.engine.stream_workers import WORKLOAD
from fuzz.engine.world import EPOCH

GRACE: Final = EngineSettings().disconnected_grace
ANNOUNCED: Final = 2 * GATHERING
CANCELED_AT: Final = "storyrun.bubustack.io/graceful-cancel-observed-at"


def generations_are_fenced(history: History) -> Iterator[str]:
    """I61: no workload of a step starts beside one of an earlier generation that the hub still admits, and no client of
    an earlier generation takes the place of a later one.
    """
    for name, generation in history.played.unfenced:
        yield f"generation {generation} of {name} started beside one that was not fenced"
    for name in history.played.doubled:
        yield f"{name} was served by an earlier generation after a later one"


def nothing_ends_without_cause(history: History) -> Iterator[str]:
    """I62: the operator removes a workload only if its step has ended or was asked to end, if its stream has finished,
    if another attempt follows, or if its run is to run again.
    """
    for write in history.writes():
        if write.place[0] == WORKLOAD and write.verb == "delete" and by_operator(write):
            step_run = history.owner(write.object)
            run = history.run_of(write.object)
            if step_run is None or run is None or run["metadata"].get("deletionTimestamp"):
                continue
            if not _has_cause(history, write, step_run, run):
                yield f"the workload of {write.place[2]} was removed without a cause"


def _has_cause(history: History, write: Write, step_run: Object, run: Object) -> bool:
    status, attempt = status_of(step_run), write.object["spec"]["attempt"]
    binding = _binding_of(history.objects, step_run, run)
    has_ended = is_final(status) or (binding is not None and is_finished(binding))
    to_run_again = retries_of(status) > attempt or history.did(Verb.REDRIVE, Verb.REDRIVE_FROM)
    return has_ended or end_is_requested(step_run) or to_run_again


def a_stream_finishes_for_a_reason(history: History) -> Iterator[str]:
    """I63: while a run is not being ended, a stream is marked as finished only if its worker has exited with 0, if it
    has got everything that it needs, or if its step has ended; while it is being ended, a stream that is no source is
    only marked so once it is drained, or the time for that is over. So sources end first.
    """
    exited: set[str] = set()
    """Names of StepRuns whose worker has exited with 0."""
    asked_at: dict[str, datetime] = {}
    """UID of a run → when it was asked to end. The operator may act on that before it can store that it has seen it."""
    for write in history.writes():
        if write.place[0] == "Pod" and status_of(write.new).get("exitCode") == 0:
            exited.add(write.object["spec"]["stepRun"])
        if write.place[0] == "StoryRun" and write.new is not None and write.new["spec"].get("cancelRequested") is True:
            asked_at.setdefault(write.new["metadata"]["uid"], write.at)
        ends = write.place[0] == BINDING and write.old is not None and write.new is not None
        if not ends or not by_operator(write) or is_finished(write.old or {}) or not is_finished(write.object):
            continue
        step_run, run = history.owner(write.object), history.run_of(write.object)
        if step_run is None or run is None or run["metadata"].get("deletionTimestamp"):
            continue
        name, status = step_run["metadata"]["name"], status_of(step_run)
        drained = bool(write.object["spec"]["needs"]) and is_drained(write.old)
        if name in exited or drained or is_final(status) or history.did(Verb.REDRIVE, Verb.REDRIVE_FROM):
            continue
        if not end_is_requested(step_run):
            yield f"the stream of {name} was ended without a cause"
        elif write.object["spec"]["needs"] and not _may_end_undrained(history, write, run, asked_at):
            yield f"the stream of {name} was ended at {write.at}, before it was drained"


def _may_end_undrained(history: History, write: Write, run: Object, asked_at: Mapping[str, datetime]) -> bool:
    """Whether the time to drain is over, or the run is ended by a word of another program."""
    plan = history.plan(run, write.object)
    if plan is None or terminated_at(run) is not None or history.did(Verb.STEP_CLOCK):
        return True
    if has_ended(run):  # what one of two leaders has left is ended when its run has ended
        return True
    asked = asked_at.get(run["metadata"]["uid"])
    decided = [*_ends_of(plan, run), *([asked] if asked is not None else [])]
    return any(write.at >= at + _drain_of(plan) for at in decided)


def _ends_of(plan: StoryPlan, run: Object) -> Iterator[datetime]:
    """The instants at which it may have been decided that the streams are to end."""
    annotations = run["metadata"].get("annotations") or {}
    told_at = parse_instant_or_none(annotations.get(CANCELED_AT))
    if told_at is not None:
        yield told_at
    started_at = parse_instant_or_none(status_of(run).get("startedAt"))
    if plan.story_timeout is not None and started_at is not None:
        yield started_at + plan.story_timeout
    for state in states_of(run).values():
        failed = Phase(state["phase"]).failing
        finished_at = parse_instant_or_none(state.get("finishedAt"))
        if failed and finished_at is not None:
            yield finished_at


def _drain_of(plan: StoryPlan) -> timedelta:
    return plan.drain_timeout or plan.graceful_shutdown or RunDefaults().graceful_shutdown


def success_is_earned(history: History) -> Iterator[str]:
    """I64: a step that serves a stream succeeds only if its worker has exited with 0, or if it was drained; and always
    without a worker that still serves.
    """
    exited: set[str] = set()
    for write in history.writes():
        if write.place[0] == "Pod" and status_of(write.new).get("exitCode") == 0:
            exited.add(write.object["spec"]["stepRun"])
        if write.place[0] != "StepRun" or write.new is None or not serves_stream(write.new) or not by_operator(write):
            continue
        if phase_of(status_of(write.new)) is not Phase.SUCCEEDED or phase_of(status_of(write.old)) is Phase.SUCCEEDED:
            continue
        run = history.run_of(write.new)
        binding = _binding_of(history.objects, write.new, run) if run is not None else None
        if write.place[2] not in exited and not is_drained(binding):
            yield f"{write.place[2]} succeeded, although its stream had not ended"
        if (WORKLOAD, *write.place[1:]) in history.objects:
            yield f"{write.place[2]} succeeded, although its workload was there"


def what_is_shown_is_true(history: History) -> Iterator[str]:
    """I65: where changes are received at once, a StepRun shows within a moment whether its stream is connected, and a
    run whether none of its streams has been for as long as it may.
    """
    if history.did(Verb.STEP_CLOCK) or not (history.prompt and history.played.case.has_streams):
        return
    wrong_since: dict[str, datetime] = {}
    always = len(history.played.starts) == 1
    """Whether a process runs at every write; else only at those of the operator is this certain."""
    news = deque(EPOCH + timedelta(seconds=at) for silence in history.played.silences for at in silence.news)
    for write in history.writes():
        while news and news[0] < write.at:
            at = news.popleft()
            wrong_since = {name: wrong_since.get(name, since) for name, since in _wrong(history, history.objects, at)}
        if always or by_operator(write):
            yield from _shown_late(history, wrong_since, write.at)
        after = {**history.objects, write.place: write.new}
        wrong = dict(_wrong(history, after, write.at))
        wrong_since = {name: wrong_since.get(name, at) for name, at in wrong.items()}
    now = EPOCH + timedelta(seconds=history.played.seen_until_seconds)
    for name, at in _wrong(history, history.played.objects, now):
        wrong_since.setdefault(name, at)
    yield from _shown_late(history, wrong_since, now)


def _shown_late(history: History, wrong_since: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    began_at = max(at for at in starts_of(history) if at <= now)
    for name, since in wrong_since.items():
        if now > max(since, began_at) + ANNOUNCED + timedelta(seconds=0.1):
            yield f"{name} has been shown wrongly since {since}, until {now}"


def _wrong(history: History, objects: Mapping[Place, Object | None], now: datetime) -> Iterator[tuple[str, datetime]]:
    """StepRuns and runs whose status does not say how their streams are connected, and since when at the latest."""
    seconds = (now - EPOCH).total_seconds()
    silence = silence_at(history.played.silences, seconds)
    known_at = EPOCH + timedelta(seconds=max((one.begins for one in history.played.silences), default=0.0))
    for place, run in objects.items():
        if place[0] != "StoryRun" or run is None or _is_ending(history, run):
            continue
        plan = history.plan(run)
        if plan is None or not plan.is_realtime:
            continue
        streams = {
            step_path(one): (one, _binding_of(objects, one, run))
            for other, one in objects.items()
            if other[0] == "StepRun" and one is not None and one["spec"]["storyRunRef"]["name"] == place[2]
        }
        if any(map(is_waiting, states_of(run).values())):
            continue  # a step that waits for its Engram shows that
        own = {name: found for name, found in streams.items() if name in plan.main.graph.position}
        for step_run, binding in own.values():
            if binding is not None and not _is_shown(objects, step_run, binding, silence):
                yield step_run["metadata"]["name"], now
        bindings = [binding for one, binding in own.values() if not is_final(status_of(one))]
        yield from _wrong_topology(run, bindings, silence, known_at, now)


def _is_shown(
    objects: Mapping[Place, Object | None], step_run: Object, binding: Object, silence: HubSilence | None
) -> bool:
    status = status_of(step_run)
    attempt = attempt_of(step_run)
    place = (WORKLOAD, step_run["metadata"]["namespace"], step_run["metadata"]["name"])
    at_work = objects.get(place) is not None and attempt is not None and attempt.number == retries_of(status)
    if is_final(status) or not at_work or end_is_requested(step_run) or is_finished(binding):
        return True
    stream = stream_of(binding)
    connected = stream.get("connected") is True and stream.get("generation") == retries_of(status) + 1
    connected &= not (silence is not None and silence.covers(stream))
    shown = find_condition(status.get("conditions") or (), "TransportReady") or {}
    return shown.get("status") == str(connected) and (status.get("phase") == "Running") == connected


def _wrong_topology(
    run: Object, bindings: list[Object | None], silence: HubSilence | None, known_at: datetime, now: datetime
) -> Iterator[tuple[str, datetime]]:
    streams = [stream_of(one) for one in bindings]
    left = [silence is not None and stream.get("connected") is True and silence.covers(stream) for stream in streams]
    connected = any(one.get("connected") is True and not is_left for one, is_left in zip(streams, left, strict=True))
    lost: list[Any] = [parse_instant_or_none(stream.get("disconnectedAt")) for stream in streams]
    lost += [silence.since] if silence is not None and any(left) else []
    lost_at = max((at for at in lost if at is not None), default=None)
    due = lost_at + GRACE if lost_at is not None and not connected else None  # perhaps later than now
    if due is not None and any(left):
        due = max(due, known_at)
    shown = find_condition(status_of(run).get("conditions") or (), "Degraded") or {}
    degraded = shown.get("status") == "True" and shown.get("reason") == "TopologyDegraded"
    if due is not None and not degraded:
        yield f"the topology of {run['metadata']['name']}", due
    elif connected and degraded:
        yield f"the topology of {run['metadata']['name']}", now


def _is_ending(history: History, run: Object) -> bool:
    status = status_of(run)
    ended = has_ended(run) or bool(run["metadata"].get("deletionTimestamp")) or not status.get("phase")
    asked = run["spec"].get("cancelRequested") is True or announced_end(status) is not None
    plan = history.plan(run)
    over = plan is not None and any(Phase(state["phase"]).failing for state in states_of(run).values())
    return ended or asked or over or terminated_at(run) is not None or history.did(Verb.REDRIVE, Verb.REDRIVE_FROM)


def _binding_of(objects: Mapping[Place, Object | None], step_run: Object, run: Object) -> Object | None:
    """The TransportBinding of a StepRun."""
    uid = step_run["metadata"]["uid"]
    for place, obj in objects.items():
        owners = (obj["metadata"].get("ownerReferences") or ()) if place[0] == BINDING and obj is not None else ()
        if obj is not None and any(owner["uid"] == uid for owner in owners):
            return obj
    return None


def sources_end_at_once(history: History) -> Iterator[str]:
    """I63: where changes are received at once, a cancel ends the sources of a run at once."""
    if history.did(Verb.STEP_CLOCK) or not (history.prompt and history.played.case.has_streams):
        return
    for write in history.writes():
        if not by_operator(write):
            continue
        began_at = max(at for at in starts_of(history) if at <= write.at)
        for place, binding in history.objects.items():
            if place[0] != BINDING or binding["spec"]["needs"] or is_finished(binding):
                continue
            run, step_run = history.run_of(binding), history.owner(binding)
            annotations = (run or {}).get("metadata", {}).get("annotations") or {}
            told_at = parse_instant_or_none(annotations.get(CANCELED_AT))
            if told_at is None or has_ended(run or {}) or step_run is None or is_final(status_of(step_run)):
                continue
            if write.at > max(told_at, began_at) + ANNOUNCED:
                yield f"{step_run['metadata']['name']} goes on at {write.at}, though its run was canceled at {told_at}"


def runs_of_packets_are_canceled(history: History) -> Iterator[str]:
    """I66: once a run has ended after a cancel or the time of its Story, every StoryRun that its packets had started
    has ended or was asked to end; at any other end the operator has asked none. What is created while the end is
    stored may be missed where changes are received late.
    """
    for write in history.writes():
        if write.place[0] != "StoryRun" or write.new is None or not by_operator(write):
            continue
        if has_ended(write.new) and not has_ended(write.old or {}) and history.prompt:
            uid, asks = write.new["metadata"]["uid"], phase_of(status_of(write.new)) in (Phase.FINISHED, Phase.TIMEOUT)
            for other in list(history.objects.values()):
                if other["kind"] != "StoryRun" or not is_owned_by(other, uid) or is_controlled_by(other, uid):
                    continue
                asked = other["spec"].get("cancelRequested") is True
                if asks and not asked and not has_ended(other):
                    yield f"{other['metadata']['name']} goes on, although {write.place[2]} was canceled"
                elif asked and not asks:
                    yield f"{other['metadata']['name']} was asked to end, although {write.place[2]} was not"


CHECKS: Final = {
    "I61": generations_are_fenced,
    "I62": nothing_ends_without_cause,
    "I63": a_stream_finishes_for_a_reason,
    "I63, sources": sources_end_at_once,
    "I64": success_is_earned,
    "I65": what_is_shown_is_true,
    "I66": runs_of_packets_are_canceled,
}
