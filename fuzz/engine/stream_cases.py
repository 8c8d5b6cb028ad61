"""Realtime Stories, and bugs in what the engine does about their streams; hunted by ``mutants``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from core.engine.executor_port import StopReason
from core.engine.ports import AttemptState
from core.engine.primitives import engram as engram_steps
from core.engine.primitives.results import StepResults
from core.engine.run import execution, termination
from core.engine.run.execution import RunExecution
from core.engine.run.group_execution import GroupExecution
from core.engine.status import state
from core.engine.status.state import RunState
from core.engine.streams import drain
from core.engine.streams.connections import Streams
from core.graph import readiness
from fuzz.engine import model_jobs, model_streams
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.case import Case
from fuzz.engine.model_hub import BINDING, is_drained
from fuzz.engine.model_streams import ModelStreamExecutor
from fuzz.engine.streams import FRAIL, HASTY, STREAMS, realtime, stream
from fuzz.engine.worker import Act, Script
from fuzz.engine.world import World

ENGRAMS: Final = {"work": Engram(), **STREAMS}
_ON: Final = (Script(Act.HANG),)
_FAILS: Final = Script(Act.EXIT, 0.3, exit_code=137)
_PAIR: Final = (stream("a"), primitive("p", "condition", "a"), stream("b", "p"))
_CALLING: Final = (stream("a"), primitive("call", "executeStory", "a"), stream("b", "call"))
_CHILD: Final = {"child": {"steps": [primitive("nap", "sleep", with_={"duration": "1h"})]}}
_BY_PACKETS: Final = tuple(
    Action(at, Verb.START_BY_PACKET, value=f"packet-{number}") for number, at in enumerate((2.0, 2.5, 3.3))
)
"""The last packet was on its way when the end of the run was decided."""
_SWEEP: Final[dict[str, Any]] = {"finally": [engram("sweep")]}

CASES: Final[dict[str, Case]] = {
    "streams are canceled": Case(
        realtime(*_PAIR, stream("c", "b"), **_SWEEP),
        {"a": _ON, "b": (Script(Act.HANG, exit_lag_seconds=1.3),), "c": (Script(Act.HANG, grace_seconds=0.6),)},
        ENGRAMS,
        cancel_after_seconds=3.1,
    ),
    "packets have started runs": Case(
        realtime(*_CALLING),
        {"a": _ON, "b": (Script(Act.HANG, exit_lag_seconds=1.3),)},
        ENGRAMS,
        cancel_after_seconds=3.1,
        stories=_CHILD,
        actions=_BY_PACKETS,
    ),
    "packets have started runs, and the Story's time is over": Case(
        realtime(*_CALLING, policy={"timeouts": {"story": "3s"}}),
        {"a": _ON, "b": (Script(Act.HANG, exit_lag_seconds=1.3),)},
        ENGRAMS,
        stories=_CHILD,
        actions=_BY_PACKETS,
    ),
    "packets have started runs, and the Story is gone": Case(
        realtime(*_CALLING),
        {"a": _ON, "b": (Script(Act.HANG, exit_lag_seconds=1.3),)},
        ENGRAMS,
        cancel_after_seconds=3.1,
        stories=_CHILD,
        actions=(
            *_BY_PACKETS,
            Action(2.7, Verb.DELETE_STORY),
            Action(2.8, Verb.DELETE_REVISIONS),
            Action(3.0, Verb.KILL, value=1.0),
        ),
    ),
    "streams that do not drain": Case(
        realtime(*_PAIR, drain_seconds=6),
        {"a": _ON, "b": (Script(Act.HANG, exit_lag_seconds=1e6, grace_seconds=0.7),)},
        ENGRAMS,
        cancel_after_seconds=3.1,
    ),
    "a stream fails for good": Case(
        realtime(*_PAIR, compensations=[engram("undo")]), {"a": _ON, "b": (_FAILS,)}, ENGRAMS
    ),
    "a stream is tried again": Case(
        realtime(stream("a"), stream("b", "a", ref=FRAIL)),
        {"a": (Script(after_seconds=17.0),), "b": (_FAILS, Script(Act.HANG))},
        ENGRAMS,
    ),
    "a workload of two generations": Case(
        realtime(stream("a", ref=HASTY)),
        {"a": (Script(Act.HANG, grace_seconds=4.0), Script(after_seconds=2.1))},
        ENGRAMS,
    ),
    "a topology is terminated": Case(
        realtime(*_PAIR, **_SWEEP),
        {"a": _ON, "b": (Script(Act.HANG, grace_seconds=1.6),)},
        ENGRAMS,
        actions=(Action(4.2, Verb.TERMINATE_TOPOLOGY),),
    ),
    "the hub is away": Case(
        realtime(stream("a"), stream("b", "a")),
        {"a": (Script(after_seconds=100.0),), "b": _ON},
        ENGRAMS,
        actions=(Action(3.3, Verb.HUB_DOWN, value=75.0),),
    ),
    "the hub is killed": Case(
        realtime(stream("a"), stream("b", "a")),
        {"a": (Script(after_seconds=170.0),), "b": _ON},
        ENGRAMS,
        actions=(Action(3.3, Verb.HUB_KILLED, value=130.0),),
    ),
    "streams run again from b": Case(
        realtime(*_PAIR),
        {"a": (Script(after_seconds=2.3),), "b": _ON},
        ENGRAMS,
        actions=(Action(7.0, Verb.REDRIVE_FROM, "b", "t"),),
    ),
    "a workload is deleted by hand": Case(
        realtime(stream("a"), stream("b", "a")),
        {"a": (Script(Act.HANG, grace_seconds=1.2),), "b": _ON},
        ENGRAMS,
        actions=(Action(3.0, Verb.DELETE_JOB, "a"), Action(6.0, Verb.DELETE_POD, "b"), Action(12.0, Verb.CANCEL)),
    ),
}


def _always(value: Any) -> Any:
    return lambda sound: lambda *args, **more: value


def _never(sound: Any) -> Any:
    async def nothing(*args: Any, **more: Any) -> None:
        return None

    return nothing


def _true(sound: Any) -> Any:
    async def yes(*args: Any) -> bool:
        return True

    return yes


def _for_a_day(sound: Any) -> Any:
    return lambda *args: timedelta(days=1)


def _ended_at_once(sound: Any) -> Any:
    async def wrong(self: ModelStreamExecutor, step_run: Any, why: StopReason) -> None:
        await sound(self, step_run, StopReason.END if why is StopReason.DRAIN else why)

    return wrong


def _only_when_drained(sound: Any) -> Any:
    async def wrong(self: ModelStreamExecutor, step_run: Any, why: StopReason) -> None:
        binding = await self._find(BINDING, step_run) if why is StopReason.DRAIN else None
        if why is not StopReason.DRAIN or (binding is not None and is_drained(binding)):
            await sound(self, step_run, why)

    return wrong


def _never_ended(sound: Any) -> Any:
    async def wrong(self: ModelStreamExecutor, step_run: Any, why: StopReason) -> None:
        if why not in (StopReason.END, StopReason.RECORDED):
            await sound(self, step_run, why)

    return wrong


def _as_it_is(sound: Any) -> Any:
    async def wrong(self: Any, binding: Any, generation: int) -> Any:
        return binding

    return wrong


def _without_a_mark(sound: Any) -> Any:
    async def wrong(self: ModelStreamExecutor, step_run: Any, binding: Any) -> None:
        await sound(self, step_run, None)

    return wrong


def _ended(sound: Any) -> Any:
    return lambda seen: seen.state in (AttemptState.SUCCEEDED, AttemptState.ABSENT)


_CANCELED: Final = ("streams are canceled",)
_UNDRAINED: Final = ("streams that do not drain",)
_FAILED: Final = ("a stream fails for good",)
_TERMINATED: Final = ("a topology is terminated",)
_AWAY: Final = ("the hub is away",)
_KILLED: Final = ("the hub is killed",)
_CALLED: Final = ("packets have started runs", "packets have started runs, and the Story's time is over")
_ALONE: Final = ("streams end by themselves",)

BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("a stream waits for the end of its need", _CANCELED, readiness, "_is_met",
     lambda sound: lambda need, phases, rules, begun: readiness._completed(need, phases, rules)),
    ("a stream does not wait for its need", _CANCELED, readiness, "_is_met", _always(True)),
    ("nobody sees how a stream is", _ALONE, engram_steps, "live_patch", _always({})),
    ("a failed stream ends no other", _FAILED, GroupExecution, "_end_with_failed", _always(None)),
    ("streams are not drained", _CANCELED, ModelStreamExecutor, "stop", _ended_at_once),
    ("what is not drained counts as drained", _CANCELED, model_streams, "is_drained", _always(True)),
    ("a workload goes before its stream has finished", _ALONE, ModelStreamExecutor, "_finish", _without_a_mark),
    ("sources go on until they are drained", _CANCELED, ModelStreamExecutor, "stop", _only_when_drained),
    ("streams drain for a day", _UNDRAINED, RunExecution, "_drain", _for_a_day),
    ("what does not drain is not ended", _UNDRAINED, ModelStreamExecutor, "stop", _never_ended),
    ("who was asked to end has succeeded", _CANCELED, drain, "has_finished", _ended),
    ("the workload of an ended stream stays", _FAILED, StepResults, "has_left", _true),
    ("a word about the topology is not heard", _TERMINATED, RunExecution, "follow", _always(None)),
    ("a word about the topology is taken back", _TERMINATED, state, "terminated_at", _always(None)),
    ("nobody says that all streams are away", _AWAY, Streams, "all_lost_since",
     lambda sound: property(lambda streams: None)),
    ("nobody says that a stream is back", _AWAY, RunState, "topology_restored", lambda sound: lambda self: self),
    ("a dead hub's streams count as connected", _KILLED, model_streams, "_live",
     lambda sound: lambda binding, number, silence: sound(binding, number, None)),
    ("nobody hears that the hub is dead", _KILLED, World, "hub_changed", _always(None)),
    ("runs of packets that come late go on", _CALLED, execution, "cancel_packet_runs", _never),
    ("a finished stream is started again", _ALONE, model_streams, "is_finished", _always(False)),
)  # fmt: skip

BUGS_IN_SEVERAL_PLACES: Final[tuple[tuple[str, tuple[str, ...], tuple[tuple[Any, str, Any], ...]], ...]] = (
    (
        "earlier generations are neither awaited nor fenced",
        ("a workload of two generations",),
        (
            (model_streams, "_is_alive", _always(False)),
            (model_jobs, "_any_alive", _always(False)),
            (ModelStreamExecutor, "_fenced", _as_it_is),
        ),
    ),
    (
        "runs of packets go on",
        _CALLED,
        ((execution, "cancel_packet_runs", _never), (termination, "cancel_packet_runs", _never)),
    ),
)
