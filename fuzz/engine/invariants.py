"""What must hold of every execution, read off its write history. Identifiers as in the list of engine invariants.

I01/I02 order, I03 terminal is absorbing, I05/I06 Jobs, I07 retries, I08/I10 instants, I11 counters, I14 no
resurrection, I15 an end, I21/I22 field ownership, I34 times, I35 reasons, I36 sizes, I39 no crash.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from core.api.instant import parse_instant_or_none
from core.api.phases import Phase
from core.engine import record
from core.engine.plan import StepKind, StoryPlan
from core.engine.settings import EngineSettings
from fuzz.engine.cases import Played, plan_of
from fuzz.engine.cluster import Object, Write

SDK_FIELDS = ("output", "signals", "effects", "logs", "signalEvents")
TIMERS = "runs.bubustack.io/step-timers"
MAX_WRITES_PER_STEP = 5
"""Of a step that runs without retry, in a run that nothing disturbs; plus one for the run."""


def violations(played: Played) -> list[str]:
    """Every broken promise; empty when all is well."""
    found = list(_liveness(played))
    plan = plan_of(played.case)
    if isinstance(plan, StoryPlan):
        found += _order(played, plan)
        found += _counters(played, plan)
        found += _runs_once(played)
        found += _sleeps(played, plan)
    for check in (_terminal_is_absorbing, _retries, _jobs, _instants, _resurrection, _ownership, _times, _reasons):
        found += check(played)
    return found


def _liveness(played: Played) -> Iterator[str]:
    if not played.ended:
        yield f"I15: the run never ended: {played.run.get('status')}"
    for error in played.crashes:
        yield f"I39: a scope crashed: {error!r}"
    for name in played.overlaps:
        yield f"I05: a Job of {name} was created while a Pod of it was alive"
    for name in played.still_alive:
        yield f"I13: a Pod of {name} outlived the run"
    for name in played.still_ending if played.phase == "Finished" else ():
        yield f"I27: the run was called canceled while a Pod of {name} was still ending"
    for text in played.refused:
        yield f"I04: the SDK could not report the success of {text}"
    states = _status(played.run).get("stepStates") or {}
    for step, step_run in played.step_runs.items():
        if not record.is_final(_status(step_run)):
            yield f"I28: the run ended, but StepRun {step} is {_status(step_run).get('phase')}"
        elif states.get(step, {}).get("phase") != _status(step_run)["phase"]:
            yield f"I28: step {step} is {states.get(step)}, but its StepRun is {_status(step_run)['phase']}"


def _order(played: Played, plan: StoryPlan) -> Iterator[str]:
    """A StepRun is created only when all needs of its step are completed in what is stored at that moment."""
    world: dict[tuple[str, str, str], Object] = {}
    for write in played.history:
        if write.verb == "create" and write.place[0] == "StepRun" and write.new is not None:
            step = write.new["spec"]["stepId"]
            for need in plan.graph.needs[step]:
                why = _why_incomplete(world, plan, need, write.at)
                if why:
                    yield f"I01: {step} was created, but {need}: {why}"
        if write.new is not None:
            world[write.place] = write.new
        else:
            world.pop(write.place, None)


def _why_incomplete(
    world: Mapping[tuple[str, str, str], Object], plan: StoryPlan, step: str, now: datetime
) -> str | None:
    """Primitives and skipped steps leave no object: their completion follows from that of their own needs."""
    run = next(found for place, found in world.items() if place[0] == "StoryRun")
    state = ((run.get("status") or {}).get("stepStates") or {}).get(step)
    if state is not None and Phase(state["phase"]).terminal:
        if state["phase"] == "Skipped" and plan.rules.continue_on_failure:
            return _why_skip_spreads(world, plan, step)
        bad = Phase(state["phase"]).failing and step not in plan.rules.allowed
        return f"failed as {state['phase']}" if bad else None
    step_run = next((o for p, o in world.items() if p[0] == "StepRun" and o["spec"]["stepId"] == step), None)
    if step_run is not None:
        status = step_run.get("status") or {}
        if not record.is_final(status):
            return f"its StepRun is not final ({status.get('phase')})"
        bad = status["phase"] != "Succeeded" and step not in plan.rules.allowed
        return f"its StepRun is {status['phase']}" if bad else None
    unconditional = not plan.steps[step].condition
    kind = plan.steps[step].kind
    if kind is StepKind.SLEEP and unconditional and plan.steps[step].parameters.get("duration"):
        timers = json.loads(run["metadata"].get("annotations", {}).get(TIMERS, "{}"))
        wake_at = parse_instant_or_none(timers.get(step, {}).get("sleepUntil"))
        if wake_at is None or wake_at > now:
            return f"it sleeps until {wake_at}"
    if kind is StepKind.ENGRAM and unconditional and step not in plan.rules.allowed:
        return "it never had a StepRun"
    for need in plan.graph.needs[step]:
        why = _why_incomplete(world, plan, need, now)
        if why:
            return f"{need}: {why}"
    return None


def _why_skip_spreads(world: Mapping[tuple[str, str, str], Object], plan: StoryPlan, step: str) -> str | None:
    """A step that was skipped because a need of it failed keeps its own dependents from running."""
    states = next(o for p, o in world.items() if p[0] == "StoryRun")["status"]["stepStates"]
    for need in plan.graph.needs[step]:
        state = states.get(need)
        if state is None:
            continue
        if Phase(state["phase"]).failing and need not in plan.rules.allowed:
            return f"skipped, because {need} failed"
        if state["phase"] == "Skipped" and (why := _why_skip_spreads(world, plan, need)):
            return f"skipped, because {need} was {why}"
    return None


def _runs_once(played: Played) -> Iterator[str]:
    for step, times in Counter(step for step, _, end in played.ran if end == "ok").items():
        if times > 1:
            yield f"I06: {step} succeeded {times} times"


def _terminal_is_absorbing(played: Played) -> Iterator[str]:
    for write in played.history:
        old, new = _status(write.old), _status(write.new)
        if write.new is None or not old:
            continue
        before, after = record.phase_of(old), record.phase_of(new)
        if write.place[0] == "StoryRun":
            if before is not None and before.terminal and new != old:
                yield f"I03: the run was changed after {before}: {write.verb}"
            for step, state in (old.get("stepStates") or {}).items():
                now = (new.get("stepStates") or {}).get(step, {}).get("phase")
                if Phase(state["phase"]).terminal and now != state["phase"]:
                    yield f"I03: step {step} went from {state['phase']} to {now}"
        elif write.place[0] == "StepRun" and record.is_final(old) and (after is not before or not record.is_final(new)):
            yield f"I03: final StepRun {write.place[2]} went from {before} to {after} by {write.actor}"
        elif (
            write.place[0] == "StepRun"
            and before is Phase.SUCCEEDED
            and after is not Phase.SUCCEEDED
            and not _refused_by_check(new)
        ):
            yield f"I03: success of {write.place[2]} was taken back: {after}"


def _refused_by_check(status: Object) -> bool:
    text = str(status.get("lastFailureMsg"))
    return text.startswith(("OutputSchemaFailed", "ExpressionFailed"))


def _retries(played: Played) -> Iterator[str]:
    for write in _step_run_writes(played):
        old, new = _status(write.old), _status(write.new)
        step = record.retries_of(new) - record.retries_of(old)
        if step == 0:
            continue
        if step != 1:
            yield f"I07: retries of {write.place[2]} moved by {step}"
        if new.get("phase") != "Pending" or not new.get("nextRetryAt"):
            yield f"I07: a retry of {write.place[2]} was counted without phase and instant in the same write"


def _jobs(played: Played) -> Iterator[str]:
    created: Counter[tuple[str, int]] = Counter()
    for write in played.history:
        if write.verb == "create" and write.place[0] == "Job" and write.new is not None:
            created[write.place[2], write.new["spec"]["attempt"]] += 1
    for (name, attempt), times in created.items():
        if times > 1:
            yield f"I06: attempt {attempt} of {name} was started {times} times"
    for step, step_run in played.step_runs.items():
        started = sum(times for (name, _), times in created.items() if name == step_run["metadata"]["name"])
        if started > 1 + record.retries_of(_status(step_run)):
            yield f"I06: {step} had {started} Jobs, but {_status(step_run).get('retries')} retries"


def _instants(played: Played) -> Iterator[str]:
    """No instant moves once stored, none is acted upon early."""
    timers: dict[str, str] = {}
    retry_at: dict[str, datetime] = {}
    for write in played.history:
        if write.new is None:
            continue
        if write.place[0] == "StoryRun":
            text = (write.new["metadata"].get("annotations") or {}).get(TIMERS)
            for step, entry in json.loads(text or "{}").items():
                if timers.setdefault(step, entry["sleepUntil"]) != entry["sleepUntil"]:
                    yield f"I10: the timer of {step} moved"
            for step, state in (_status(write.new).get("stepStates") or {}).items():
                wake_at = parse_instant_or_none(timers.get(step))
                if wake_at and state["phase"] == "Succeeded" and write.at < wake_at:
                    yield f"I08: {step} woke at {write.at}, before {wake_at}"
        elif write.place[0] == "StepRun":
            next_at = parse_instant_or_none(_status(write.new).get("nextRetryAt"))
            if next_at is not None:
                retry_at[write.place[2]] = next_at
        elif write.place[0] == "Job" and write.verb == "create":
            due = retry_at.get(write.place[2])
            if due is not None and write.new["spec"]["attempt"] > 0 and write.at < due:
                yield f"I08: {write.place[2]} was retried at {write.at}, before {due}"


_LATE: Final = timedelta(seconds=0.1 + EngineSettings().status_linger_seconds)
"""Between a wake-up and the write that tells of it; anew for a process that comes after a killed one."""


def _sleeps(played: Played, plan: StoryPlan) -> Iterator[str]:
    """A sleep waits for an instant that is stored, and nothing but a late process makes it later."""
    timers: dict[str, datetime] = {}
    told: set[str] = set()
    for write in played.history:
        if write.place[0] != "StoryRun" or write.new is None:
            continue
        text = (write.new["metadata"].get("annotations") or {}).get(TIMERS)
        for step, entry in json.loads(text or "{}").items():
            timers[step] = parse_instant_or_none(entry["sleepUntil"]) or write.at
        for step, state in (_status(write.new).get("stepStates") or {}).items():
            declared = plan.steps[step]
            if step in told or state["phase"] != "Succeeded" or declared.kind is not StepKind.SLEEP:
                continue
            told.add(step)
            if step not in timers:
                if declared.parameters.get("duration"):
                    yield f"I10: {step} slept without a stored instant"
            elif not played.trouble.delays and write.at > timers[step] + _LATE * (1 + len(played.trouble.kills)):
                yield f"I09: {step} woke at {write.at}, long after {timers[step]}"


def _counters(played: Played, plan: StoryPlan) -> Iterator[str]:
    for write in played.history:
        if write.place[0] != "StoryRun" or write.new is None:
            continue
        status = _status(write.new)
        if "stepsTotal" not in status:
            continue
        phases = [Phase(state["phase"]) for state in (status.get("stepStates") or {}).values()]
        wanted = {
            "stepsTotal": len(plan.order),
            "stepsComplete": sum(phase is Phase.SUCCEEDED for phase in phases),
            "stepsFailed": sum(phase.failing for phase in phases),
            "stepsSkipped": sum(phase is Phase.SKIPPED for phase in phases),
        }
        if any(status.get(key) != value for key, value in wanted.items()):
            yield f"I11: counters {status} are not {wanted}"
        if status.get("finishedAt") and len(phases) != len(plan.order) and status.get("stepStates"):
            yield f"I28: the run ended with steps without an end: {status['stepStates']}"


def _resurrection(played: Played) -> Iterator[str]:
    over = False
    for write in played.history:
        if write.place[0] == "StoryRun" and _status(write.new).get("finishedAt"):
            over = True
        elif over and write.actor.startswith("operator"):
            yield f"I14: {write.verb} {write.place} after the run had ended"


def _ownership(played: Played) -> Iterator[str]:
    for write in _step_run_writes(played):
        old, new = _status(write.old), _status(write.new)
        if write.actor.startswith("operator"):
            retried = record.retries_of(new) > record.retries_of(old)
            for field in SDK_FIELDS:
                if old.get(field) != new.get(field) and not retried:
                    yield f"I21: the operator changed {field} of {write.place[2]}"


def _times(played: Played) -> Iterator[str]:
    for write in played.history:
        if write.new is None or write.place[0] not in ("StoryRun", "StepRun"):
            continue
        old, new = _status(write.old), _status(write.new)
        yield from _ordered(write.place[2], new)
        retried = record.retries_of(new) > record.retries_of(old)
        for key in ("startedAt", "finishedAt"):
            if old.get(key) and new.get(key) != old[key] and not retried:
                yield f"I34: {key} of {write.place[2]} moved from {old[key]} to {new.get(key)}"
        for step, state in (new.get("stepStates") or {}).items():
            yield from _ordered(step, state)
            before = (old.get("stepStates") or {}).get(step, {})
            for key in ("startedAt", "finishedAt"):
                if before.get(key) and before[key] != state.get(key) and not _same_second(before, state, key):
                    yield f"I34: {key} of step {step} moved from {before[key]} to {state.get(key)}"


def _ordered(name: str, status: Mapping[str, Any]) -> Iterator[str]:
    started, finished = (parse_instant_or_none(status.get(key)) for key in ("startedAt", "finishedAt"))
    if started and finished and finished < started:
        yield f"I34: {name} finished at {finished}, before it started at {started}"
    if str(status.get("duration", "")).startswith("-"):
        yield f"I34: {name} has a negative duration"


def _same_second(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> bool:
    """A step's start as we saw it and as its StepRun says may differ by the rounding of one."""
    old, new = parse_instant_or_none(before.get(key)), parse_instant_or_none(after.get(key))
    return old is not None and new is not None and abs(new - old) <= timedelta(seconds=1)


def _reasons(played: Played) -> Iterator[str]:
    status = _status(played.run)
    for step, state in (status.get("stepStates") or {}).items():
        if Phase(state["phase"]).failing and not state.get("message"):
            yield f"I35: step {step} is {state['phase']} without a message"
    if status.get("phase") in ("Failed", "Timeout") and not (status.get("error") or {}).get("message"):
        yield "I35: the run failed without an error"
    for write in played.history:
        if write.new is not None and len(json.dumps(write.new)) > 1 << 20:
            yield f"I36: {write.place} is larger than 1 MiB"


def _step_run_writes(played: Played) -> Iterator[Write]:
    return (w for w in played.history if w.place[0] == "StepRun" and w.new is not None and w.old is not None)


def _status(object_: Object | None) -> Object:
    return dict((object_ or {}).get("status") or {})
