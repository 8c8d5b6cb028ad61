"""The conditions after the last disturbance: a run ends, writes nothing more, and leaves nothing open or behind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, has_ended, step_path
from core.engine.plan import StoryPlan
from core.engine.status.stored_run import terminated_at
from core.engine.step.record import is_final
from core.story.kinds import StepKind
from fuzz.engine.actions import Verb
from fuzz.engine.history import OF_ATTEMPTS, History, is_reset, is_terminal, run_writes, states_of, status_of
from fuzz.engine.model_hub import BINDING
from fuzz.engine.watches import controller_owner
from fuzz.engine.world import EPOCH, NAMESPACE

OWNED: Final = ("StepRun", *OF_ATTEMPTS, BINDING, "Pod", "StoryRun")
WAITS_FOR_RUN: Final = re.compile(r"Waiting for StoryRun (\S+) to end; |Superseded by StoryRun (\S+), ")
"""The message of a run that waits for its turn, unless it has canceled the runs before it: those end."""


def the_run_ends(history: History) -> Iterator[str]:
    """I15: a run ends within the bound computed from its steps, unless an open gate or wait without timeout is
    reported.

    A run that waits for its turn, and reports it, may also stay open if the run that it waits for may.
    """
    if history.played.ended:
        return
    _replay(history)
    for name, run in history.played.runs.items():
        if name in history.played.open and _why_waiting(history, run) is None:
            yield f"the run {name} never ended: {_brief(run)}"


def silence(history: History) -> Iterator[str]:
    """I16: while a run or a StoryTrigger waits for a user, nothing is written."""
    played = history.played
    if played.writes_while_waiting:
        yield f"{played.writes_while_waiting} writes in ten minutes in which nothing was due"


def no_orphans(history: History) -> Iterator[str]:
    """I13: the owner of each owned object exists, and no container outlives its run."""
    played = history.played
    uids = {obj["metadata"]["uid"] for obj in played.objects.values()}
    for place, obj in played.objects.items():
        owner = controller_owner(obj) if place[0] in OWNED else None
        if owner is not None and owner["uid"] not in uids and not _is_just_ending(history, obj):
            yield f"{place} has outlived its owner {owner['name']}"
    _replay(history)
    for name in played.still_alive if played.ended else ():
        if _had_ended(history, name) and not any(why(history, name) for why in _MAY_OUTLIVE):
            yield f"a Pod of {name} outlived the run"
    for place, obj in played.objects.items():
        parent = history.owner(obj) if place[0] == "StoryRun" else None
        if parent is not None and _is_left_behind(history, obj, parent):
            yield f"{place[2]} goes on, which {parent['metadata']['name']} called and waited for; that has ended"


def _is_just_ending(history: History, obj: Object) -> bool:
    """Whether it was asked to end after the runs of the case had ended, for a run that none of them waited for."""
    told_at = parse_instant_or_none(obj["metadata"].get("deletionTimestamp"))
    return told_at is not None and told_at > EPOCH + timedelta(seconds=history.played.ended_at_seconds)


def _had_ended(history: History, step_run: str) -> bool:
    """Whether the run of a StepRun had ended when the runs of the case had, so that its Pods have had time to end."""
    obj = history.objects.get(("StepRun", NAMESPACE, step_run))
    run = history.run_of(obj) if obj is not None else None
    if obj is None or run is None:
        return True
    end = history.end_of(run)
    ended_at = next((write.at for write in history.played.history if write.number == end), None)
    return ended_at is not None and ended_at <= EPOCH + timedelta(seconds=history.played.ended_at_seconds)


def _crossed_its_end(history: History, step_run: str) -> bool:
    """Whether one of two leaders was starting the last attempt when the other ended the step."""
    ours = [write for write in history.played.history if write.place[1:] == (NAMESPACE, step_run)]
    starts = [write for write in ours if write.place[0] in OF_ATTEMPTS and write.verb == "create"]
    ends = [write for write in ours if write.place[0] == "StepRun" and is_final(status_of(write.new))]
    return bool(starts and ends) and ends[0].number < starts[-1].number and history.crosses(ends[0], starts[-1])


def _came_too_late(history: History, step_run: str) -> bool:
    """Whether its last Job was being created when a user deleted the run; the garbage collector has found it by now."""
    pods = [each for each in history.objects.values() if each["kind"] == "Pod" and each["spec"]["stepRun"] == step_run]
    return history.did(Verb.DELETE_RUN) and all(_is_just_ending(history, pod) for pod in pods)


_MAY_OUTLIVE: Final = (_crossed_its_end, _came_too_late)


def _is_left_behind(history: History, child: Object, parent: Object) -> bool:
    """Whether a child run continues, and nobody asked it to end, although the step that waits for it has ended."""
    if not has_ended(parent) or has_ended(child) or child["spec"].get("cancelRequested"):
        return False
    plan = history.plan(parent)
    step = plan.find(step_path(child)) if plan is not None else None
    return step is not None and step.parameters.get("waitForCompletion") is not False


def nothing_is_left_open(history: History) -> Iterator[str]:
    """I28: a run that has ended has only steps that have ended, with the phases of their StepRuns."""
    played = history.played
    if played.phase == "Finished" and not played.case.has_company:
        _replay(history)
        for name in played.still_ending:
            if _is_left_to_another(history, name):
                continue
            yield f"the run was called canceled while a Pod of {name} was still ending"
    if not played.ended:
        return
    _replay(history)
    for name, run in played.runs.items():
        yield from _left_open(history, run, played.step_runs_of(name))


def _is_left_to_another(history: History, step_run: str) -> bool:
    """Whether one of two leaders ended a run while the other was ending a step that only the other knew."""
    if history.overlapping and history.played.trouble.hears_late:
        return True
    ours = [write for write in history.played.history if write.place == ("StepRun", NAMESPACE, step_run)]
    ends = [write for write in run_writes(history) if status_of(write.new).get("finishedAt")]
    return bool(ours and ends) and ours[0].actor != ends[0].actor and history.two_leaders(ours[0])


def _left_open(history: History, run: Object, step_runs: Mapping[str, Object]) -> Iterator[str]:
    states, plan = states_of(run), history.plan(run)
    for step, state in states.items():
        if not is_terminal(state) and plan is not None and plan.find(step) is not None:
            yield f"the run ended, but step {step} is {state['phase']}"
    if plan is not None and states and not history.did(Verb.DELETE_STORY, Verb.DELETE_REVISIONS):
        for step in plan.order:
            if step not in states and not (status_of(run).get("phase") == "Finished" and _runs_again(history)):
                yield f"the run ended, but step {step} has no end"
    if history.did(Verb.DELETE_RUN):
        return
    end = history.end_of(run)
    for step, step_run in step_runs.items():
        if plan is None or plan.find(step) is None:
            continue  # it belongs to a Story that has been edited since
        if history.is_of_another_story(step_run, run):
            continue
        if history.overlapping and int(step_run["metadata"]["uid"].rpartition("-")[2]) > end:
            continue  # another leader created it before it received the end: I14
        if _is_left_out_by_another(history, run, step, step_run):
            continue
        if not is_final(status_of(step_run)):
            yield f"the run ended, but StepRun {step} is {status_of(step_run).get('phase')}"
        elif states.get(step, {}).get("phase") != status_of(step_run)["phase"]:
            yield f"step {step} is {states.get(step)}, but its StepRun is {status_of(step_run)['phase']}"


def _is_left_out_by_another(history: History, run: Object, step: str, step_run: Object) -> bool:
    """Whether one of two leaders recorded the end of a step before it received the StepRun of the other."""
    state, uid = states_of(run).get(step, {"phase": "Skipped"}), step_run["metadata"]["uid"]
    if state["phase"] != "Skipped" and not history.played.trouble.hears_late:
        return False
    end = history.end_of(run)
    ours = [write for write in history.played.history if write.object["metadata"]["uid"] == run["metadata"]["uid"]]
    marks = (each for each in reversed(ours) if states_of(each.new).get(step) != states_of(each.old).get(step))
    told = next(marks, None) or next(each for each in ours if each.number == end)
    made = next(write for write in history.played.history if write.object["metadata"]["uid"] == uid)
    return made.actor != told.actor and history.two_leaders(made)


def finally_runs_once(history: History) -> Iterator[str]:
    """I29: if a main step has started, all ``finally`` steps run, however the main steps ended."""
    for write in run_writes(history):
        if not status_of(write.new).get("finishedAt") or status_of(write.old).get("finishedAt") or is_reset(write):
            continue
        plan, states = history.plan(write.object), states_of(write.new)
        if plan is None or not states:
            continue
        begun = any(name in states and states[name]["phase"] != "Skipped" for name in plan.main.order)
        for name in plan.finally_.order:
            state = states.get(name)
            if not is_terminal(state):
                yield f"the run {write.place[2]} ended before its finally step {name}"
            elif begun and state and "no step of the run had started" in str(state.get("message")):
                yield f"finally step {name} was left out, although a main step had started"


def _runs_again(history: History) -> bool:
    """Whether a user requested to run it again: the cancel may have come before anything started again."""
    return history.did(Verb.REDRIVE, Verb.REDRIVE_FROM)


def _why_waiting(history: History, run: Object, behind: tuple[str, ...] = ()) -> str | None:
    """The message of the run about a user or a value that it waits for for ever; None if there is none.

    ``behind``: the runs that wait for this one; a run that waits for one of them never ends.
    """
    behind = (*behind, run["metadata"]["name"])
    turn = WAITS_FOR_RUN.match(str(status_of(run).get("message")))
    if turn is not None and status_of(run).get("phase") == "Pending":
        name = turn.group(1) or turn.group(2)
        first = history.objects.get(("StoryRun", NAMESPACE, name))
        return _why_waiting(history, first, behind) if first is not None and name not in behind else None
    plan = history.plan(run)
    if plan is None:
        texts = [
            str(status_of(run).get("message")),
            *(str(one.get("message")) for one in states_of(run).values() if not is_terminal(one)),
        ]
        texts = [text for text in texts if not text.startswith("Waiting for StoryRun")]
        said = (text for text in texts if "does not exist" in text or text.startswith("Waiting for"))
        return next(said, None) or _why_called_wait(history, run, behind)
    for step, state in states_of(run).items():
        if not is_terminal(state) and _serves_on(history, run, plan, step):
            return f"{step} serves a stream"
        if is_terminal(state) or not state.get("message"):
            continue
        found = plan.find(step)
        if found is None:
            continue
        waits = found.kind in (StepKind.GATE, StepKind.WAIT) and not found.parameters.get("timeout")
        if step in (status_of(run).get("gates") or {}):
            continue  # a user has decided
        if waits and str(state["message"]).startswith("Waiting for"):
            return str(state["message"])
    return _why_called_wait(history, run, behind)


def _serves_on(history: History, run: Object, plan: StoryPlan, step: str) -> bool:
    """Whether the step has a stream that nobody asks to end, and whose workload is there."""
    found = plan.find(step)
    if found is None or not found.serves_stream or run["spec"].get("cancelRequested") or terminated_at(run) is not None:
        return False
    made = (one for one in history.step_runs(run) if step_path(one) == step)
    return any(("Deployment", NAMESPACE, one["metadata"]["name"]) in history.objects for one in made)


def _why_called_wait(history: History, run: Object, behind: tuple[str, ...]) -> str | None:
    """The same message of a run that its steps wait for."""
    for state in states_of(run).values():
        child = history.objects.get(("StoryRun", NAMESPACE, state.get("subStoryRunName") or ""))
        if child is not None and not is_terminal(state) and (why := _why_waiting(history, child, behind)):
            return why
    return None


def _replay(history: History) -> None:
    """Replay all writes, so that ``history`` has the objects of the end."""
    for _ in history.writes():
        pass


def _brief(run: Object) -> dict[str, Any]:
    status = status_of(run)
    states = {name: (state["phase"], state.get("message")) for name, state in states_of(run).items()}
    return {"phase": status.get("phase"), "message": status.get("message"), "steps": states}
