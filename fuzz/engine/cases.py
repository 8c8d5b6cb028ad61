"""One Story with everything that happens to it, played to its end once, with or without crashes and faults.

``play`` is one execution: a fresh world under a mock clock. What it returns can be compared: times, UIDs and versions
are masked, so two executions of one case must be equal however often the process died in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from core.api.phases import Phase
from core.engine.plan import Refusal, parse_story
from fuzz.engine.adapters import Engram, Fault
from fuzz.engine.cluster import Object, Write
from fuzz.engine.watches import Delivery
from fuzz.engine.worker import Script
from fuzz.engine.world import KillAt, World, open_world

SETTLE_SECONDS = 3.0
"""After the end of a run: longer than any Pod's grace and lag."""


@dataclass(frozen=True)
class Case:
    """What the user declares and does, and what the containers do."""

    spec: Object
    scripts: Mapping[str, tuple[Script, ...]] = field(default_factory=dict)
    engrams: Mapping[str, Engram] = field(default_factory=lambda: {"work": Engram()}, repr=False)
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cancel_after_seconds: float | None = None
    story_after_seconds: float = 0.0


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: ``kills[i]`` is the task step before which process ``i`` dies; ``faults[i]`` are its calls'."""

    kills: Sequence[int] = ()
    faults: Sequence[Mapping[int, Fault]] = ()
    deliveries: Mapping[int, Delivery] = field(default_factory=dict)
    downtime_seconds: float = 0.0
    """Between the death of a process and the start of the next."""
    latency_seconds: float = 0.0
    """Of every call, each way."""
    twins: bool = False
    """Two processes at once, each believing to be alone; only the first is killed or meets faults."""

    @property
    def delays(self) -> bool:
        """Whether anything happens later than it would otherwise."""
        return bool(any(self.faults) or self.deliveries or self.downtime_seconds or self.latency_seconds)


@dataclass(frozen=True)
class Played:
    """How an execution ended."""

    case: Case
    trouble: Trouble
    ended: bool
    run: Object
    step_runs: Mapping[str, Object]
    history: Sequence[Write]
    ran: Sequence[tuple[str, int, str]]
    overlaps: Sequence[str]
    refused: Sequence[str]
    still_ending: Sequence[str]
    """StepRuns whose Job was deleted and whose Pod was alive at the moment the run ended."""
    still_alive: Sequence[str]
    crashes: Sequence[BaseException]
    events: Sequence[tuple[str, str, str]]
    task_steps: int
    calls: int
    ended_at_seconds: float

    @property
    def phase(self) -> str:
        return str((self.run.get("status") or {}).get("phase"))

    @property
    def operator_writes(self) -> list[Write]:
        return [write for write in self.history if write.actor.startswith("operator")]

    def end_state(self) -> Any:
        """Everything about the end that no crash may change."""
        status = self.run.get("status") or {}
        return {
            "run": _masked(status),
            "steps": {name: _masked(step_run.get("status") or {}) for name, step_run in self.step_runs.items()},
            "creates": Counter(_logical(write) for write in self.history if write.verb == "create"),
            "ran": Counter(self.ran),
        }

    def verdict(self) -> Any:
        """How the run ended, without how each step did."""
        return self.phase, [c["reason"] for c in (self.run.get("status") or {}).get("conditions", ())]

    def comparable_with(self, other: Played) -> bool:
        """Whether chance cannot have made the two different.

        A failure (fail-fast) or a ``stop`` ends other steps at the instant it happens; which of these had already
        started is then a matter of chance, and a crash or a delay may decide it otherwise.
        """
        return not (self._ends_others or other._ends_others)

    @property
    def _ends_others(self) -> bool:
        plan, status = plan_of(self.case), self.run.get("status") or {}
        if isinstance(plan, Refusal):
            return False
        failing = any(
            Phase(state["phase"]).failing and step not in plan.rules.allowed
            for step, state in (status.get("stepStates") or {}).items()
        )
        return (failing and not plan.rules.continue_on_failure) or self._stops > 0

    def verdict_comparable_with(self, other: Played) -> bool:
        """Whether chance cannot have changed how the run ended: nothing competes with a ``stop``."""
        return self._stops == 0 and other._stops == 0

    @property
    def _stops(self) -> int:
        return sum(step.get("type") == "stop" for step in self.case.spec["steps"])


def play(case: Case, trouble: Trouble | None = None, seed: int = 0) -> Played:
    """One execution. ``seed`` fixes the order in which Trio runs tasks that are ready at the same time."""
    trouble = trouble or Trouble()
    killer = KillAt()
    trio._core._run._r.seed(seed)  # Trio's own scheduler randomness: one seed is one run
    return trio.run(
        _play,
        case,
        trouble,
        killer,
        clock=trio.testing.MockClock(autojump_threshold=0),
        instruments=[killer],
    )


async def _play(case: Case, trouble: Trouble, killer: KillAt) -> Played:
    async with open_world(case.scripts, engrams=case.engrams, deliveries=trouble.deliveries) as world:
        killer.world = world
        if not case.story_after_seconds:
            world.add_story("story", case.spec)
        else:
            world.nursery.start_soon(_add_story_later, world, case)
        key = world.add_run("run", "story", inputs=dict(case.inputs))
        if case.cancel_after_seconds is not None:
            world.nursery.start_soon(_cancel_later, world, case, key)
        task_steps = calls = 0
        if trouble.twins:
            world.start_twin(key)
        for number in (*trouble.kills, 0):
            faults = trouble.faults[len(world.processes)] if len(world.processes) < len(trouble.faults) else {}
            killer.number, killer.steps, killer.fired = number, 0, trio.Event()
            killer.process = world.start(key, faults=faults, latency=trouble.latency_seconds)
            ended = await _until_ended_or_killed(world, key, killer)
            task_steps += killer.steps
            calls += killer.process.calls
            if not killer.fired.is_set():
                break
            await world.gone()
            await trio.sleep(trouble.downtime_seconds)
        ended_at = trio.current_time()
        ending = tuple(name for name in _alive(world) if ("Job", "default", name) not in world.cluster.objects)
        await trio.sleep(SETTLE_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        return Played(
            case=case,
            trouble=trouble,
            ended=ended,
            run=world.run(key),
            step_runs={found["spec"]["stepId"]: found for found in world.cluster.list("StepRun", "default")},
            history=tuple(world.cluster.history),
            ran=tuple(world.worker.ran),
            overlaps=tuple(world.worker.overlaps),
            refused=tuple(world.worker.refused),
            still_ending=ending,
            still_alive=_alive(world),
            crashes=tuple(world.crashes),
            events=tuple(world.events.told),
            task_steps=task_steps,
            calls=calls,
            ended_at_seconds=ended_at,
        )


def _alive(world: World) -> tuple[str, ...]:
    return tuple(place[2] for place, pods in world.worker.pods.items() if any(pod.alive for pod in pods))


async def _until_ended_or_killed(world: World, key: Any, killer: KillAt) -> bool:
    ended = False
    async with trio.open_nursery() as nursery:

        async def wait_for_kill() -> None:
            await killer.fired.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_for_kill)
        ended = await world.until_ended(key)
        nursery.cancel_scope.cancel()
    return ended and not killer.fired.is_set()


async def _add_story_later(world: World, case: Case) -> None:
    await trio.sleep(case.story_after_seconds)
    world.add_story("story", case.spec)


async def _cancel_later(world: World, case: Case, key: Any) -> None:
    assert case.cancel_after_seconds is not None
    await trio.sleep(case.cancel_after_seconds)
    world.cancel_run(key)


def plan_of(case: Case) -> Any:
    """The plan of the case's Story, or its refusal."""
    return parse_story({"metadata": {"name": "story", "namespace": "default"}, "spec": case.spec})


def _logical(write: Write) -> tuple[str, str]:
    """What a created object is, whatever incarnation: Pods are counted by the step they work for."""
    kind, _, name = write.place
    return kind, write.object["spec"]["stepRun"] if kind == "Pod" else name


_TIMES = ("startedAt", "finishedAt", "duration", "nextRetryAt", "lastOutputAt")


def _masked(status: Object) -> Object:
    kept = {key: value for key, value in status.items() if key not in _TIMES}
    kept["conditions"] = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions", ())]
    if "stepStates" in status:
        kept["stepStates"] = {
            # of two needs that failed at the same instant either may be named as the cause of a skip
            name: (state["phase"], state.get("message") if state["phase"] != "Skipped" else None)
            for name, state in status["stepStates"].items()
        }
    return kept
