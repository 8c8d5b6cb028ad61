"""The invariants of every execution, checked on its write history: one function for each invariant, with its number.

``violations`` checks all of them. docs/proof.md describes each. Order (I01, I02 and I30) is in ``invariants_order``,
instants and causes (I08 to I10 and I16) in ``invariants_time``, I24 and I26 in ``invariants_limits``, the conditions at
the end in ``invariants_end``, retention (I42) in ``invariants_retention``, the writing process (I44) in
``invariants_owners``, waits for Engrams (I45 and I46) in ``invariants_definitions``, object storage (I57 to I60) in
``invariants_storage``, streams (I61 to I66) in ``invariants_streams``, warm workers (I67 to I69) in
``invariants_workers``. If clients take part, ``invariants_triggers``
(I47 to I52) and ``invariants_effects`` (I53 to I56) are checked, too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object
from core.api.phases import Phase, Reason
from core.engine.ports import STREAM, WORKER
from core.engine.step.record import attempt_of, executor_of, is_final, retries_of
from core.engine.step.record import phase_of as recorded_phase
from core.policy.retry import ANY, TRANSIENT
from fuzz.engine import (
    invariants_definitions,
    invariants_effects,
    invariants_end,
    invariants_limits,
    invariants_order,
    invariants_owners,
    invariants_retention,
    invariants_storage,
    invariants_streams,
    invariants_time,
    invariants_triggers,
    invariants_workers,
)
from fuzz.engine.actions import Verb
from fuzz.engine.cases import Played
from fuzz.engine.cluster import Write
from fuzz.engine.history import (
    OF_ATTEMPTS,
    History,
    by_operator,
    is_reset,
    run_writes,
    started_by,
    starts_of,
    states_of,
    status_of,
)
from fuzz.engine.warm_workers import DEAF_SECONDS, FENCE_SECONDS, HEARD_SECONDS, KILLED_SECONDS
from fuzz.engine.watches import controller_owner
from fuzz.engine.worker import UNSAID
from fuzz.engine.world import NAMESPACE

Check = Callable[[History], Iterator[str]]

SDK_FIELDS: Final = ("output", "signals", "effects", "logs", "signalEvents")
BY_OTHERS: Final = ("gates", "conditions", "childrenCleanedAt")
"""Fields of a run's status that may change after its end."""
HAVE_THEIR_OWN: Final = ("StoryRun", "StoryTrigger", "EffectClaim")
"""Other invariants check what the operator does with these kinds."""
NOT_TRANSIENT: Final = frozenset(range(1, 128)) - {124}
"""Exit codes of programs; the others are those of a time limit, of signals, and of a container without one."""
RETRYABLE: Final = ("retry", "rateLimited", "unknown")
MAX_MESSAGE: Final = 2048
MAX_REASON: Final = 64
MAX_OBJECT: Final = 1 << 20


def violations(played: Played) -> list[str]:
    """All violations; empty if there are none."""
    history = History(played)
    checks = CHECKS if played.clients is None else {**CHECKS, **invariants_triggers.CHECKS, **invariants_effects.CHECKS}
    return [f"{name}: {text}" for name, check in checks.items() for text in check(history)]


def terminal_is_absorbing(history: History) -> Iterator[str]:
    """I03: a terminal phase never changes, except by a redrive."""
    for write in history.writes():
        old, new = status_of(write.old), status_of(write.new)
        if write.new is None or not old or is_reset(write):
            continue
        before, after = recorded_phase(old), recorded_phase(new)
        if write.place[0] == "StoryRun":
            changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
            if before is not None and before.terminal and changed - {*BY_OTHERS}:
                yield f"the run {write.place[2]} was changed after {before}: {sorted(changed)}"
            for step, state in states_of(write.old).items():
                now = states_of(write.new).get(step, {}).get("phase")
                if Phase(state["phase"]).terminal and now != state["phase"]:
                    yield f"step {step} went from {state['phase']} to {now}"
        elif write.place[0] == "StepRun" and is_final(old) and (after is not before or not is_final(new)):
            yield f"final StepRun {write.place[2]} went from {before} to {after} by {write.actor}"
        elif write.place[0] == "StepRun" and before is Phase.SUCCEEDED and after is not before and not _refused(new):
            yield f"success of {write.place[2]} was taken back: {after}"


def sdk_may_report(history: History) -> Iterator[str]:
    """I04: no SDK finds its StepRun in a phase from which it may not report success."""
    final: dict[str, Write] = {}
    crossed: set[str] = set()
    """Steps that ended while the request that starts them was in transit: by the other leader, or after 30 s."""
    for write in history.writes():
        if write.place[0] == "StepRun" and is_final(status_of(write.new)):
            final.setdefault(write.object["metadata"]["uid"], write)
        elif write.place[0] in OF_ATTEMPTS and (started := started_by(write)) is not None:
            end = final.get(started[0])
            if end is not None and (history.was_given_up(end, write) or history.crosses(end, write)):
                crossed.add(write.object["spec"]["step"])
    yield from (text for text in history.played.refused if text.partition(" out of ")[0] not in crossed)


def _crossed_its_end(history: History, name: str, attempt: int) -> bool:
    """Whether one of two leaders was starting an attempt when the other counted its failure or ended it."""
    ends: list[Write] = []
    for write in history.played.history:
        counted = write.place == ("StepRun", NAMESPACE, name) and retries_of(status_of(write.new)) > attempt
        of_job = write.place == ("Job", NAMESPACE, name) and write.object["spec"]["attempt"] == attempt
        if counted or (of_job and write.verb != "create" and by_operator(write)):
            ends.append(write)
        if of_job and write.verb == "create" and any(history.crosses(end, write) for end in ends):
            return True
    return False


def _is_unknown(history: History, name: str) -> bool:
    """Whether a user deleted a StepRun that a worker had, and the process that creates it again does not know that."""
    deaf = DEAF_SECONDS if history.did(Verb.DEAFEN) else 0.0
    fenced = FENCE_SECONDS if history.played.missing_workers else 0.0
    killed = timedelta(seconds=deaf + fenced + HEARD_SECONDS + KILLED_SECONDS)
    return any(
        write.verb == "delete" and not by_operator(write) and write.at <= at <= write.at + killed
        for write in history.played.history
        if write.place == ("StepRun", NAMESPACE, name)
        for at in starts_of(history)
    )


def one_attempt_at_a_time(history: History) -> Iterator[str]:
    """I05: no attempt starts while another one of the same step may be running."""
    for name, attempt in history.played.overlaps:
        if not (_crossed_its_end(history, name, attempt) or _is_unknown(history, name)):
            yield f"attempt {attempt} of {name} was started while something was at work for it"


def attempts_are_counted(history: History) -> Iterator[str]:
    """I06: each attempt starts once, plus once for each Job or workload that a user deleted; no step succeeds twice."""
    created: Counter[tuple[str, int]] = Counter()
    destroyed: Counter[str] = Counter()
    retries: dict[str, int] = {}
    over: dict[str, Write] = {}
    """The write that ended an attempt, by UID of the StepRun and attempt."""
    for write in history.writes():
        if write.place[0] == "StepRun" and write.new is not None:
            uid, status = write.new["metadata"]["uid"], status_of(write.new)
            if retries_of(status) > retries.get(uid, 0) or is_final(status):
                over.setdefault(f"{uid}/{retries.get(uid, 0)}", write)
            retries[uid] = retries_of(status)
        if (started := started_by(write)) is not None:
            end = over.get(f"{started[0]}/{started[1]}")
            if end is None or not (history.crosses(end, write) or history.was_given_up(end, write)):
                created[started] += 1
            continue
        owner = controller_owner(write.object) if write.place[0] in OF_ATTEMPTS else None
        if owner is None:
            continue
        attempt = write.object["spec"]["attempt"]
        if write.verb == "delete" and not by_operator(write):
            destroyed[owner["uid"]] += 1
        elif write.verb == "delete":
            over.setdefault(f"{owner['uid']}/{attempt}", write)
    for (uid, attempt), times in created.items():
        if times > 1 + destroyed[uid]:
            yield f"attempt {attempt} of StepRun {uid} was started {times} times"
        if attempt > retries.get(uid, 0):
            yield f"attempt {attempt} of StepRun {uid} was started, which had {retries.get(uid)} retries"
    played = history.played
    late = played.trouble.hears_late or history.requests_take_time  # a step may time out before its end is known
    good = ("ok",) if late else ("ok", UNSAID)
    for (uid, step), times in Counter((uid, step) for uid, step, end in played.effects if end in good).items():
        if times > 1 + destroyed[uid]:
            yield f"{step} succeeded {times} times"


def records_tell_the_attempt(history: History) -> Iterator[str]:
    """I43: a StepRun keeps its executor and records the running attempt; a worker's report belongs to that attempt."""
    deadlines: dict[str, tuple[int, datetime]] = {}
    """The deadlines of Jobs, with their attempt, by UID of the StepRun."""
    for write in history.writes():
        if write.place[0] == "Job" and (started := started_by(write)) is not None:
            deadlines[started[0]] = started[1], datetime.fromisoformat(write.object["spec"]["deadlineAt"])
        if write.place[0] != "StepRun" or write.old is None or write.new is None:
            continue
        if executor_of(write.old) != executor_of(write.new):
            yield f"{write.place[2]} went from {executor_of(write.old)} to {executor_of(write.new)}"
        yield from _strange_report(write)
        attempt, job = attempt_of(write.new), deadlines.get(write.new["metadata"]["uid"])
        told = attempt is not None and attempt != attempt_of(write.old) and by_operator(write)
        if attempt is None or not told:
            continue
        if attempt.deadline_at is None and attempt.executor != STREAM:
            yield f"attempt {attempt.number} of {write.place[2]} was recorded without a deadline"
        if attempt.number != retries_of(status_of(write.new)):
            yield f"attempt {attempt.number} of {write.place[2]} was recorded, which is at another one"
        known = job is not None and job[0] == attempt.number and not history.overlapping
        at_work = ("Job", *write.place[1:]) in history.objects
        if known and at_work and job is not None and job[1] != attempt.deadline_at:
            yield f"{write.place[2]} records the deadline {attempt.deadline_at}, but its Job has {job[1]}"


def _strange_report(write: Write) -> Iterator[str]:
    """Reports of a worker about another attempt than the current one of its StepRun, or about another worker's."""
    old = status_of(write.old)
    if not write.actor.startswith(f"{WORKER}-") or old.get("phase") == status_of(write.new).get("phase"):
        return
    attempt = attempt_of(write.old) if write.old is not None else None
    if attempt is None or (attempt.number, attempt.worker) != (retries_of(old), write.actor):
        yield f"{write.actor} reported for {write.place[2]}, which is at another attempt, or another's"


def retries_rise_by_one(history: History) -> Iterator[str]:
    """I07: retries rise by one, with phase and instant in the same write."""
    for write in _step_run_writes(history):
        old, new = status_of(write.old), status_of(write.new)
        step = retries_of(new) - retries_of(old)
        if step == 0:
            continue
        if step != 1:
            yield f"retries of {write.place[2]} moved by {step}"
        if new.get("phase") != "Pending" or not new.get("nextRetryAt"):
            yield f"a retry of {write.place[2]} was counted without phase and instant in the same write"


def policies_decide_about_retries(history: History) -> Iterator[str]:
    """I07: a failure that ``retryOn`` does not cover is final, and no other as long as retries are left."""
    for write in _step_run_writes(history):
        if not by_operator(write):
            continue
        engram = history.played.case.engrams.get(write.object["spec"]["engramRef"]["name"])
        status, code = status_of(write.new), status_of(write.new).get("exitCode")
        if engram is None or not code:
            continue
        class_ = status_of(write.old).get("exitClass") or ("terminal" if code in NOT_TRANSIENT else "retry")
        entries = engram.retry.retry_on
        covered = ANY in entries or code in entries or (TRANSIENT in entries and class_ in RETRYABLE)
        done = retries_of(status)
        if done > retries_of(status_of(write.old)) and not covered:
            yield f"{write.place[2]} is retried after exit code {code}, class {class_}, in spite of {entries}"
        ready = {one["reason"] for one in status.get("conditions") or () if one["type"] == "Ready"}
        ended = is_final(status) and not is_final(status_of(write.old)) and ready == {Reason.EXECUTION_FAILED}
        if ended and covered and done < engram.retry.max_retries:
            yield f"{write.place[2]} is not retried after exit code {code}, class {class_}, in spite of {entries}"


def counters_equal_states(history: History) -> Iterator[str]:
    """I11: counters equal the states in each stored version; declared steps count, branches do not."""
    for write in run_writes(history):
        status = status_of(write.new)
        if "stepsComplete" not in status or not by_operator(write) or not status.get("phase"):
            continue
        if status.get("stepStates") == states_of(write.old) and status.get("phase") == status_of(write.old).get(
            "phase"
        ):
            continue
        wanted = _counters(states_of(write.new))
        counters = {key: status.get(key) for key in wanted}
        if counters != wanted:
            yield f"counters {counters} are not {wanted}"


def _counters(states: Mapping[str, Object]) -> dict[str, int]:
    phases = [Phase(state["phase"]) for name, state in states.items() if "/" not in name]
    return {
        "stepsComplete": sum(phase is Phase.SUCCEEDED for phase in phases),
        "stepsFailed": sum(phase.failing for phase in phases),
        "stepsSkipped": sum(phase is Phase.SKIPPED for phase in phases),
    }


def only_ours_is_touched(history: History) -> Iterator[str]:
    """I12: the engine only changes or deletes objects of the same owner that the operator created; runs: see I42."""
    ours: set[str] = set()
    for write in history.writes():
        uid = write.object["metadata"]["uid"]
        if write.verb == "create" and by_operator(write):
            ours.add(uid)
        elif by_operator(write) and write.place[0] not in HAVE_THEIR_OWN and uid not in ours:
            yield f"{write.actor} {write.verb} {write.place}, which is not ours"


def no_resurrection(history: History) -> Iterator[str]:
    """I14: nothing is created or changed for a run that has ended, until a user requests to run it again."""
    over: dict[str, Write] = {}
    made_by: dict[str, str] = {}
    for write in history.writes():
        uid = write.object["metadata"]["uid"]
        if write.verb == "create":
            made_by[uid] = write.actor
        if write.place[0] == "StoryRun":
            if write.new is not None and is_reset(write):
                over.pop(uid, None)
            elif status_of(write.new).get("finishedAt"):
                over.setdefault(uid, write)
        elif by_operator(write) and write.place[0] in ("StepRun", *OF_ATTEMPTS):
            run = history.run_of(write.object)
            end = over.get(run["metadata"]["uid"]) if run is not None else None
            if run is None or end is None or _awaits_redrive(run):
                continue
            other = end.actor != write.actor or history.did(Verb.REDRIVE, Verb.REDRIVE_FROM)  # a redrive it refused
            ends = write.verb != "create"
            begun = write.object if write.place[0] == "StepRun" else history.owner(write.object) or write.object
            # The leader that started it may have died before it ended it, or continued the run with its own Story.
            left = made_by.get(uid) != end.actor or history.is_of_another_story(begun, run)
            allowed = (other or ends) and history.two_leaders(write, ever=ends and left)
            allowed = allowed or (ends and invariants_retention.is_let_go(history, write))
            if not allowed and not history.was_given_up(end, write):
                yield f"{write.verb} {write.place} after the run had ended"


def writes_are_bound(history: History) -> Iterator[str]:
    """I20 and I21: every patch has the version from which it was computed, and changes only fields of the engine."""
    for write in history.writes():
        if not by_operator(write) or write.old is None or write.new is None:
            continue
        asks_to_cancel = write.old.get("spec") != write.new.get("spec")
        if write.verb.startswith("patch") and write.based_on is None and not asks_to_cancel:
            yield f"{write.verb} of {write.place} names no version"
        old, new = status_of(write.old), status_of(write.new)
        if write.place[0] == "StepRun":
            retried = retries_of(new) > retries_of(old)
            for field in SDK_FIELDS:
                if old.get(field) == new.get(field) or retried:
                    continue
                if not (field == "output" and (history.is_read_result(write) or new.get("cached"))):
                    yield f"the operator changed {field} of {write.place[2]}"
        elif write.place[0] == "StoryRun":
            if old.get("gates") != new.get("gates") and not is_reset(write):
                yield f"the operator changed the decisions on gates of {write.place[2]}"
            if asks_to_cancel and write.new["spec"] != write.old["spec"] | {"cancelRequested": True}:
                yield f"the operator changed the spec of {write.place[2]}"


def no_lost_update(history: History) -> Iterator[str]:
    """I22: a decision of a user, and a result of an SDK, stays until its run or its attempt starts again."""
    for write in history.writes():
        if write.old is None or write.new is None or not by_operator(write):
            continue
        kept, now = write.old["metadata"].get("annotations") or {}, write.new["metadata"].get("annotations") or {}
        lost = {key for key in kept if "redrive" in key and now.get(key) != kept[key] and not key.endswith("observed")}
        if lost:
            yield f"annotations of {write.place} were lost: {lost}"


def cancel_stops_work(history: History) -> Iterator[str]:
    """I27: after a recorded cancel, nothing is created except for ``finally``; requests in transit may still arrive."""
    if history.requests_take_time:
        return
    for write in history.writes():
        if write.verb != "create" or write.place[0] not in ("StepRun", "StoryRun") or not by_operator(write):
            continue
        if history.two_leaders(write):
            continue
        run = history.run_of(write.object)
        annotations = (run or {}).get("metadata", {}).get("annotations") or {}
        told_at = parse_instant_or_none(annotations.get("storyrun.bubustack.io/graceful-cancel-observed-at"))
        if run is None or told_at is None or write.at == told_at:
            continue
        plan, step = history.plan(run, write.object), invariants_order.step_of(write.object)
        if plan is not None and step.partition("/")[0] not in plan.finally_.graph.position:
            yield f"{write.place} was created after the run was canceled"


def plan_is_stable(history: History) -> Iterator[str]:
    """I32: a run uses the revision of the Story from its start."""
    for write in run_writes(history):
        before, after = (status_of(obj).get("storyRevision") for obj in (write.old, write.new))
        has_begun = bool(status_of(write.old).get("phase"))  # a redrive may meet a run that waits to run again
        if has_begun and before and after != before and not is_reset(write):
            yield f"{write.place[2]} went from {before} to {after}"


def times_are_in_order(history: History) -> Iterator[str]:
    """I34: no stored time changes, and none is before the time that it follows."""
    stepped = history.did(Verb.STEP_CLOCK)
    for write in history.writes():
        if write.new is None or write.place[0] not in ("StoryRun", "StepRun") or is_reset(write):
            continue
        old, new = status_of(write.old), status_of(write.new)
        yield from _ordered(write.place[2], new)
        retried = retries_of(new) > retries_of(old)
        for key in ("startedAt", "finishedAt"):
            if old.get(key) and new.get(key) != old[key] and not retried:
                yield f"{key} of {write.place[2]} moved from {old[key]} to {new.get(key)}"
        for step, state in states_of(write.new).items():
            yield from _ordered(step, state)
            before = states_of(write.old).get(step, {})
            for key in ("startedAt", "finishedAt"):
                queued = before.get("phase") == Phase.PENDING  # the time of a step starts when the step starts
                same = before.get(key) in (None, state.get(key))
                if not (same or queued or stepped or _close(before, state, key)):
                    yield f"{key} of step {step} moved from {before[key]} to {state.get(key)}"


def failures_have_reasons(history: History) -> Iterator[str]:
    """I35: every failure has a message, and so has everything that waits at the end."""
    for place, run in history.played.objects.items():
        if place[0] != "StoryRun":
            continue
        status = status_of(run)
        for step, state in states_of(run).items():
            if Phase(state["phase"]).failing and not state.get("message"):
                yield f"step {step} is {state['phase']} without a message"
            if state["phase"] == "Paused" and not state.get("message"):
                yield f"step {step} waits without a message"
        if status.get("phase") in ("Failed", "Timeout") and not (status.get("error") or {}).get("message"):
            yield f"the run {place[2]} failed without an error"


def sizes_are_bounded(history: History) -> Iterator[str]:
    """I36: messages, reasons and objects are bounded."""
    for write in history.writes():
        if write.new is None or not by_operator(write):
            continue
        if len(json.dumps(write.new)) > MAX_OBJECT:
            yield f"{write.place} is larger than 1 MiB"
        status = status_of(write.new)
        texts = [status.get("message"), *(state.get("message") for state in states_of(write.new).values())]
        texts += [condition.get("message") for condition in status.get("conditions") or ()]
        if any(len(str(text or "")) > MAX_MESSAGE for text in texts):
            yield f"a message of {write.place} is too long"
        if any(len(str(condition.get("reason"))) > MAX_REASON for condition in status.get("conditions") or ()):
            yield f"a reason of {write.place} is too long"


def scopes_do_not_crash(history: History) -> Iterator[str]:
    """I39: no scope crashes."""
    for error in history.played.crashes:
        yield f"a scope crashed: {_causes(error)}"


def redrive_resets_exactly(history: History) -> Iterator[str]:
    """I40: a redrive does not change the results that it keeps; their StepRuns stay."""
    for write in history.writes():
        if write.place[0] == "StoryRun" and write.new is not None and is_reset(write) and by_operator(write):
            kept = states_of(write.new)
            for step, state in kept.items():
                if state != states_of(write.old).get(step):
                    yield f"the reset changed step {step}, which it keeps"
            gates = status_of(write.new).get("gates") or {}
            for gate, decision in gates.items():
                if decision != (status_of(write.old).get("gates") or {}).get(gate):
                    yield f"the reset changed the decision on gate {gate}"


def _awaits_redrive(run: Object) -> bool:
    annotations = run["metadata"].get("annotations") or {}
    key = "storyrun.bubustack.io/redrive"
    pairs = ((f"{key}-token", f"{key}-observed"), (f"{key}-from-step", f"{key}-from-step-observed"))
    return any(annotations.get(asked) not in (None, annotations.get(seen)) for asked, seen in pairs)


def _causes(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_causes(inner) for inner in error.exceptions)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" at {last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno}" if last is not None else ""
    return f"{error!r}{where}"


def _refused(status: Object) -> bool:
    text = str(status.get("lastFailureMsg"))
    return text.startswith(("OutputSchemaFailed", "ExpressionFailed"))


def _ordered(name: str, status: Mapping[str, Any]) -> Iterator[str]:
    started, finished = (parse_instant_or_none(status.get(key)) for key in ("startedAt", "finishedAt"))
    if started and finished and finished < started:
        yield f"{name} finished at {finished}, before it started at {started}"
    if str(status.get("duration", "")).startswith("-"):
        yield f"{name} has a negative duration"


def _close(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> bool:
    """The start of a step as the engine saw it, and the start in its StepRun, may differ by one rounding."""
    old, new = parse_instant_or_none(before.get(key)), parse_instant_or_none(after.get(key))
    return old is not None and new is not None and abs(new - old) <= timedelta(seconds=1)


def _step_run_writes(history: History) -> Iterator[Write]:
    return (w for w in history.writes() if w.place[0] == "StepRun" and w.new is not None and w.old is not None)


CHECKS: Final[Mapping[str, Check]] = {
    "I01": invariants_order.needs_are_met,
    "I03": terminal_is_absorbing,
    "I04": sdk_may_report,
    "I05": one_attempt_at_a_time,
    "I06": attempts_are_counted,
    "I07": retries_rise_by_one,
    "I07, which failures": policies_decide_about_retries,
    "I08": invariants_time.nothing_is_early,
    "I09": invariants_time.deadlines_are_met,
    "I10": invariants_time.instants_stay,
    "I11": counters_equal_states,
    "I12": only_ours_is_touched,
    "I13": invariants_end.no_orphans,
    "I14": no_resurrection,
    "I15": invariants_end.the_run_ends,
    "I16": invariants_end.silence,
    "I16, causes": invariants_time.writes_have_causes,
    "I20": writes_are_bound,
    "I22": no_lost_update,
    "I24": invariants_limits.limits_hold,
    "I24, branches": invariants_limits.branches_are_bounded,
    "I24, turns": invariants_limits.turns_are_taken,
    "I24, order of turns": invariants_limits.turns_go_by_age,
    "I24, who is waited for": invariants_limits.nobody_waits_for_a_stranger,
    "I24, cancelPrevious": invariants_limits.the_newest_ends_the_older,
    "I26": invariants_limits.free_slots_are_taken,
    "I27": cancel_stops_work,
    "I28": invariants_end.nothing_is_left_open,
    "I29": invariants_end.finally_runs_once,
    "I30": invariants_order.cleanup_comes_last,
    "I32": plan_is_stable,
    "I34": times_are_in_order,
    "I35": failures_have_reasons,
    "I36": sizes_are_bounded,
    "I39": scopes_do_not_crash,
    "I40": redrive_resets_exactly,
    "I42": invariants_retention.nothing_goes_early,
    "I42, in time": invariants_retention.everything_goes_in_time,
    "I43": records_tell_the_attempt,
    "I44": invariants_owners.only_owners_write,
    "I45": invariants_definitions.nobody_gives_up_early,
    "I46": invariants_definitions.nobody_waits_in_vain,
    **invariants_storage.CHECKS,
    **invariants_streams.CHECKS,
    **invariants_workers.CHECKS,
}
