"""Deliberate bugs in the engine: the suite must catch each of them, otherwise it would prove little.

A mutant replaces one function of ``core.engine`` or ``core.graph`` during a hunt: a few cases run undisturbed, killed
at every few awaits, and with faulty requests. The mutant is caught if an invariant is violated, or if the end differs
from that of the engine without the bug.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, Final

import trio

from core.api.phases import Phase
from core.engine.clock import WallClock
from core.engine.concurrency import rules
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.executor_port import StopReason
from core.engine.primitives import engram as engram_steps
from core.engine.primitives import gate, life, parallel, results, stop, story
from core.engine.primitives.settle import Settled
from core.engine.primitives.waiting import Waiting
from core.engine.redrive import redrive
from core.engine.run import cleanup, drain, execution, scope, termination
from core.engine.run.adopted_plan import Begun
from core.engine.slots import slots
from core.engine.status import state, writer
from core.engine.status.state import RunState
from core.engine.step import outcome, record
from core.engine.values import stored_data, variables
from core.graph import readiness
from core.policy.retry import RetryPolicy
from fuzz.engine import (
    definition_cases,
    effect_cases,
    executor_cases,
    handover_cases,
    model_jobs,
    retention_cases,
    storage_cases,
    stream_cases,
    trigger_cases,
    worker_cases,
)
from fuzz.engine.actions import Action, Verb
from fuzz.engine.canonical import CANONICAL, RETRIED_AT_ONCE, RETRYING, engram, primitive
from fuzz.engine.case import Case, Rival
from fuzz.engine.cases import Played, Trouble, differences, play
from fuzz.engine.invariants import violations
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.process import Fault
from fuzz.engine.stored import stored
from fuzz.engine.strategies import ENGRAMS
from fuzz.engine.worker import Act, Script

FAILS: Final = (Script(Act.FAIL, 0.7, exit_code=1, exit_class="terminal"),)
CHILD: Final = {"child": {"steps": [engram("k")], "output": {"n": "{{ inputs.n }}"}}}
SERIAL: Final = {"mode": "serial"}
SLEPT_AT_ONCE: Final = Case(
    {"steps": [engram("a"), primitive("nap", "sleep", "a", with_={"duration": "3s"}), engram("b", "nap")]}
)
FAN: Final = {"steps": [engram("x"), engram("y"), engram("z")], "maxConcurrency": 1}

OF_CLIENTS: Final = trigger_cases.CASES | effect_cases.CASES
_FILES: Final = (retention_cases, executor_cases, handover_cases, definition_cases, storage_cases, stream_cases)
ELSEWHERE: Final = {name: case for file in _FILES for name, case in file.CASES.items()} | OF_CLIENTS
HUNTED: Final[dict[str, Case]] = CANONICAL | ELSEWHERE | {
    "clean-up": Case(
        {
            "steps": [engram("a"), engram("b", "a")],
            "compensations": [engram("undo")],
            "finally": [engram("sweep")],
        },
        {"b": FAILS},
    ),
    "clean-up after success": Case(
        {"steps": [engram("a")], "compensations": [engram("undo")], "finally": [engram("sweep")]}
    ),
    "gate": Case(
        {"steps": [primitive("ask", "gate"), engram("b", "ask")]}, actions=(Action(2.0, Verb.REJECT, "ask"),)
    ),
    "gate in time": Case({"steps": [primitive("ask", "gate", with_={"timeout": "7s"})]}),
    "wait": Case(
        {"steps": [primitive("w", "wait", with_={"until": "{{ inputs.no }}", "timeout": "6s"})]}, inputs={"no": False}
    ),
    "branches": Case({"steps": [primitive("fan", "parallel", with_=FAN), engram("b", "fan")]}, {"fan/y": FAILS}),
    "loop": Case(
        {
            "steps": [
                primitive(
                    "call",
                    "executeStory",
                    with_={
                        "storyRef": {"name": "child"}, "with": {"n": 1},
                        "until": "{{ ge iteration 3 }}", "maxIterations": 4,
                    },
                )
            ]
        },
        stories=CHILD,
    ),
    "canceled child": Case(
        {"steps": [primitive("call", "executeStory", with_={"storyRef": {"name": "child"}})]},
        {"k": (Script(Act.HANG),)},
        stories=CHILD,
        actions=(Action(3.0, Verb.CANCEL),),
    ),
    "one at a time": Case({"steps": [engram("a"), engram("b"), engram("c")], "policy": {"concurrency": 1}}),
    "run again": Case({"steps": [engram("a"), engram("b", "a")]}, actions=(Action(9.0, Verb.REDRIVE, value="t"),)),
    "run again from b": Case(
        {"steps": [engram("a"), engram("b", "a")]}, actions=(Action(9.0, Verb.REDRIVE_FROM, "b", "t"),)
    ),
    "checked": Case(
        {"steps": [engram("a", ref="strict"), engram("b", "a")]}, {"a": (Script(output={"n": "x"}),)}, ENGRAMS
    ),
    "fast retry": Case(
        {"steps": [engram("a")]}, {"a": (Script(Act.EXIT, 0.4, exit_code=137), Script(after_seconds=0.01))}, RETRYING
    ),
    "failures of two sorts": Case(
        {"steps": [engram("a", ref="choosy"), engram("b", ref="choosy"), engram("c", ref="eager")]},
        {"a": (Script(Act.EXIT, 0.7, exit_code=1),), "b": (Script(Act.EXIT, 0.4, exit_code=125), Script()),
         "c": (Script(Act.FAIL, 0.5, exit_code=1, exit_class="terminal"), Script())},
        ENGRAMS,
    ),
    "retry of two leaders": RETRIED_AT_ONCE,
    "sleep of two leaders": SLEPT_AT_ONCE,
    "Job deleted by hand": Case(
        {"steps": [engram("a")]}, {"a": (Script(Act.HANG, grace_seconds=4.0), Script())},
        actions=(Action(1.0, Verb.DELETE_JOB, "a"), Action(9.0, Verb.CANCEL)),
    ),
    "one run after the other": Case(
        {"steps": [engram("a")], "concurrency": SERIAL}, {"a": (Script(after_seconds=7.0),)},
        rivals=(Rival(0.3), Rival(0.4)),
    ),
    "one run of each participant": Case(
        {"steps": [engram("a")], "concurrency": SERIAL | {"scope": "participant"}}, inputs={"participant": "ann"},
        rivals=(Rival(0.3, "bob"), Rival(0.4)),
    ),
    "the newest run": Case(
        {"steps": [engram("a"), engram("b", "a")], "concurrency": {"mode": "cancelPrevious"}},
        {"b": (Script(after_seconds=9.0),)}, rivals=(Rival(0.3), Rival(1.7)),
    ),
    "run again from b in turn": Case(
        {"steps": [engram("a"), engram("b", "a")], "concurrency": SERIAL}, rivals=(Rival(0.3),),
        actions=(Action(2.5, Verb.REDRIVE_FROM, "b", "t"),),
    ),
    "another Story": Case(
        {"steps": [engram("a"), primitive("nap", "sleep", with_={"duration": "300s"})]}, {"a": (Script(Act.HANG),)},
        actions=(
            Action(0.5, Verb.EDIT_STORY, value={"steps": [engram("b")]}), Action(0.5, Verb.DELETE_REVISIONS),
            Action(0.6, Verb.KILL, value=0.0),
        ),
    ),
    "stop among the compensations": Case({
        "steps": [primitive("halt", "stop", with_={"phase": "Failed"})],
        "compensations": [primitive("enough", "stop"), engram("undo", "enough")],
    }),
    "cancel that one of two leaders hears late": Case(
        {"steps": [engram("a"), engram("b", "a")]}, {"a": (Script(after_seconds=0.3),), "b": (Script(Act.HANG),)},
        actions=(Action(0.4, Verb.CANCEL),),
    ),
    "data in storage": Case(
        {
            "steps": [
                engram("a"), engram("b", if_="{{ steps.a.output.flag }}"),
                primitive("w", "wait", "a", with_={"until": "{{ steps.a.output.flag }}", "timeout": "9s"}),
            ]
        },
        {"a": (Script(output={"flag": stored("yes")}),)},
    ),
    "slow to go": Case(
        {"steps": [engram("a")]}, {"a": (Script(Act.HANG, grace_seconds=4.0), Script())}, {"work": dataclasses.replace(
            RETRYING["work"], timeout_seconds=2.0)},
    ),
}  # fmt: skip

FAULTS: Final = (
    Trouble(faults=(dict.fromkeys(range(0, 30, 3), Fault.LOST_ANSWER),), heals=True),
    Trouble(faults=(dict.fromkeys(range(1, 30, 4), Fault.STALE),), heals=True),
    Trouble(latency_seconds=0.03, heals=True),
)
LATE_ANSWERS: Final = tuple(
    (Trouble(faults=({call: Fault.LATE_ANSWER},), second_lags={"Job": 0.3}, twins=True), seed)
    for call in range(6, 16)
    for seed in range(6)
)
"""One of two leaders receives late what it has done itself; the other continues with it."""

SLOW_WRITES: Final = tuple(
    (Trouble(faults=({call: Fault.SLOW},), second_lags={"StepRun": 0.3}, twins=True), 0) for call in range(34)
)
"""One of two leaders is slow to store a decision; the other, which decides later, stores first."""
LATE_CANCELS: Final = tuple(
    (Trouble(faults=({call: Fault.SLOW},), second_lags={"StoryRun": 5.0}, twins=True), 0) for call in range(12)
)
"""One of two leaders continues with a step that the other has ended."""
TWO_LEADERS: Final = {
    "retry of two leaders": LATE_ANSWERS,
    "sleep of two leaders": SLOW_WRITES,
    "cancel that one of two leaders hears late": LATE_CANCELS,
    **worker_cases.TWO_LEADERS,
}
TROUBLES: Final = {
    **TWO_LEADERS,
    **handover_cases.TROUBLES,
    **trigger_cases.TROUBLES,
    **effect_cases.TROUBLES,
    **worker_cases.TROUBLES,
}


@dataclass(frozen=True)
class Mutant:
    """``patches``: holder, name of the attribute, and a function from the original value to its replacement."""

    name: str
    hunted: tuple[str, ...]
    patches: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = field(repr=False)


def hunt(mutant: Mutant) -> str | None:
    """How the mutant was caught; None if it was not caught."""
    sound = {name: _sound(name) for name in mutant.hunted}
    with _in_place(mutant):
        for name in mutant.hunted:
            case = _case(name)
            alone = [
                (Trouble((*(0,) * before, number), heals=True), 0)
                for before, moments in enumerate(sound[name].moments)
                for number in moments
            ]
            faulty = TROUBLES.get(name) or [(trouble, 0) for trouble in FAULTS]
            for trouble, seed in ((Trouble(heals=True), 0), *faulty, *alone):
                try:
                    played = play(case, trouble, seed)
                except Exception as error:
                    return f"{name}: {error!r}"
                broken = violations(played)
                if not broken and (trouble, seed) not in faulty:
                    broken = differences(played, sound[name])
                if broken:
                    return f"{name}: {broken[0]}"
    return None


@cache
def _sound(name: str) -> Played:
    return play(_case(name), Trouble(heals=True))


def _case(name: str) -> Case:
    return HUNTED.get(name) or handover_cases.FURTHER[name]


@contextmanager
def _in_place(mutant: Mutant) -> Iterator[None]:
    before = [(holder, attribute, getattr(holder, attribute)) for holder, attribute, _ in mutant.patches]
    try:
        for (holder, attribute, sound), (_, _, mutate) in zip(before, mutant.patches, strict=True):
            setattr(holder, attribute, mutate(sound))
        yield
    finally:
        for holder, attribute, sound in before:
            setattr(holder, attribute, sound)


# The bugs.


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda sound: lambda *args, **more: value


def _never_async(sound: Any) -> Any:
    async def nothing(*args: Any, **more: Any) -> None:
        return None

    return nothing


def _true_async(sound: Any) -> Any:
    async def yes(*args: Any, **more: Any) -> bool:
        return True

    return yes


def _stopped_instead(asked: StopReason, done: StopReason) -> Callable[[Any], Any]:
    """An executor that does the one when it is asked for the other."""

    def mutate(sound: Any) -> Any:
        async def wrong(self: Any, step_run: Any, why: StopReason) -> None:
            await sound(self, step_run, done if why is asked else why)

        return wrong

    return mutate


def _at_once(sound: Any) -> Any:
    async def too_early(*args: Any, **more: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    return too_early


def _late(sound: Any) -> Any:
    async def too_late(self: Any, instant: Any, *args: Any) -> Any:
        return await sound(self, instant + HALF_A_SECOND, *args)

    return too_late


def _stored_late(sound: Any) -> Any:
    async def wrong(self: Any) -> None:
        await trio.sleep(HALF_A_SECOND.total_seconds())
        await sound(self)

    return wrong


def _given_back_late(sound: Any) -> Any:
    def wrong(self: Any, run_uid: str, step: str) -> None:
        async def later() -> None:
            await trio.sleep(1.5)
            sound(self, run_uid, step)

        trio.lowlevel.spawn_system_task(later)

    return wrong


def _turn_kept(sound: Any) -> Any:
    @asynccontextmanager
    async def wrong(context: Any, *_: Any) -> AsyncIterator[None]:
        await context.engine.starts.take(context.key.namespace)
        yield

    return wrong


def _talkative(sound: Any) -> Any:
    async def wrong(context: Any) -> Any:
        async def talk() -> None:
            for seconds in count():
                await trio.sleep(1)
                context.set_message(f"Waiting for {seconds} s", Phase.PAUSED)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            verdict = await sound(context)
            nursery.cancel_scope.cancel()
        return verdict

    return wrong


def _own_timer(sound: Any) -> Any:
    async def wrong(self: Any, name: str) -> Any:
        own = self.state.timers[name]
        await sound(self, name)
        return own

    return wrong


def _with(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Changes the correct result."""
    return lambda sound: lambda *args, **more: change(sound(*args, **more))


def _with_async(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def mutate(sound: Any) -> Any:
        async def wrong(*args: Any, **more: Any) -> Any:
            return change(await sound(*args, **more))

        return wrong

    return mutate


def _seen_as(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Changes the first argument."""
    return lambda sound: lambda first, *args, **more: sound(change(first), *args, **more)


def _counted_twice(patch: Any) -> Any:
    return patch | ({"retries": patch["retries"] + 1} if patch.get("phase") == "Pending" else {})


def _approved(verdict: Any) -> Any:
    return verdict and dataclasses.replace(verdict, phase=Phase.SUCCEEDED)


def _finally_first(sound: Any) -> Any:
    async def wrong(self: Any, ending: Any) -> None:
        await self.finish()
        await sound(self, ending)

    return wrong


def _once(sound: Any) -> Any:
    async def wrong(self: Any, number: int, child: Any, previous: Any) -> Any:
        call = self._call
        self._call = dataclasses.replace(call, most=max(number + 1, call.most), until="{{ ge iteration 1 }}")
        return await sound(self, number, child, previous)

    return wrong


def _unbound(sound: Any) -> Any:
    return lambda self, context, branches, bound, runner: sound(self, context, branches, 1000, runner)


def _unannounced(found: Any) -> Any:
    return dataclasses.replace(found, announce_first=False) if isinstance(found, outcome.Start) else found


def _turned_round(age: tuple[str, str]) -> tuple[str, str]:
    created, name = age
    return created, "".join(chr(0x10FFFF - ord(letter)) for letter in (name + "~"))


def _unstopped(end: Any) -> Any:
    return dataclasses.replace(end, ends_run=None)


HALF_A_SECOND: Final = timedelta(seconds=0.5)
PAST: Final = "2020-01-01T00:00:00Z"

_TABLE: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("needs are not waited for", ("diamond with data",), readiness, "_completed", _always(True)),
    ("a failed need is as good as any", ("failure skips spread",), readiness, "has_failed", _always(False)),
    ("allowFailure is ignored", ("allowed failure",), readiness, "has_failed",
     lambda sound: lambda name, phases, rules: name in phases and phases[name].failing),
    ("if is not asked", ("skipped by if",), life, "settle_condition", _with_async(lambda _: Settled(True))),
    ("a Pod that is still ending is overlooked", ("Job deleted by hand",), model_jobs, "_any_alive",
     _always(False)),
    ("retries do not wait", ("retries until success",), outcome, "_start",
     lambda sound: lambda status, phase, now: sound({**status, "nextRetryAt": None}, phase, now)),
    ("a retry ends the Job that another leader has made for it", ("retry of two leaders",),
     ModelJobExecutor, "stop", _stopped_instead(StopReason.SUPERSEDED, StopReason.END)),
    ("every failure is retried", ("failures of two sorts",), RetryPolicy, "covers", _always(True)),
    ("exit codes in retryOn are overlooked", ("failures of two sorts",), RetryPolicy, "covers",
     lambda sound: lambda policy, failure: sound(policy, dataclasses.replace(failure, exit_code=None))),
    ("retries are counted twice", ("retries until success",), record, "retry_patch", _with(_counted_twice)),
    ("the instant of a retry is not stored", ("retries until success",), record, "retry_patch",
     _with(lambda patch: patch | {"nextRetryAt": None})),
    ("Running is not stored before a retry starts", ("fast retry",), outcome, "_start",
     _with(_unannounced)),
    ("the word of the SDK is taken for a result", ("checked", "one step"), record, "is_final",
     lambda sound: lambda status: bool(status.get("phase")) and Phase(status["phase"]).terminal),
    ("outputs are not checked", ("checked",), results, "why_not_successful", _never_async),
    ("the deadline of a step is ignored", ("step timeout with a slow Pod",), outcome, "decide",
     _seen_as(lambda seen: dataclasses.replace(seen, deadline_at=None))),
    ("a cancel is not heard", ("cancel while running",), scope.StoryRunScope, "_end_early", _always(None)),
    ("canceled steps are not told", ("cancel while running",), drain, "_signal", _never_async),
    ("the end of a story's time is not seen", ("story timeout",), execution.RunExecution, "_watch_story_timeout",
     _never_async),
    ("finally does not run", ("clean-up",), cleanup.Cleanup, "finish", _never_async),
    ("finally runs before compensations", ("clean-up",), cleanup.Cleanup, "compensate", _finally_first),
    ("compensations always run", ("clean-up after success",), cleanup, "failed_steps", _always(("a",))),
    ("a rejected gate opens", ("gate",), gate, "_decision", _with_async(_approved)),
    ("gates and waits have no end", ("gate in time", "wait"), Waiting, "of",
     _with(lambda found: dataclasses.replace(found, timeout=None))),
    ("branches are not bounded", ("branches",), parallel._Branches, "__init__", _unbound),
    ("a failed branch does not count", ("branches",), parallel, "_verdict",
     _with(lambda verdict: dataclasses.replace(verdict, phase=Phase.SUCCEEDED))),
    ("slots are not waited for", ("one at a time",), slots.Slots, "acquire", _true_async),
    ("turns are not waited for", ("one run after the other",), ConcurrencyLimiter, "wait", _true_async),
    ("the youngest goes first", ("one run after the other",), rules, "age_of", _with(_turned_round)),
    ("participants share their turns", ("one run of each participant",), rules, "shared_by", _always("story")),
    ("the newest does not cancel the one before", ("the newest run",), ConcurrencyLimiter, "_cancel", _never_async),
    ("who runs again takes no turn", ("run again from b in turn",), RunState, "from_stored",
     _with(lambda found: dataclasses.replace(found, attempts=0))),
    ("a loop ends after its first turn", ("loop",), story._Children, "_after", _once),
    ("a redrive keeps what was done", ("run again",), redrive.Redrive, "_clear", _never_async),
    ("a redrive from a step runs everything", ("run again from b",), redrive, "steps_to_run_again",
     _always(frozenset({"a", "b"}))),
    ("failures are not counted", ("fail fast",), RunState, "_fields",
     _with(lambda fields: fields | {"stepsFailed": 0})),
    ("a success ends before it began", ("one step",), record, "success_patch",
     _with(lambda patch: patch | {"finishedAt": PAST})),
    ("failures have no words", ("step timeout with a slow Pod",), record, "failure_patch",
     _with(lambda patch: patch | {"lastFailureMsg": ""})),
    ("messages are not cut", ("fail fast",), state, "truncated", _with(lambda text: text + "x" * 4000)),
    ("decisions on gates are taken away", ("gate",), RunState, "status_patch",
     _with(lambda patch: patch and {**patch, "gates": None})),
    ("outputs are seen while they are written", ("diamond with data",), variables, "_outputs", _always({})),
    ("stop is only a word", ("stop ends the run",), stop, "run", _with_async(_unstopped)),
    ("a restart forgets that the compensations were stopped", ("stop among the compensations",), execution,
     "recorded_stop", _always(None)),
    ("what the Story does not speak of goes on", ("another Story",), Begun, "astray", _always(())),
    ("what another leader has ended goes on", ("cancel that one of two leaders hears late",), execution,
    "end_orphans",
     _never_async),
    ("what lies in storage is not looked into", ("data in storage",), stored_data, "has_reference", _always(False)),
    ("called runs are not canceled", ("canceled child",), termination, "cancel_child", _never_async),
    ("wake-ups are lost", ("gate",), scope.StoryRunScope, "wake", _always(None)),
    ("sleepers wake at once", ("sleep between steps", "gate in time"), WallClock, "sleep_until", _at_once),
    ("waiters wake at once", ("gate in time", "retries until success"), WallClock, "wait_until", _at_once),
    ("sleepers wake late", ("sleep between steps",), WallClock, "sleep_until", _late),
    ("gates close late", ("gate in time",), WallClock, "wait_until", _late),
    ("retries come late", ("retries until success",), WallClock, "wait_until", _late),
    ("a step's time ends late", ("step timeout with a slow Pod",), WallClock, "wait_until", _late),
    ("a story's time ends late", ("story timeout",), WallClock, "sleep_until", _late),
    ("what is decided is stored late", ("sleep between steps", "gate in time"), writer.StatusWriter, "_linger",
     _stored_late),
    ("steps that have started keep their turn to start", ("diamond with data",), engram_steps, "start_turn",
     _turn_kept),
    ("slots are given back late", ("one at a time",), slots.Slots, "release", _given_back_late),
    ("a gate says every second how long it waits", ("gate in time",), gate, "run", _talkative),
    ("of two leaders each sleeps until its own instant", ("sleep of two leaders",), writer.StatusWriter, "stored_timer",
     _own_timer),
    ("timers are forgotten by a restart", ("sleep between steps",), RunState, "from_stored",
     _with(lambda found: dataclasses.replace(found, timers=None))),
)  # fmt: skip

MUTANTS: Final = (
    *(
        Mutant(name, hunted, ((holder, attribute, mutate),))
        for name, hunted, holder, attribute, mutate in (
            *_TABLE,
            *retention_cases.BUGS,
            *handover_cases.BUGS,
            *definition_cases.BUGS,
            *storage_cases.BUGS,
            *stream_cases.BUGS,
            *trigger_cases.BUGS,
            *effect_cases.BUGS,
        )
    ),
    *(
        Mutant(*bug)
        for bug in (*executor_cases.BUGS, *stream_cases.BUGS_IN_SEVERAL_PLACES, *effect_cases.BUGS_WITHOUT_ADMISSION)
    ),
)
