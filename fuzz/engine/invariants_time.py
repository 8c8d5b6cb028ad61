"""Instants: nothing is early (I08, I10), nothing is late (I09), and nothing is written without a cause (I16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, has_ended
from core.api.phases import Phase, Reason, StepReason, member_or_none
from core.engine.plan import GroupName, StoryPlan
from core.engine.primitives.results import TIME_TO_LEAVE
from core.engine.redrive.request import pending_redrive
from core.engine.settings import EngineSettings, RunDefaults
from core.engine.status.stored_run import terminated_at
from core.engine.step.assignment import assignment_of
from core.engine.step.pending_reason import PATIENCE
from core.engine.step.record import announced_end, attempt_of, is_final, retries_of
from core.engine.step.timers import GROUP_MARK
from core.engine.step.worker_observation import is_released
from fuzz.engine.actions import Verb
from fuzz.engine.answers import until_of
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import (
    BETWEEN_WRITES,
    GATHERING,
    OF_ATTEMPTS,
    History,
    by_operator,
    is_reset,
    is_terminal,
    phase_of,
    run_writes,
    started_by,
    starts_of,
    states_of,
    status_of,
    timers_of,
)
from fuzz.engine.invariants_definitions import is_waiting, waits_until
from fuzz.engine.invariants_order import step_of
from fuzz.engine.kept import is_cleaned, is_going
from fuzz.engine.model_hub import BINDING, stream_of
from fuzz.engine.world import EPOCH
from reconcilers.effectclaim import SETTLING

CHILD_GRACE: Final = timedelta(seconds=2)
"""The additional time that a child run may take to end."""
AFTERWARDS: Final = timedelta(seconds=EngineSettings().announce_after_seconds) + GATHERING
"""The longest time from a cause to its write: ``Running`` is written if nothing else was until then."""


def nothing_is_early(history: History) -> Iterator[str]:
    """I08: no retry, no end of a sleep and no timeout is earlier than its stored instant, by the clock of that time."""
    if history.did(Verb.STEP_CLOCK):
        return  # the clock of the engine then differs from the clock of the history
    retry_at: dict[tuple[str, int], datetime] = {}
    for write in history.writes():
        if write.place[0] == "StepRun" and (wanted := status_of(write.new).get("nextRetryAt")):
            instant = parse_instant_or_none(wanted)
            assert instant is not None
            retry_at[write.object["metadata"]["uid"], retries_of(status_of(write.new))] = instant
        elif (started := started_by(write)) is not None:
            due = retry_at.get(started)
            if due is not None and write.at < due:
                yield f"retry of {write.place[2]} started at {write.at}, before {due}"
        elif write.place[0] == "StoryRun" and write.new is not None and by_operator(write):
            yield from _early_ends(write)


def _early_ends(write: Write) -> Iterator[str]:
    for step, timer in timers_of(write.new).items():
        old, new = (states_of(run).get(step) for run in (write.old, write.new))
        ends = new is not None and not is_terminal(old) and new["phase"] in ("Timeout", "Succeeded")
        ends = ends and (new or {}).get("reason") != StepReason.RUN_ENDED
        decided = new is not None and str(timer.kind) != "sleepUntil" and new["phase"] == "Succeeded"
        if ends and not decided and write.at < timer.at:
            yield f"{step} was {new['phase'] if new else ''} at {write.at}, before {timer.at}"


def instants_stay(history: History) -> Iterator[str]:
    """I10: a deadline is stored before a message says that the step waits for it, and never moves."""
    for write in run_writes(history):
        if not is_reset(write) and not _answers(write):
            before, after = timers_of(write.old), timers_of(write.new)
            for step, timer in after.items():
                if step in before and before[step] != timer:
                    yield f"the timer of {step} moved from {before[step].at} to {timer.at}"
        for step, state in states_of(write.new).items():
            text = str(state.get("message") or "")
            old = str(states_of(write.old).get(step, {}).get("message") or "")
            quotes = state.get("reason") == Reason.RETRY_SCHEDULED  # a container
            waits = " until " in text and not quotes and not is_waiting(state)  # whose start is stored beside the text
            if waits and text != old and not is_terminal(state) and step not in timers_of(write.new):
                yield f"{step} waits ({text}), but no instant is stored"


def deadlines_are_met(history: History) -> Iterator[str]:
    """I09: a due decision is stored within the time for collecting changes, and that of a run not before its next write
    is due; after a death, within it after the next start.

    If requests or watches are disturbed: within this time and the longest pause, after the last disturbance.
    """
    if history.did(Verb.STEP_CLOCK) or not (history.prompt or history.played.trouble.heals):
        return
    moved_at: dict[str, datetime] = {}
    """The last change of a Job, a Pod or a worker of a StepRun, by its name; or the time at which it got its slot. Of a
    run, when a redrive of it was answered."""
    alive: dict[str, set[Place]] = {}
    """The Pods of a StepRun that have not ended."""
    written_at: dict[Place, datetime] = {}
    """The last write of a status of a run by the operator."""
    for write in history.writes():
        if write.place[0] == "StepRun" and _is_let_go(write):
            moved_at[write.place[2]] = write.at
        moved_at |= dict.fromkeys(_with_slot_since(history, write), write.at)
        if write.place[0] == "StoryRun" and _answers_redrive(write):
            moved_at[write.place[2]] = write.at
        if write.place[0] in (*OF_ATTEMPTS, "Pod"):
            moved_at[write.object["spec"]["stepRun"]] = write.at
        if write.place[0] == "Pod":
            pods = alive.setdefault(write.object["spec"]["stepRun"], set())
            has_left = write.new is None or status_of(write.new).get("phase") in ("Succeeded", "Failed")
            (pods.discard if has_left else pods.add)(write.place)
        if not by_operator(write) or write.old is None:
            continue
        since, allowed = history.reaction(write.at)
        lingering = bool(alive.get(write.place[2])) or _has_worker(history, write.old)
        for what, due in _open(history, write.old, moved_at, lingering):
            limit = max(due, since) + allowed
            if write.place in written_at:
                limit = max(limit, written_at[write.place] + BETWEEN_WRITES)
            if write.at > limit:
                yield f"{what} of {write.place[2]} was due at {due}, and open until {write.at}"
        if write.place[0] == "StoryRun":
            written_at[write.place] = write.at


def _with_slot_since(history: History, write: Write) -> Iterator[str]:
    """StepRuns whose steps are no longer ``Pending`` after a write of their run."""
    old, new = states_of(write.old), states_of(write.new) if write.place[0] == "StoryRun" else {}
    left = {name for name in new if phase_of(old.get(name)) is Phase.PENDING is not phase_of(new[name])}
    for one in history.step_runs(write.object) if left else ():
        if step_of(one) in left:
            yield one["metadata"]["name"]


def _open(
    history: History, obj: Object, moved_at: Mapping[str, datetime], lingering: bool
) -> Iterator[tuple[str, datetime]]:
    """The decisions about an object that are due at a known time, with this time."""
    run = obj if obj["kind"] == "StoryRun" else history.run_of(obj)
    if run is None or has_ended(run) or run["spec"].get("cancelRequested") or announced_end(status_of(run)) is not None:
        return  # the run is ending, which has its own times
    name = run["metadata"]["name"]
    ends_first = moved_at.get(name)
    if pending_redrive(run) is not None:  # the run decides nothing else before what the redrive ends has ended
        if history.played.missing_workers:
            return  # and a worker that is missing does not say so
        ends_first = max((at for each, at in moved_at.items() if each.startswith(f"{name}-")), default=None)
    found: Iterator[tuple[str, datetime]] = iter(())
    if obj["kind"] == "StoryRun":
        found = _open_of_run(history, run)
    elif obj["kind"] == "StepRun" and not is_final(status_of(obj)):
        found = _open_of_step_run(history, obj, moved_at, lingering)
    yield from ((what, due if ends_first is None else max(due, ends_first)) for what, due in found)


def _open_of_run(history: History, run: Object) -> Iterator[tuple[str, datetime]]:
    plan = history.plan(run)
    if plan is None:
        return
    states = states_of(run)
    with_step_run = {step_of(one) for one in history.step_runs(run)}
    for name, state in states.items():
        until = waits_until(state) if is_waiting(state) and name not in with_step_run else None
        if until is not None:
            yield f"the time of step {name}", until
    for name, timer in timers_of(run).items():
        if name in states and not is_terminal(states[name]):
            yield f"{timer.kind} of step {name}", timer.at
        group = plan.groups.get(member_or_none(GroupName, name.removeprefix(GROUP_MARK)) or GroupName.MAIN)
        if name.startswith(GROUP_MARK) and group and not all(is_terminal(states.get(each)) for each in group.order):
            yield f"{timer.kind} of {name}", timer.at + _time_to_stop(plan) + CHILD_GRACE
    started_at = parse_instant_or_none(status_of(run).get("startedAt"))
    at_work = any(not is_terminal(states.get(name)) for name in plan.main.order)
    if plan.story_timeout is not None and started_at is not None and at_work:
        yield "the Story's timeout", started_at + plan.story_timeout


def _open_of_step_run(
    history: History, step_run: Object, moved_at: Mapping[str, datetime], lingering: bool
) -> Iterator[tuple[str, datetime]]:
    """A retry starts only after the Job and the Pods of the earlier attempt are gone (``lingering``: not yet), and
    while the step does not wait for its Engram, its slot, or the output of an equal step.
    """
    metadata, status = step_run["metadata"], status_of(step_run)
    retry_at = parse_instant_or_none(status.get("nextRetryAt"))
    state = states_of(history.run_of(step_run)).get(step_of(step_run))
    is_cached = keys.ANNOTATION_CACHE_KEY in (metadata.get("annotations") or {})
    assignment = assignment_of(step_run)
    is_assigned = assignment is not None and assignment.attempt == retries_of(status)
    missing = history.played.missing_workers if len(history.played.starts) > 1 else ()
    if assignment is not None and assignment.worker_uid in missing and not is_released(step_run):
        lingering = True  # each process has to notice that the worker is lost
    if retry_at is not None and not (lingering or is_assigned or phase_of(state) is Phase.PENDING or is_cached):
        yield "the retry", max(retry_at, moved_at.get(metadata["name"], retry_at))
    job = history.objects.get(("Job", metadata["namespace"], metadata["name"]))
    if job is not None and job["spec"]["attempt"] == retries_of(status):
        yield "the timeout", datetime.fromisoformat(job["spec"]["deadlineAt"])
    if _has_worker(history, step_run) and is_assigned and assignment is not None and assignment.deadline_at is not None:
        yield "the timeout", assignment.deadline_at


def _has_worker(history: History, obj: Object) -> bool:
    """Whether a worker has not let go of a StepRun yet. Of one that was missing it is not known."""
    assignment = assignment_of(obj) if obj["kind"] == "StepRun" else None
    missing = history.played.missing_workers
    return assignment is not None and not is_released(obj) and assignment.worker_uid not in missing


def _answers_redrive(write: Write) -> bool:
    """Whether the write answers a request to run again."""
    if write.old is None or write.new is None:
        return False
    return pending_redrive(write.old) is not None and pending_redrive(write.new) is None


def _is_let_go(write: Write) -> bool:
    """Whether a worker lets go of a StepRun with this write; also one that was missing, and is back."""
    return _is_held(write.old) and not _is_held(write.new)


def _is_held(step_run: Object | None) -> bool:
    return step_run is not None and assignment_of(step_run) is not None and not is_released(step_run)


def writes_have_causes(history: History) -> Iterator[str]:
    """I16: every write of the operator follows a write of another client, a start, or an instant that has passed.

    For the removal of what was kept long enough, see I42 and I52.
    """
    if history.did(Verb.STEP_CLOCK) or not history.prompt:
        return
    instants = {at + pause for at in starts_of(history) for pause in (timedelta(), SETTLING, PATIENCE)}
    for silence in history.played.silences:
        instants |= {EPOCH + timedelta(seconds=at) for at in silence.news}
        instants.add(silence.lost.since + EngineSettings().disconnected_grace)
    before: list[Write] = []
    for write in history.writes():
        since = write.at - (BETWEEN_WRITES if write.place[0] == "StoryRun" else AFTERWARDS)
        removes = is_going(write) or is_cleaned(write)
        alone = by_operator(write) and not (removes or _follows(write, before, since) or _tells_of_a_queue(write))
        if alone and not any(since <= instant <= write.at for instant in instants):
            yield f"{write.verb} {write.place} at {write.at}, when nothing had happened"
        before.append(write)
        instants |= _dues(history, write)


def _follows(write: Write, before: list[Write], since: datetime) -> bool:
    """Whether another client wrote something, or the operator wrote another object, since ``since``."""
    uid = write.object["metadata"]["uid"]
    recent = takewhile(lambda each: each.at >= since, reversed(before))
    return any(each.object["metadata"]["uid"] != uid or not by_operator(each) for each in recent)


def _dues(history: History, write: Write) -> set[datetime]:
    """The instants at which a write may cause another one."""
    obj, status = write.object, status_of(write.object)
    match write.place[0]:
        case kind if kind in OF_ATTEMPTS:
            at = obj["spec"]["deadlineAt"]
            return set() if at is None else {datetime.fromisoformat(at)}
        case "StepRun":
            retry_at, attempt = parse_instant_or_none(status.get("nextRetryAt")), attempt_of(obj)
            deadline_at = attempt.deadline_at if attempt is not None else None
            dues = {write.at + TIME_TO_LEAVE, *(at for at in (retry_at, deadline_at) if at is not None)}
            return dues | {at + PATIENCE for at in (write.at, retry_at) if at is not None}  # shows that it waits
        case "StoryTrigger":
            accepted_at = parse_instant_or_none(status.get("acceptedAt"))
            limit = timedelta(seconds=history.played.case.times.pending_timeout_seconds)
            return {write.at + limit, *((accepted_at + limit,) if accepted_at is not None else ())}
        case kind if kind == BINDING:
            lost_at = parse_instant_or_none(stream_of(obj).get("disconnectedAt"))
            return set() if lost_at is None else {lost_at + EngineSettings().disconnected_grace}
        case "EffectClaim":
            return {write.at + SETTLING, until_of(obj)}
        case "StoryRun":
            plan = history.plan(obj)
            states = states_of(obj).values()
            started_at, told_at = (parse_instant_or_none(at) for at in (status.get("startedAt"), terminated_at(obj)))
            dues = {timer.at for timer in timers_of(obj).values()} | {write.at}
            dues |= {until for state in states if is_waiting(state) and (until := waits_until(state))}
            if plan is not None and plan.story_timeout is not None and started_at is not None:
                dues.add(started_at + plan.story_timeout)
            if plan is not None and plan.is_realtime:
                ends = (told_at, *(parse_instant_or_none(state.get("finishedAt")) for state in states))
                dues |= {at for at in ends if at is not None}
                dues |= {due + _drain_of(plan) for due in dues}
            stop = _time_to_stop(plan)
            return dues | {due + stop for due in dues} | {due + stop + CHILD_GRACE for due in dues}
    return set()


def _time_to_stop(plan: StoryPlan | None) -> timedelta:
    """How long a step may take to end once it is asked to."""
    return (plan.graceful_shutdown if plan is not None else None) or RunDefaults().graceful_shutdown


def _drain_of(plan: StoryPlan) -> timedelta:
    """How long the streams of a run may take to drain."""
    return plan.drain_timeout or _time_to_stop(plan)


def _tells_of_a_queue(write: Write) -> bool:
    """Whether only messages of steps that wait for a slot have changed, or that of a run that waits for its turn.

    These are written at most every ten seconds.
    """
    if write.place[0] != "StoryRun":
        return False
    before, after = states_of(write.old), states_of(write.new)
    if not before and not after:
        return status_of(write.old).get("phase") == status_of(write.new).get("phase") == Phase.PENDING
    changed = [after[name] for name in after if after[name] != before.get(name)]
    return (
        bool(changed) and before.keys() == after.keys() and all(one.get("reason") == Reason.QUEUED for one in changed)
    )


def _answers(write: Write) -> bool:
    """Whether the write records a redrive as answered, which also drops the instants of steps that run again."""
    key = "storyrun.bubustack.io/redrive"
    old, new = ((obj or {}).get("metadata", {}).get("annotations") or {} for obj in (write.old, write.new))
    return any(name.startswith(key) and name.endswith("observed") and old.get(name) != new.get(name) for name in new)
