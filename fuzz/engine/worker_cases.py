"""Cases and bugs about warm workers: room, assignments, workers that are cut off, StepRuns that go while they work."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any, Final

from core.engine.ports import WORKER, AttemptState
from core.engine.primitives import engram as engram_steps
from core.engine.primitives import first_attempt
from core.engine.primitives.running_mark import RunningMark
from core.engine.redrive import redrive
from core.engine.step import worker_observation
from core.engine.step.assignment import worker_exit_of
from core.policy.retry import RetryPolicy
from fuzz.engine import model_workers, warm_workers
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram, ModelStepRuns
from fuzz.engine.canonical import engram
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble
from fuzz.engine.cluster import place_of
from fuzz.engine.model_room import WorkerLoad
from fuzz.engine.model_workers import ModelWorkerExecutor
from fuzz.engine.process import Fault
from fuzz.engine.storage_cases import INLINE_BYTES
from fuzz.engine.warm_workers import DEAF_SECONDS
from fuzz.engine.worker import Act, Script
from reconcilers.adapters.worker_leftovers import WorkerLeftovers
from reconcilers.adapters.worker_line import WorkerLine

ONCE_MORE: Final = RetryPolicy(max_retries=1, delay=timedelta(seconds=0.9))
WARM: Final = {"work": Engram(executor=WORKER, retry=ONCE_MORE)}
STORING: Final = {"work": Engram(executor=WORKER, max_inline_size_bytes=INLINE_BYTES, shares_store=True)}
RETRIED_BY_TWO: Final = "retry of two leaders, by a worker"
ENDED_IN_TIME: Final = "a worker vanishes after the exit of its step"
CASES: Final[dict[str, Case]] = {
    "more warm steps than there is room for": Case(
        {"steps": [engram(name) for name in "abcdef"]},
        {
            name: (Script(after_seconds=0.7 + 0.31 * number, output={"n": number}),)
            for number, name in enumerate("abcdef")
        },
        WARM,
    ),
    "warm steps that wait for long": Case(
        {"steps": [engram(name) for name in "abcdef"]},
        {name: (Script(after_seconds=3.1 + 0.31 * number),) for number, name in enumerate("abcdef")},
        WARM,
    ),
    "a warm step that is canceled before it begins": Case(
        {"steps": [engram("a")]},
        {"a": (Script(Act.HANG, grace_seconds=1.0),)},
        WARM,
        cancel_after_seconds=0.1,
        actions=(Action(0.01, Verb.CUT_OFF, "a", 0.7),),
    ),
    "a worker loses contact and comes back": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {
            "a": (Script(Act.HANG), Script(after_seconds=2.0)),
            "b": (Script(Act.HANG), Script(after_seconds=0.4)),
        },
        WARM,
        actions=(Action(0.5, Verb.CUT_OFF, "a", 1.0), Action(6.0, Verb.CUT_OFF, "b", 3.1)),
    ),
    "the operator is down when the time of a warm step is over": Case(
        {"steps": [engram("a"), engram("b", "a")], "output": {"n": "{{ steps.b.output.n }}"}},
        {"a": (Script(Act.HANG, grace_seconds=0.5), Script(after_seconds=0.4)), "b": (Script(output={"n": 1}),)},
        {"work": Engram(executor=WORKER, retry=ONCE_MORE, timeout_seconds=2.0)},
        actions=(Action(1.0, Verb.KILL, value=6.0),),
    ),
    "a worker vanishes": Case(
        {"steps": [engram("a")]},
        {"a": (Script(Act.HANG), Script())},
        WARM,
        actions=(Action(0.5, Verb.DELETE_POD, "a"),),
    ),
    ENDED_IN_TIME: Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {"a": (Script(Act.EXIT, 0.5, exit_code=0), Script()), "b": (Script(),)},
        WARM,
        actions=(Action(0.6, Verb.DELETE_POD, "a"),),
    ),
    "a warm step runs again while it is at work": Case(
        {"steps": [engram("a"), engram("b", "a")]},
        {"a": (Script(after_seconds=0.4),), "b": (Script(Act.HANG, grace_seconds=1.7), Script())},
        {"work": Engram(executor=WORKER, retry=ONCE_MORE, timeout_seconds=4.0)},
        actions=(Action(2.9, Verb.REDRIVE_FROM, "b", "t"),),
    ),
    "the StepRun of a warm step is deleted": Case(
        {"steps": [engram("a")]},
        {"a": (Script(after_seconds=3.0),)},
        WARM,
        actions=(Action(1.1, Verb.DELETE_STEP_RUN, "a"),),
    ),
    "the StepRun of a warm step is deleted while the watch of its worker is broken": Case(
        {"steps": [engram("a")]},
        {"a": (Script(after_seconds=3.0),)},
        WARM,
        actions=(Action(1.0, Verb.DEAFEN, "a", DEAF_SECONDS), Action(1.05, Verb.DELETE_STEP_RUN, "a")),
    ),
    "the StepRun of a warm step is deleted before its worker is cut off": Case(
        {"steps": [engram(name) for name in "abc"]},  # a and c are at work in the same worker
        {"a": (Script(after_seconds=6.0),), "b": (Script(after_seconds=0.5),), "c": (Script(after_seconds=6.0),)},
        WARM,
        actions=(
            Action(1.0, Verb.DEAFEN, "a", DEAF_SECONDS),
            Action(1.05, Verb.DELETE_STEP_RUN, "a"),
            Action(1.5, Verb.CUT_OFF, "c", 3.1),
        ),
    ),
    RETRIED_BY_TWO: Case(
        {"steps": [engram("a")]},
        {"a": (*(Script(Act.EXIT, 0.1, exit_code=137) for _ in range(2)), Script(after_seconds=2.0))},
        {"work": Engram(executor=WORKER, retry=RetryPolicy(max_retries=2, delay=timedelta(seconds=0.05)))},
    ),
    "a warm step with large inputs": Case(
        {"steps": [engram("a"), engram("b", "a", with_={"text": "{{ steps.a.output.text }}", "n": 1})]},
        {"a": (Script(output={"text": "long" * INLINE_BYTES}),), "b": (Script(echo=True),)},
        STORING,
    ),
}


TROUBLES: Final = {ENDED_IN_TIME: tuple((Trouble(lags={"StepRun": lag}), 0) for lag in (2.5, 4.0))}
"""The operator knows that the worker is lost before it has received the exit."""
TWO_LEADERS: Final = {
    RETRIED_BY_TWO: tuple(
        (Trouble(faults=({call: Fault.SLOW},), second_lags={"StepRun": lag}, twins=True), 0)
        for call in range(5, 9)
        for lag in (0.1, 0.2)
    )
}
"""One of two leaders is slow to assign an attempt, which the other assigns meanwhile, and sees failing."""


def _always(value: Any) -> Any:
    return lambda sound: lambda *args, **more: value


def _always_async(value: Any) -> Any:
    def mutate(sound: Any) -> Any:
        async def wrong(*args: Any, **more: Any) -> Any:
            return value

        return wrong

    return mutate


def _nothing(sound: Any) -> Any:
    return lambda *args, **more: None


def _whichever_attempt(sound: Any) -> Any:
    return lambda step_run, assignment: worker_exit_of(step_run.get("status") or {})


def _never_ending(sound: Any) -> Any:
    def wrong(step_run: Any, is_lost: bool) -> Any:
        seen = sound(step_run, is_lost)
        return replace(seen, state=AttemptState.ABSENT) if seen.state is AttemptState.LINGERING else seen

    return wrong


def _deleted_at_once(sound: Any) -> Any:
    async def wrong(self: Any, child: Any) -> bool:
        if child["kind"] == "StepRun":
            await self._engine.step_runs.delete_step_run(child)
            return True
        return bool(await sound(self, child))

    return wrong


def _unversioned(sound: Any) -> Any:
    async def wrong(self: ModelStepRuns, step_run: Any, patch: Any) -> Any:
        def newest() -> Any:
            stored = self.cluster.objects[place_of(step_run)]
            return self.cluster.patch(self.process.actor, stored, "metadata", dict(patch))

        stored = await self.process.write(self.cluster, newest)
        self.process.known.remember(stored)
        return stored

    return wrong


def _at_once(sound: Any) -> Any:
    async def wrong(context: Any, binding: Any, manifest: Any, *, again: bool, lingers: bool) -> Any:
        return await sound(context, binding, manifest, again=False, lingers=False)

    return wrong


def _woken_as_before(sound: Any) -> Any:
    def wrong(self: Any, step_run: Any, waiting: Any) -> None:
        if step_run not in self:
            sound(self, step_run, waiting)

    return wrong


ROOM_CASE: Final = ("more warm steps than there is room for",)
VANISHED: Final = ("a worker vanishes",)
CUT_OFF: Final = ("a worker loses contact and comes back",)
AGAIN: Final = ("a warm step runs again while it is at work",)
DELETED: Final = ("the StepRun of a warm step is deleted",)
UNHEARD: Final = ("the StepRun of a warm step is deleted while the watch of its worker is broken",)
SILENT: Final = ("the StepRun of a warm step is deleted before its worker is cut off",)

BUGS: Final[tuple[tuple[str, tuple[str, ...], tuple[tuple[Any, str, Any], ...]], ...]] = (
    ("a full worker has room", ROOM_CASE, ((WorkerLoad, "free", lambda sound: property(lambda self: 1)),)),
    ("nobody is called when a worker has room", ROOM_CASE, ((WorkerLine, "call", _always([])),)),
    (
        "a step that has a StepRun by now is not woken for its place",
        ("warm steps that wait for long",),
        ((WorkerLine, "join", _woken_as_before),),
    ),
    ("a warm step always costs three writes", ROOM_CASE, ((first_attempt, "_starts_at_once", _always_async(False)),)),
    ("the start of a short step is recorded", ROOM_CASE, ((RunningMark, "started", _nothing),)),
    (
        "a cancel does not reach the worker",
        ("a warm step that is canceled before it begins",),
        ((warm_workers, "is_over", _always(False)),),
    ),
    (
        "an attempt is assigned without a precondition",
        (RETRIED_BY_TWO,),
        ((ModelStepRuns, "patch_step_run_metadata", _unversioned),),
    ),
    ("a lost worker is believed alive for ever", VANISHED, ((ModelWorkerExecutor, "_is_lost", _always(False)),)),
    (
        "the exit of an earlier attempt counts for the next",
        CUT_OFF,
        ((worker_observation, "exit_of", _whichever_attempt),),
    ),
    ("nothing waits for the end of an attempt", AGAIN, ((model_workers, "observe_worker", _never_ending),)),
    ("a redrive deletes what is at work", AGAIN, ((redrive.Redrive, "_delete", _deleted_at_once),)),
    ("what ran for a deleted StepRun is forgotten", DELETED, ((WorkerLeftovers, "__contains__", _always(False)),)),
    (
        "a worker is believed to hear at once that a StepRun is gone",
        UNHEARD,
        ((model_workers, "HEARS_WITHIN_SECONDS", lambda sound: sound - DEAF_SECONDS),),
    ),
    (
        "a worker without contact is believed to hear that a StepRun is gone",
        SILENT,
        ((ModelWorkerExecutor, "_renewed_at", _always(inf)),),
    ),
    (
        "an attempt is assigned with the creation whatever runs",
        DELETED,
        (
            (engram_steps, "create_step_run", _at_once),
            (first_attempt, "_starts_at_once", _always_async(True)),
        ),
    ),
)
