"""Actions of users and administrators, and failures, at given instants; as data, so that a schedule can be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import trio

from core.api.objects import NamespacedName, Object, has_ended
from fuzz.engine.definitions import (
    apply_engram,
    apply_impulse,
    apply_template,
    delete_engram,
    delete_impulse,
    delete_template,
    delete_trigger,
    has_stream,
    hold_run,
    make_claim,
    start_by_packet,
)
from fuzz.engine.shards import FIRST_SHARD, SECOND_SHARD
from fuzz.engine.texts import text_of
from fuzz.engine.world import NAMESPACE, World, of_step


class Verb(StrEnum):
    # A user.
    APPROVE = "approve"
    """``value``: the data of the approval, strings by key."""
    REJECT = "reject"
    CANCEL = "cancel"
    TERMINATE_TOPOLOGY = "terminate topology"
    """Another program records that the streams of the run are to end."""
    REDRIVE = "redrive"
    """``value``: the token."""
    REDRIVE_FROM = "redrive from"
    EDIT_STORY = "edit Story"
    """``value``: the new spec."""
    DELETE_STORY = "delete Story"
    DELETE_REVISIONS = "delete ControllerRevisions"
    """The stored copies of Stories. Only a user deletes them while runs use them."""
    DELETE_STEP_RUN = "delete StepRun"
    DELETE_JOB = "delete Job"
    DELETE_POD = "delete Pod"
    """For an attempt without Pods, the worker vanishes."""
    CUT_OFF = "cut off"
    """The warm worker of a step has no contact with the server for ``value`` seconds."""
    DEAFEN = "deafen"
    """The watch of the warm worker of a step breaks in silence; the worker notices it ``value`` seconds later."""
    BIND = "bind"
    """Binds every Engram to the executor ``value``."""
    APPLY_ENGRAM = "apply Engram"
    """``value``: its name."""
    DELETE_ENGRAM = "delete Engram"
    APPLY_TEMPLATE = "apply EngramTemplate"
    DELETE_TEMPLATE = "delete EngramTemplate"
    DELETE_RUN = "delete StoryRun"
    HOLD_RUN = "hold StoryRun"
    """Adds a finalizer, so that the run is only being deleted after its deletion, until it is let go."""
    LET_RUN_GO = "let StoryRun go"
    DELETE_TRIGGER = "delete StoryTrigger"
    """The StoryTrigger of the run."""
    APPLY_STORY = "apply Story"
    """Creates it again after its deletion; ``value``: its spec."""
    APPLY_IMPULSE = "apply Impulse"
    """``value``: its name."""
    DELETE_IMPULSE = "delete Impulse"
    MAKE_CLAIM = "make EffectClaim"
    """A completed claim for the effect ``value`` of an earlier StepRun of this name, which nobody owns any more."""
    # The machines.
    KILL = "kill"
    """Kills the process; another one starts ``value`` seconds later."""
    SECOND_LEADER = "second leader"
    """Another process works beside the first for ``value`` seconds."""
    HAND_OVER = "hand over"
    """Hands a run from its process to the other one, which works beside it; the old owner releases it first."""
    HAND_OVER_LATE = "hand over, late to let go"
    """The same, but the old owner continues for ``value`` seconds."""
    HAND_OVER_CRASHED = "hand over, owner dead"
    """The same, but the old owner dies."""
    SERVER_DOWN = "server down"
    """For ``value`` seconds; the watches then resume."""
    SERVER_FORGETS = "server down, forgets"
    """The same, but the server has lost its history: 410, and a new list."""
    RELIST = "relist"
    START_BY_PACKET = "start a run by a packet"
    """The hub starts a run of Story ``child``, named ``value``, for a packet; not before the run has a stream, and not
    after its end.
    """
    HUB_DOWN = "hub down"
    """All streams lose their connection; for ``value`` seconds nobody can connect again."""
    HUB_KILLED = "hub killed"
    """The same, but nothing is written about it; the next hub starts ``value`` seconds later."""
    STEP_CLOCK = "step clock"
    """Moves the wall clock by ``value`` seconds."""


HAND_OVERS: Final = (Verb.HAND_OVER, Verb.HAND_OVER_LATE, Verb.HAND_OVER_CRASHED)


@dataclass(frozen=True)
class Action:
    at: float
    """Seconds after the run was created."""
    verb: Verb
    step: str = ""
    """The full name of the step."""
    value: Any = None
    run: str = ""
    """The name of the run, if it is not the first."""


async def act(world: World, key: NamespacedName, action: Action) -> None:
    """Do the action now."""
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
        case Verb.HAND_OVER | Verb.HAND_OVER_LATE | Verb.HAND_OVER_CRASHED:
            await _hand_over(world, key, action)
        case Verb.SERVER_DOWN | Verb.SERVER_FORGETS:
            world.take_server_down()
            await trio.sleep(float(action.value))
            world.bring_server_up(forgetful=action.verb is Verb.SERVER_FORGETS)
        case Verb.HUB_DOWN | Verb.HUB_KILLED:
            world.hub.go_down() if action.verb is Verb.HUB_DOWN else world.hub.die()
            await trio.sleep(float(action.value))
            world.hub.come_up()
        case Verb.RELIST:
            world.relist()
        case Verb.APPLY_STORY if ("Story", NAMESPACE, "story") not in world.cluster.objects:
            world.add_story("story", action.value)
        case Verb.DELETE_TRIGGER:
            delete_trigger(world.cluster, key.name)
        case Verb.APPLY_IMPULSE:
            apply_impulse(world.cluster, str(action.value))
        case Verb.DELETE_IMPULSE:
            delete_impulse(world.cluster, str(action.value))
        case Verb.MAKE_CLAIM:
            make_claim(world.cluster, of_step(key, action.step)[1], str(action.value))
        case Verb.BIND:
            world.bind(str(action.value))
        case Verb.APPLY_ENGRAM:
            apply_engram(world.cluster, str(action.value))
        case Verb.DELETE_ENGRAM:
            delete_engram(world.cluster, str(action.value))
        case Verb.APPLY_TEMPLATE:
            apply_template(world.cluster)
        case Verb.DELETE_TEMPLATE:
            delete_template(world.cluster)
        case Verb.STEP_CLOCK:
            world.clock_steps.append((trio.current_time(), timedelta(seconds=float(action.value))))


_OF_RUN = frozenset(
    {
        Verb.APPROVE,
        Verb.REJECT,
        Verb.CANCEL,
        Verb.TERMINATE_TOPOLOGY,
        Verb.REDRIVE,
        Verb.REDRIVE_FROM,
        Verb.DELETE_STEP_RUN,
        Verb.DELETE_JOB,
        Verb.DELETE_POD,
        Verb.CUT_OFF,
        Verb.DEAFEN,
        Verb.DELETE_RUN,
        Verb.HOLD_RUN,
        Verb.LET_RUN_GO,
        Verb.START_BY_PACKET,
    }
)


def _of_run(world: World, key: NamespacedName, action: Action) -> None:
    match action.verb:
        case Verb.APPROVE:
            world.approve(key, action.step, message=text_of(action.step), data=action.value)
        case Verb.REJECT:
            world.approve(key, action.step, "Rejected", text_of(action.step, "no"))
        case Verb.CANCEL:
            world.cancel_run(key)
        case Verb.TERMINATE_TOPOLOGY if not has_ended(world.run(key)):
            world.terminate_topology(key)
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
        case Verb.CUT_OFF:
            world.warm.cut_off(("StepRun", *of_step(key, action.step)), float(action.value))
        case Verb.DEAFEN:
            world.warm.deafen(("StepRun", *of_step(key, action.step)), float(action.value))
        case Verb.DELETE_RUN:
            world.delete_run(key)
        case Verb.START_BY_PACKET if not has_ended(world.run(key)) and has_stream(world.cluster):
            start_by_packet(world.cluster, world.run(key), str(action.value))
        case Verb.HOLD_RUN | Verb.LET_RUN_GO:
            hold_run(world.cluster, key.name, held=action.verb is Verb.HOLD_RUN)


def _delete_pods(world: World, key: NamespacedName, step: str) -> None:
    namespace, name = of_step(key, step)
    world.warm.vanish(("StepRun", namespace, name))
    for place, pod in list(world.cluster.objects.items()):
        if place[:2] == ("Pod", namespace) and pod["spec"].get("stepRun") == name:
            world.cluster.delete("user", place)
            world.worker.count(place)


async def _second_leader(world: World, seconds: float) -> None:
    """Start a second leader beside the first; it continues for a while."""
    if not world.at_work_for(FIRST_SHARD):
        return
    second = world.start_beside()
    await trio.sleep(seconds)
    if not second.gone.is_set():
        world.end(second)


async def _hand_over(world: World, key: NamespacedName, action: Action) -> None:
    """Hand the run from the shard that owns it to the other one; do nothing if a hand-over is in progress."""
    giver = world.shards.owner_of(key)
    if giver is None or not world.incarnations:
        return
    taker = SECOND_SHARD if giver == FIRST_SHARD else FIRST_SHARD
    if taker == SECOND_SHARD and not world.at_work_for(SECOND_SHARD):
        world.start_beside(SECOND_SHARD)
    keys = [key]
    if action.verb is Verb.HAND_OVER:
        world.shards.give(key, None)
        for old in world.at_work_for(giver):
            await old.release(key)
    elif action.verb is Verb.HAND_OVER_CRASHED:
        for old in world.at_work_for(giver):
            world.end(old)
        if giver == SECOND_SHARD:  # no new process starts for it, so all its keys are handed over
            keys = [NamespacedName(*each) for each in world.shards.keys_of(giver)]
    await world.until_server_up()  # the new owner must list first
    let_go = action.verb is not Verb.HAND_OVER_LATE
    for each in keys:
        world.shards.give(each, taker, let_go=let_go)
        world.handed_over.append(trio.current_time())
        for new in world.at_work_for(taker):
            new.adopt(each)
    if not let_go:
        await trio.sleep(float(action.value))
        for old in world.at_work_for(giver) if world.shards.owner_of(key) == taker else ():
            await old.release(key)


def action_to_wire(action: Action) -> Object:
    wire: Object = {"at": action.at, "do": str(action.verb)}
    wire |= {"step": action.step} if action.step else {}
    wire |= {"run": action.run} if action.run else {}
    return wire | ({"value": action.value} if action.value is not None else {})


def action_from_wire(wire: Mapping[str, Any]) -> Action:
    step, run = (str(wire.get(field, "")) for field in ("step", "run"))
    return Action(float(wire["at"]), Verb(wire["do"]), step, wire.get("value"), run)
