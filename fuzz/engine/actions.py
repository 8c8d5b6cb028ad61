"""What users, administrators and bad luck do at given instants, as data: a schedule can be printed and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import trio

from core.engine.ports import RunKey
from fuzz.engine.cluster import Object
from fuzz.engine.texts import text_of
from fuzz.engine.world import NAMESPACE, Incarnation, World, of_step


class Verb(StrEnum):
    # A person.
    APPROVE = "approve"
    """``value`` is what is given along, texts by key."""
    REJECT = "reject"
    CANCEL = "cancel"
    REDRIVE = "redrive"
    """``value`` is the token."""
    REDRIVE_FROM = "redrive from"
    EDIT_STORY = "edit Story"
    """``value`` is the new spec."""
    DELETE_STORY = "delete Story"
    DELETE_REVISIONS = "delete ControllerRevisions"
    """What is kept of Stories for their runs; nothing but a person does that while there are such runs."""
    DELETE_STEP_RUN = "delete StepRun"
    DELETE_JOB = "delete Job"
    DELETE_POD = "delete Pod"
    """Of an attempt without Pods, the worker vanishes."""
    BIND = "bind"
    """Every Engram to the executor called ``value``."""
    DELETE_RUN = "delete StoryRun"
    # The machine room.
    KILL = "kill"
    """The process; another starts ``value`` seconds later."""
    SECOND_LEADER = "second leader"
    """Another process works beside the first for ``value`` seconds."""
    SERVER_DOWN = "server down"
    """For ``value`` seconds; the watches go on where they were."""
    SERVER_FORGETS = "server down, forgets"
    """The same, but the history is gone: 410, and a new list."""
    RELIST = "relist"
    STEP_CLOCK = "step clock"
    """By ``value`` seconds."""


@dataclass(frozen=True)
class Action:
    at: float
    """Seconds after the run was created."""
    verb: Verb
    step: str = ""
    """Full name."""
    value: Any = None
    run: str = ""
    """Name of the run, where it is not the first."""


async def act(world: World, key: RunKey, action: Action) -> None:
    """Do it now."""
    run = world.cluster.objects.get(("StoryRun", *key))
    if action.verb in _OF_RUN:
        if run is not None:
            _of_run(world, key, action)
        return
    match action.verb:
        case Verb.EDIT_STORY if ("Story", NAMESPACE, "story") in world.cluster.objects:
            world.edit_story("story", action.value)
        case Verb.DELETE_STORY:
            world.delete_story("story")
        case Verb.DELETE_REVISIONS:
            world.delete_revisions()
        case Verb.KILL:
            world.downtime = float(action.value or 0.0)
            if world.incarnations:
                world.kill_nowait()
        case Verb.SECOND_LEADER:
            await _second_leader(world, float(action.value))
        case Verb.SERVER_DOWN | Verb.SERVER_FORGETS:
            world.take_server_down()
            await trio.sleep(float(action.value))
            world.bring_server_up(forgetful=action.verb is Verb.SERVER_FORGETS)
        case Verb.RELIST:
            world.relist()
        case Verb.BIND:
            world.bind(str(action.value))
        case Verb.STEP_CLOCK:
            world.clock_steps.append((trio.current_time(), timedelta(seconds=float(action.value))))


_OF_RUN = frozenset(
    {
        Verb.APPROVE,
        Verb.REJECT,
        Verb.CANCEL,
        Verb.REDRIVE,
        Verb.REDRIVE_FROM,
        Verb.DELETE_STEP_RUN,
        Verb.DELETE_JOB,
        Verb.DELETE_POD,
        Verb.DELETE_RUN,
    }
)


def _of_run(world: World, key: RunKey, action: Action) -> None:
    match action.verb:
        case Verb.APPROVE:
            world.approve(key, action.step, message=text_of(action.step), data=action.value)
        case Verb.REJECT:
            world.approve(key, action.step, "Rejected", text_of(action.step, "no"))
        case Verb.CANCEL:
            world.cancel_run(key)
        case Verb.REDRIVE:
            world.redrive(key, str(action.value))
        case Verb.REDRIVE_FROM:
            world.redrive_from(key, action.step, str(action.value))
        case Verb.DELETE_STEP_RUN:
            world.delete_step_run(key, action.step)
        case Verb.DELETE_JOB:
            world.delete_job(key, action.step)
        case Verb.DELETE_POD:
            _delete_pods(world, key, action.step)
        case Verb.DELETE_RUN:
            world.delete_run(key)


def _delete_pods(world: World, key: RunKey, step: str) -> None:
    namespace, name = of_step(key, step)
    world.warm.vanish(("StepRun", namespace, name))
    for place, pod in list(world.cluster.objects.items()):
        if place[:2] == ("Pod", namespace) and pod["spec"].get("stepRun") == name:
            world.cluster.delete("user", place)
            world.worker.count(place)


async def _second_leader(world: World, seconds: float) -> None:
    """A leader that does not know that it is none any more: it goes on for a while."""
    first: Incarnation | None = next(iter(world.alive), None)
    if first is None:
        return
    world.start(everything=True, second=True)
    second = world.incarnations.pop()
    world.incarnations.insert(max(len(world.incarnations) - 1, 0), second)
    world.processes.remove(second.process)
    await trio.sleep(seconds)
    if not second.gone.is_set():
        world.end(second)


def action_to_wire(action: Action) -> Object:
    wire: Object = {"at": action.at, "do": str(action.verb)}
    wire |= {"step": action.step} if action.step else {}
    wire |= {"run": action.run} if action.run else {}
    return wire | ({"value": action.value} if action.value is not None else {})


def action_from_wire(wire: Mapping[str, Any]) -> Action:
    step, run = (str(wire.get(field, "")) for field in ("step", "run"))
    return Action(float(wire["at"]), Verb(wire["do"]), step, wire.get("value"), run)
