"""I45 and I46: a step waits for its Engram and template as long as its time allows, and continues once they exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, has_ended
from core.api.phases import AWAITED_DEFINITIONS, Phase, Reason
from core.engine.plan import GroupName
from core.engine.ports import WORKER
from core.engine.redrive.request import pending_redrive
from core.engine.step.record import announced_end, attempt_of, executor_of, retries_of
from core.story.kinds import StepKind
from fuzz.engine.actions import Verb
from fuzz.engine.adapters import TEMPLATE, UNBOUND_SECONDS
from fuzz.engine.cluster import Place, Write
from fuzz.engine.history import (
    OF_ATTEMPTS,
    History,
    by_operator,
    group_of,
    is_reset,
    is_terminal,
    run_writes,
    states_of,
    status_of,
)
from fuzz.engine.invariants_order import step_of

PATIENCE: Final = timedelta(seconds=UNBOUND_SECONDS)
"""The time of a step that waits."""
A_MOMENT: Final = timedelta(seconds=1)
"""By then a step whose Engram exists has continued."""
_FINAL_ERRORS: Final = frozenset({*AWAITED_DEFINITIONS, Reason.REFERENCE_NOT_FOUND})


def is_waiting(state: Mapping[str, Any] | None) -> bool:
    """Whether a step waits for a definition."""
    return state is not None and state.get("reason") in AWAITED_DEFINITIONS and not is_terminal(state)


def waits_until(state: Mapping[str, Any]) -> datetime | None:
    """The end of the time of a step that waits and has nothing at work."""
    since = parse_instant_or_none(state.get("reasonSince"))
    return since + PATIENCE if since is not None else None


def is_started(objects: Mapping[Place, Object | None], step_run: Object) -> bool:
    """Whether an attempt of a StepRun exists, at work or not yet judged."""
    attempt, metadata = attempt_of(step_run), step_run["metadata"]
    if executor_of(step_run) == WORKER:
        return attempt is not None and attempt.number == retries_of(status_of(step_run))
    return any(objects.get((kind, metadata["namespace"], metadata["name"])) is not None for kind in OF_ATTEMPTS)


def nobody_gives_up_early(history: History) -> Iterator[str]:
    """I45: a missing Engram or template fails no step before its time, which counts from the recorded start of the
    wait; a restart does not change that start. Of two leaders each has a start of its own.
    """
    if history.did(Verb.STEP_CLOCK):
        return
    for write in run_writes(history):
        if not by_operator(write) or is_reset(write):
            continue
        for name, state in states_of(write.new).items():
            old = states_of(write.old).get(name)
            if is_terminal(old):
                continue
            if is_terminal(state) and state.get("reason") in _FINAL_ERRORS and _is_engram_step(history, write, name):
                yield f"{name} ended with {state.get('reason')}, although its Engram could still be applied"
            elif history.two_leaders(write, ever=True):
                continue
            elif state["phase"] == Phase.TIMEOUT and state.get("reason") == Reason.TIMED_OUT:
                yield from _too_early(history, write, name, old or {})
            elif is_waiting(old) and is_waiting(state):
                before, after = (each.get("reasonSince") for each in (old or {}, state))
                if before != after:
                    yield f"the wait of {name} began at {before}, and later at {after}"


def _is_engram_step(history: History, write: Write, name: str) -> bool:
    plan = history.plan(write.object)
    return plan is not None and plan.has(name, StepKind.ENGRAM)


def _too_early(history: History, write: Write, name: str, old: Mapping[str, Any]) -> Iterator[str]:
    with_step_run = {step_of(one) for one in history.step_runs(write.object)}
    if name in with_step_run or not _is_engram_step(history, write, name):
        return  # the time of an attempt is a matter of I08 and I09
    if is_waiting(old):
        until = waits_until(old)
    else:
        until = None if history.prompt else _unrecorded_end(states_of(write.new)[name])
    if until is None or write.at < until:
        yield f"{name} ended at {write.at}, though it could wait until {until}"


def _unrecorded_end(state: Mapping[str, Any]) -> datetime | None:
    """The end of the wait of a step, if no write was possible meanwhile: it counts from the start of the step."""
    since = parse_instant_or_none(state.get("startedAt"))
    return since + PATIENCE if since is not None else None


def nobody_waits_in_vain(history: History) -> Iterator[str]:
    """I46: a step continues within a second after its Engram and its template exist and a process runs.

    After faults of requests or watches: within that time and the longest pause, after the last disturbance.
    """
    if history.did(Verb.STEP_CLOCK) or not (history.prompt or history.played.trouble.heals):
        return
    if not any(map(is_waiting, (state for write in history.played.history for state in _states(write)))):
        return
    complete_since: dict[tuple[str, str], datetime] = {}
    """By run and step: the time since which the step waits although nothing is missing."""
    for write in history.writes():
        for (run, step), since in complete_since.items() if by_operator(write) else ():
            began_at, allowed = history.reaction(write.at)
            if write.at > max(since, began_at) + allowed + A_MOMENT:
                yield f"{step} of {run} has waited since {since} until {write.at}, though nothing was missing"
        after = {**history.objects, write.place: write.new}
        complete_since = {key: complete_since.get(key, write.at) for key in _waiting_in_vain(history, after)}


def _states(write: Write) -> Iterator[Mapping[str, Any]]:
    return iter(states_of(write.new).values()) if write.place[0] == "StoryRun" else iter(())


def _waiting_in_vain(history: History, objects: Mapping[Place, Object | None]) -> Iterator[tuple[str, str]]:
    if objects.get(("EngramTemplate", "", TEMPLATE)) is None:
        return
    for place, run in objects.items():
        if place[0] != "StoryRun" or run is None or _is_ending(run):
            continue
        for name, state in states_of(run).items():
            plan = history.plan(run) if is_waiting(state) else None
            step = plan.find(name) if plan is not None else None
            if plan is None or step is None or group_of(plan, name) is not GroupName.MAIN:
                continue  # clean-up steps may be at their end, which the stored run does not show
            if objects.get(("Engram", place[1], step.declared["ref"]["name"])) is not None:
                yield place[2], name


def _is_ending(run: Object) -> bool:
    ended = has_ended(run) or bool(run["metadata"].get("deletionTimestamp"))
    asked = run["spec"].get("cancelRequested") is True or pending_redrive(run) is not None
    return ended or asked or announced_end(status_of(run)) is not None
