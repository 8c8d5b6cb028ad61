"""A cluster, a worker and one engine process after another, under one virtual clock.

A process is started with ``start`` and ended by ``kill`` (ports dead first, then cancelled) or ``stop`` (cancelled
only, as on SIGTERM). Watch events reach it through a ``Delivery``, which may delay, repeat or lose them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import trio
import trio.testing

from core.engine.context import EngineContext
from core.engine.errors import PortError
from core.engine.ports import RunKey
from core.engine.settings import EngineSettings
from core.engine.supervisor import Supervisor
from fuzz.engine.adapters import (
    Engram,
    Fault,
    Killed,
    ModelRunStore,
    ModelStepExecutor,
    Process,
    RecordedEvents,
    virtual_clock,
)
from fuzz.engine.cluster import Cluster, Object, Write
from fuzz.engine.evaluator import PathEvaluator
from fuzz.engine.worker import Script, Worker

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACE = "default"
LONGEST_SECONDS = 4 * 3600.0
"""A run that has not ended after this virtual time never will."""
RELIST_SECONDS = 300.0

_process: ContextVar[Process | None] = ContextVar("process of the engine", default=None)


class Delivery(StrEnum):
    """What happens to one watch event."""

    NOW = "now"
    TWICE = "twice"
    LATE = "late"
    LOST = "lost"
    """Until the next relist."""


@dataclass
class World:
    nursery: trio.Nursery
    cluster: Cluster
    worker: Worker
    engrams: dict[str, Engram]
    settings: EngineSettings
    deliveries: Mapping[int, Delivery]
    clock_steps: list[tuple[float, timedelta]] = field(default_factory=list)
    """From when (Trio time) the wall clock is how far from where it would be."""
    events: RecordedEvents = field(default_factory=RecordedEvents)
    crashes: list[BaseException] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    supervisor: Supervisor | None = None
    twins: list[Any] = field(default_factory=list)
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _gone: trio.Event = field(default_factory=trio.Event)
    _events_seen: int = 0
    _late: Any = None

    # The user.

    def add_story(self, name: str, spec: Object) -> None:
        manifest = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": spec}
        self.cluster.create("user", manifest | {"metadata": {"name": name, "namespace": NAMESPACE}})

    def add_run(self, name: str, story: str, **spec: Any) -> RunKey:
        manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun"}
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"storyRef": {"name": story}, **spec}}
        self.cluster.create("user", manifest | body)
        return RunKey(NAMESPACE, name)

    def cancel_run(self, key: RunKey) -> None:
        self.cluster.force_patch("user", ("StoryRun", *key), "spec", {"cancelRequested": True})

    def run(self, key: RunKey) -> Object:
        stored = self.cluster.get("StoryRun", *key)
        assert stored is not None
        return stored

    def status(self, key: RunKey) -> Object:
        return dict(self.run(key).get("status") or {})

    def phases(self, key: RunKey) -> dict[str, str]:
        return {name: state["phase"] for name, state in (self.status(key).get("stepStates") or {}).items()}

    def step_run(self, key: RunKey, step: str) -> Object | None:
        return self.cluster.get("StepRun", NAMESPACE, f"{key.name}-{step}")

    # The process.

    def start(self, *keys: RunKey, faults: Mapping[int, Fault] | None = None, latency: float = 0.0) -> Process:
        """A new process that takes up these runs."""
        process = Process(len(self.processes), faults or {}, latency_seconds=latency)
        self.processes.append(process)
        engine = EngineContext(
            runs=ModelRunStore(self.cluster, process),
            executor=ModelStepExecutor(self.cluster, process, self.worker, self.engrams),
            evaluator=PathEvaluator(),
            events=self.events,
            clock=virtual_clock(EPOCH, self._clock_step),
            settings=self.settings,
        )
        self.supervisor = Supervisor(engine, lambda _key, error: self.crashes.append(error))
        self._scope, self._gone = trio.CancelScope(), trio.Event()
        token = _process.set(process)
        self.nursery.start_soon(self._process_body, self.supervisor, self._scope, self._gone)
        _process.reset(token)
        for key in keys:
            self.supervisor.adopt(key)
        if faults or latency:
            self.nursery.start_soon(self._deliver_abandoned_requests, process)
        return process

    def start_twin(self, key: RunKey) -> None:
        """A second process beside the one that ``start`` will start: what a broken leader election leads to."""
        twin, before = self.start(key), self.supervisor
        assert before is not None
        self.twins.append((twin, self._scope, self._gone, before))
        self.processes.clear()

    async def _process_body(self, supervisor: Supervisor, scope: trio.CancelScope, gone: trio.Event) -> None:
        try:
            with scope:
                await supervisor.run()
        except* Killed:
            pass
        finally:
            gone.set()

    def kill_nowait(self) -> None:
        self.processes[-1].dead = True
        self._scope.cancel()

    async def kill(self) -> None:
        """End the process between two of its steps; nothing it does afterwards reaches the world."""
        self.kill_nowait()
        await self.gone()

    async def stop(self) -> None:
        assert self.supervisor is not None
        await self.supervisor.drain()
        await self.gone()

    async def gone(self) -> None:
        """Return when no task of the process is left; a task that does not let go is a failure, not a hang."""
        with trio.fail_after(LONGEST_SECONDS):
            await self._gone.wait()

    # Watch events.

    def _route(self, write: Write) -> None:
        number, self._events_seen = self._events_seen, self._events_seen + 1
        match self.deliveries.get(number, Delivery.NOW):
            case Delivery.NOW:
                self._deliver(write)
            case Delivery.TWICE:
                self._deliver(write)
                self._deliver(write)
            case Delivery.LATE:
                self._late.send_nowait(write)
            case Delivery.LOST:
                pass

    def _deliver(self, write: Write) -> None:
        for supervisor in (self.supervisor, *(twin[3] for twin in self.twins)):
            if supervisor is not None:
                self._wake(supervisor, write)

    def _wake(self, supervisor: Supervisor, write: Write) -> None:
        kind, namespace, name = write.place
        object_ = write.new or write.old
        match kind:
            case "StoryRun":
                supervisor.wake(RunKey(namespace, name))
            case "StepRun" if object_ is not None:
                key = RunKey(namespace, object_["spec"]["storyRunRef"]["name"])
                supervisor.wake(key, object_["spec"]["stepId"])
            case "Job" if object_ is not None:
                supervisor.wake(self._run_of_job(name), object_["spec"]["step"])
            case "Job" | "Story":
                self.relist()

    def _run_of_job(self, name: str) -> RunKey:
        runs = (place[2] for place in self.cluster.objects if place[0] == "StoryRun")
        return RunKey(NAMESPACE, next((run for run in runs if name.startswith(run)), ""))

    def relist(self) -> None:
        """What an informer does after a gap: everything is announced again."""
        for supervisor in (self.supervisor, *(twin[3] for twin in self.twins)):
            for kind, namespace, name in list(self.cluster.objects):
                if kind == "StoryRun" and supervisor is not None:
                    supervisor.wake(RunKey(namespace, name))

    async def _deliver_late(self, receive: trio.MemoryReceiveChannel[Write]) -> None:
        async for write in receive:
            await trio.sleep(0.7)
            self._deliver(write)

    async def _deliver_abandoned_requests(self, process: Process) -> None:
        """A request does not vanish because its sender lost interest; it comes through when least expected."""
        while not process.dead:
            await trio.sleep(1.9)
            while process.on_the_wire:
                with suppress(PortError):
                    process.on_the_wire.pop(0)()

    async def _relist_for_ever(self) -> None:
        while True:
            await trio.sleep(RELIST_SECONDS)
            self.relist()

    def _clock_step(self) -> timedelta:
        now = trio.current_time()
        return next((step for since, step in reversed(self.clock_steps) if now >= since), timedelta())

    # Waiting.

    async def until(self, predicate: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> bool:
        """Whether ``predicate`` came true within ``seconds``; it is looked at after every write."""
        if predicate():
            return True
        changed = trio.Event()

        def look(write: Write) -> None:
            if predicate():
                changed.set()

        self.cluster.listeners.append(look)
        try:
            with trio.move_on_after(seconds):
                await changed.wait()
        finally:
            self.cluster.listeners.remove(look)
        return changed.is_set()

    async def until_ended(self, *keys: RunKey, seconds: float = LONGEST_SECONDS) -> bool:
        return await self.until(lambda: all(self.status(key).get("finishedAt") for key in keys), seconds)

    async def quiet(self) -> None:
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def open_world(
    scripts: Mapping[str, tuple[Script, ...]] | None = None,
    *,
    engrams: Mapping[str, Engram] | None = None,
    settings: EngineSettings | None = None,
    deliveries: Mapping[int, Delivery] | None = None,
) -> AsyncIterator[World]:
    """A world for one test; its clock is Trio's, which should be a mock clock. Leaving it kills what still runs."""
    cluster = Cluster(lambda: EPOCH + timedelta(seconds=trio.current_time()))
    worker = Worker(cluster, scripts or {})
    async with trio.open_nursery() as nursery:
        world = World(
            nursery,
            cluster,
            worker,
            dict({"work": Engram()} if engrams is None else engrams),
            settings or EngineSettings(jitter=lambda: 0.0),
            deliveries or {},
        )
        send, receive = trio.open_memory_channel[Write](10_000)
        world._late = send
        cluster.listeners += [worker.see, world._route]
        nursery.start_soon(worker.run)
        nursery.start_soon(world._deliver_late, receive)
        if Delivery.LOST in world.deliveries.values():
            nursery.start_soon(world._relist_for_ever)
        yield world
        if world.processes:
            world.kill_nowait()
            await world.gone()
        for process, scope, gone, _ in world.twins:
            process.dead = True
            scope.cancel()
            await gone.wait()
        nursery.cancel_scope.cancel()


class KillAt(trio.abc.Instrument):
    """Kills the process of ``world`` before its ``number``-th task step, counted over all its tasks; 0 only counts."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.steps = 0
        self.world: World | None = None
        self.process: Process | None = None
        self.fired = trio.Event()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        process = task.context.get(_process)
        if process is None or process is not self.process:
            return
        self.steps += 1
        if self.steps == self.number and self.world is not None:
            self.world.kill_nowait()
            self.fired.set()
