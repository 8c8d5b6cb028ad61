"""The order of steps: I01, I02 and I30, each compared with the stored state when a StepRun is created."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from core.api.objects import Object, has_ended, step_path
from core.api.phases import Phase
from core.engine.plan import GroupName, StoryPlan
from core.engine.step.assignment import assignment_of
from core.engine.step.record import is_final
from core.story.kinds import StepKind
from fuzz.engine.actions import Verb
from fuzz.engine.cluster import Write
from fuzz.engine.history import History, by_operator, group_of, is_terminal, states_of, status_of, timers_of
from fuzz.engine.watches import controller_owner


def step_of(obj: Object) -> str:
    """The full name of the step of a StepRun or a child run."""
    return step_path(obj)


def needs_are_met(history: History) -> Iterator[str]:
    """I01 and I02: a StepRun is created only if all needs of its step have ended in the stored state; that of a stream,
    if all its needs have had their StepRuns.

    One of two leaders may create a StepRun in the moment in which the other one lets the run begin anew; then the need
    must have ended when its first attempt starts.
    """
    early: dict[str, tuple[str, str]] = {}
    """UID of such a StepRun → its step, and the need."""
    for write in history.writes():
        yield from _started_early(history, early, write)
        if write.verb != "create" or write.place[0] != "StepRun" or not by_operator(write):
            continue
        run = history.run_of(write.object)
        plan = history.plan(run, write.object) if run is not None else None
        if run is None or plan is None:
            continue
        if has_ended(run) and history.two_leaders(write):
            continue  # another leader created it before it received the end: I14
        top = step_of(write.object).partition("/")[0]
        if group_of(plan, top) is GroupName.MAIN:
            for need in plan.main.graph.needs[top]:
                if plan.main.rules.started_suffices:
                    yield from _not_begun(history, run, top, need, write)
                    continue
                why = _why_incomplete(history, run, plan, need, write.at)
                if why and history.two_leaders(write) and assignment_of(write.object) is None:
                    early[write.object["metadata"]["uid"]] = (top, need)
                elif why:
                    yield f"{top} was created, but {need}: {why}"


def _started_early(history: History, early: dict[str, tuple[str, str]], write: Write) -> Iterator[str]:
    """``write`` starts the first attempt of a StepRun that was created early, and the need has still not ended."""
    started = write.place[0] == "StepRun" and write.new is not None and assignment_of(write.new) is not None
    owner = controller_owner(write.object) if write.verb == "create" and write.place[0] == "Job" else None
    uid = str(write.object["metadata"]["uid"]) if started else str((owner or {}).get("uid"))
    if uid not in early:
        return
    step, need = early.pop(uid)
    step_run = history.objects[history.uids[uid]]
    run = history.run_of(step_run)
    plan = history.plan(run, step_run) if run is not None else None
    if run is not None and plan is not None and (why := _why_incomplete(history, run, plan, need, write.at)):
        yield f"{step} was started, but {need}: {why}"


def _not_begun(history: History, run: Object, step: str, need: str, write: Write) -> Iterator[str]:
    """A user may have deleted the StepRun of a need since."""
    uid = run["metadata"]["uid"]
    for each in history.played.history:
        if each.number >= write.number:
            break
        owner = controller_owner(each.object) if each.place[0] == "StepRun" else None
        if owner is not None and owner["uid"] == uid and step_of(each.object) == need:
            return
    yield f"{step} was created, but {need}: its stream has not begun"


def cleanup_comes_last(history: History) -> Iterator[str]:
    """I30: compensations run only after a failure and after all main steps, ``finally`` only after all of these."""
    for write in history.writes():
        if write.verb != "create" or write.place[0] != "StepRun" or not by_operator(write):
            continue
        run = history.run_of(write.object)
        plan = history.plan(run, write.object) if run is not None else None
        if run is None or plan is None or history.two_leaders(write):
            continue
        group = group_of(plan, step_of(write.object))
        if group not in (GroupName.COMPENSATIONS, GroupName.FINALLY):
            continue
        states = states_of(run)
        before = [*plan.main.order, *(plan.compensations.order if group is GroupName.FINALLY else ())]
        left = [name for name in before if not is_terminal(states.get(name))]
        if left:
            yield f"{step_of(write.object)} of {group} was created before {left} had ended"
        failing = [n for n in plan.main.order if _fails(states.get(n)) and n not in plan.rules.allowed]
        stopped = any(plan.steps[n].kind is StepKind.STOP and is_terminal(states.get(n)) for n in plan.main.order)
        if group is GroupName.COMPENSATIONS and not failing and not stopped:
            yield f"compensation {step_of(write.object)} was created although nothing had failed"


def _fails(state: Object | None) -> bool:
    return state is not None and Phase(state["phase"]).failing


def _why_incomplete(history: History, run: Object, plan: StoryPlan, step: str, now: datetime) -> str | None:
    """Primitives and skipped steps have no object: they have ended only if their own needs have ended."""
    state = states_of(run).get(step)
    if state is not None and Phase(state["phase"]).terminal:
        if state["phase"] == "Skipped" and plan.rules.continue_on_failure:
            return _why_skip_spreads(run, plan, step)
        bad = Phase(state["phase"]).failing and step not in plan.rules.allowed
        return f"failed as {state['phase']}" if bad else None
    made = (found for found in history.step_runs(run) if step_of(found) == step)
    step_run = next((found for found in made if _is_of_this_plan(history, run, plan, found)), None)
    if step_run is not None:
        status = status_of(step_run)
        if not is_final(status):
            return f"its StepRun is not final ({status.get('phase')})"
        bad = status["phase"] != "Succeeded" and step not in plan.rules.allowed
        return f"its StepRun is {status['phase']}" if bad else None
    return _why_open(history, run, plan, step, now)


def _is_of_this_plan(history: History, run: Object, plan: StoryPlan, step_run: Object) -> bool:
    """Whether it belongs to this plan; another leader may have created it under another revision of the Story."""
    return not history.overlapping or history.plan(run, step_run) is plan


def _why_open(history: History, run: Object, plan: StoryPlan, step: str, now: datetime) -> str | None:
    unconditional = not plan.steps[step].condition
    match plan.steps[step].kind:
        case StepKind.SLEEP if unconditional and plan.steps[step].parameters.get("duration"):
            timer = timers_of(run).get(step)
            if timer is None or (timer.at > now and not history.did(Verb.STEP_CLOCK)):
                return f"it sleeps until {timer.at if timer else None}"
        case StepKind.GATE if unconditional and "timeout" not in plan.steps[step].parameters:
            if (status_of(run).get("gates") or {}).get(step) is None:
                return "nobody has decided"
        case StepKind.ENGRAM if (
            unconditional and step not in plan.rules.allowed and not _was_deleted(history, run, step)
        ):
            return "it never had a StepRun"
        case StepKind.PARALLEL if unconditional:
            for found in history.step_runs(run):
                ours = step_of(found).startswith(f"{step}/") and plan.find(step_of(found)) is not None
                if ours and not is_final(status_of(found)):
                    return f"its branch {step_of(found)} is not final"
    for need in plan.main.graph.needs[step]:
        why = _why_incomplete(history, run, plan, need, now)
        if why:
            return f"{need}: {why}"
    return None


def _was_deleted(history: History, run: Object, step: str) -> bool:
    """Whether a user deleted the StepRun after its end, before the run's status recorded the end."""
    ours = f"{run['metadata']['name']}-"
    deletions = (each for each in history.played.history if each.verb == "delete" and not by_operator(each))
    gone = (each.old for each in deletions if each.place[0] == "StepRun" and each.place[2].startswith(ours))
    return any(old is not None and step_of(old) == step and is_final(status_of(old)) for old in gone)


def _why_skip_spreads(run: Object, plan: StoryPlan, step: str) -> str | None:
    """A step that was skipped because one of its needs failed prevents its own dependents."""
    states = states_of(run)
    for need in plan.main.graph.needs[step]:
        state = states.get(need)
        if state is None:
            continue
        if Phase(state["phase"]).failing and need not in plan.rules.allowed:
            return f"skipped, because {need} failed"
        if state["phase"] == "Skipped" and (why := _why_skip_spreads(run, plan, need)):
            return f"skipped, because {need} was {why}"
    return None
