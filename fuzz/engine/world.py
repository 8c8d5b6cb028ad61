"""A cluster, a worker and one engine process after another, under one virtual clock.

``start`` starts a process. ``kill`` ends it (first its ports are dead, then it is cancelled), or ``stop`` (only
cancelled, as after SIGTERM). Its watch events come through ``watches``: late, twice, out of order or not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
import trio.testing

from bubu_contract.identity import compose
from core.api import keys
from core.api.objects import NamespacedName, Object
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.engine_context import EngineContext
from core.engine.errors import PortError
from core.engine.executors import Executors
from core.engine.run.supervisor import Supervisor
from core.engine.settings import EngineSettings
from core.engine.slots.queueing import SlotLimits
from core.engine.slots.slots import Slots
from core.fairness.turns import Turns
from core.policy.settings import OperatorSettings
from fuzz.engine.adapters import Engram, ModelBindings, ModelRunStore, ModelStepRuns
from fuzz.engine.clients.fate import Fates
from fuzz.engine.clients.population import Clients
from fuzz.engine.cluster import Cluster, RefusedError, Write
from fuzz.engine.definitions import apply_engram, apply_template
from fuzz.engine.evaluator import PathEvaluator
from fuzz.engine.housekeeping import Housekeeping
from fuzz.engine.incarnation import Incarnation
from fuzz.engine.model_hub import BINDING, ModelHub
from fuzz.engine.model_jobs import ModelJobExecutor
from fuzz.engine.model_streams import ModelStreamExecutor
from fuzz.engine.model_workers import ModelWorkerExecutor
from fuzz.engine.process import Fault, Killed, Process
from fuzz.engine.routing import Router
from fuzz.engine.shards import FIRST_SHARD, Shard, Shards
from fuzz.engine.stored import ModelPayloads
from fuzz.engine.stream_workers import WORKLOAD, StreamWorkers
from fuzz.engine.surroundings import RecordedEvents, virtual_clock
from fuzz.engine.warm_workers import WarmWorkers
from fuzz.engine.watches import Delivery, Known, Watches
from fuzz.engine.worker import Script, Worker

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACE = "default"
LONGEST_SECONDS = 4 * 3600.0
"""A run that has not ended after this virtual time will never end."""
RELIST_SECONDS = 300.0
ABANDONED_SECONDS = 1.9
"""The time that a request of a cancelled caller takes to the server."""

current_process: ContextVar[Process | None] = ContextVar("process of the engine", default=None)
"""The process that a task belongs to."""


GARBAGE_SECONDS = 0.3
STARTS_AT_ONCE = 2
"""Fewer than in an operator, so that steps of one run wait for each other."""
"""The time until an object without an owner is removed."""


@dataclass
class World:
    nursery: trio.Nursery
    cluster: Cluster
    worker: Worker
    warm: WarmWorkers
    hub: ModelHub
    streams: StreamWorkers
    engrams: dict[str, Engram]
    settings: EngineSettings
    deliveries: Mapping[int, Delivery]
    evaluator: Any = field(default_factory=PathEvaluator)
    slots: Slots | None = None
    """The slots of the newest process."""
    limits: SlotLimits = field(default_factory=SlotLimits)
    """The limits of running engram steps; assign another value to change them."""
    house: OperatorSettings | None = None
    """The settings for the controllers of production around the engine. Without them, only the model's own routing
    works: it hands runs over and wakes them, but neither annotates nor deletes them.
    """
    clients: Clients | None = None
    """The clients with the SDK, if there are any."""
    clock_steps: list[tuple[float, timedelta]] = field(default_factory=list)
    """The offsets of the wall clock, each with the time of Trio's clock from which on it applies."""
    events: RecordedEvents = field(default_factory=RecordedEvents)
    crashes: list[BaseException] = field(default_factory=list)
    downtime: float = 0.0
    """Seconds between the death of a process by an action and the start of the next one."""
    lags: Mapping[str, float] = field(default_factory=dict)
    second_lags: Mapping[str, float] = field(default_factory=dict)
    """The lags of a process that works beside another."""
    processes: list[Process] = field(default_factory=list)
    incarnations: list[Incarnation] = field(default_factory=list)
    """All processes so far; the last one is the one that ``start`` started last."""
    twins: list[Incarnation] = field(default_factory=list)
    shards: Shards = field(init=False)
    latency: float = 0.0
    """Seconds of each request, in each direction, for a process to which runs are handed over."""
    handed_over: list[float] = field(default_factory=list)
    """The times at which a process started to work for a run that another process had owned."""
    _epochs: int = 0
    _doomed: trio.Event = field(default_factory=trio.Event)
    _server_is_back: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.shards = Shards(lambda: self.cluster.newest, trio.current_time)

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of the process that ``start`` started last."""
        return self.incarnations[-1].supervisor

    # The user.

    def add_story(self, name: str, spec: Object) -> None:
        manifest = {"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": spec}
        self.cluster.create("user", manifest | {"metadata": {"name": name, "namespace": NAMESPACE}})

    def add_run(self, name: str, story: str, reuse_from: str = "", **spec: Any) -> NamespacedName:
        """``reuse_from``: name of the run whose outputs it may take."""
        manifest = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun"}
        metadata: Object = {"name": name, "namespace": NAMESPACE}
        if reuse_from:
            metadata["annotations"] = {keys.ANNOTATION_CACHE_REUSE: reuse_from}
        self.cluster.create("user", manifest | {"metadata": metadata, "spec": {"storyRef": {"name": story}, **spec}})
        return NamespacedName(NAMESPACE, name)

    def cancel_run(self, key: NamespacedName) -> None:
        self.cluster.force_patch("user", ("StoryRun", *key), "spec", {"cancelRequested": True})

    def approve(
        self,
        key: NamespacedName,
        gate: str,
        state: str = "Approved",
        message: str = "",
        data: Mapping[str, str] | None = None,
    ) -> None:
        """Decide a gate, as ``kubectl patch --subresource status`` does; ``gate`` is its full name."""
        decision: Object = {"state": state} | ({"message": message} if message else {})
        decision |= {"data": dict(data)} if data else {}
        self.cluster.force_patch("user", ("StoryRun", *key), "status", {"gates": {gate: decision}})

    def redrive(self, key: NamespacedName, token: str) -> None:
        self._annotate(key, keys.ANNOTATION_REDRIVE_TOKEN, token)

    def redrive_from(self, key: NamespacedName, step: str, token: str) -> None:
        self._annotate(key, keys.ANNOTATION_REDRIVE_FROM_STEP, f"{step}:{token}")

    def _annotate(self, key: NamespacedName, annotation: str, value: str) -> None:
        self.cluster.force_patch("user", ("StoryRun", *key), "metadata", {"annotations": {annotation: value}})

    def edit_story(self, name: str, spec: Object) -> None:
        """Replace the spec of a Story."""
        place = ("Story", NAMESPACE, name)
        old = self.cluster.objects[place]["spec"]
        self.cluster.force_patch("user", place, "spec", dict.fromkeys(old) | spec)

    def bind(self, executor: str) -> None:
        """Bind every Engram to this executor from now on."""
        for name, engram in self.engrams.items():
            self.engrams[name] = replace(engram, executor=executor)

    def delete_story(self, name: str) -> None:
        self.cluster.delete("user", ("Story", NAMESPACE, name))

    def delete_revisions(self) -> None:
        for place in [place for place in self.cluster.objects if place[0] == "ControllerRevision"]:
            self.cluster.delete("user", place)

    def delete_run(self, key: NamespacedName) -> None:
        self.cluster.delete("user", ("StoryRun", *key))

    def delete_step_run(self, key: NamespacedName, step: str) -> None:
        self.cluster.delete("user", ("StepRun", *of_step(key, step)))

    def delete_job(self, key: NamespacedName, step: str) -> None:
        """The Job of a step, or the workload of a realtime one."""
        for kind in ("Job", WORKLOAD):
            self.cluster.delete("user", (kind, *of_step(key, step)))

    def terminate_topology(self, key: NamespacedName) -> None:
        """Record, as another program than the operator, that the streams of a run are to end."""
        conditions = [one for one in self.status(key).get("conditions") or () if one["type"] != "Degraded"]
        at = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        degraded = {"type": "Degraded", "status": "True", "reason": "TopologyTerminated", "lastTransitionTime": at}
        self.cluster.force_patch("user", ("StoryRun", *key), "status", {"conditions": [*conditions, degraded]})

    def run(self, key: NamespacedName) -> Object:
        stored = self.cluster.get("StoryRun", *key)
        assert stored is not None
        return stored

    def status(self, key: NamespacedName) -> Object:
        return dict(self.run(key).get("status") or {})

    def phases(self, key: NamespacedName) -> dict[str, str]:
        return {name: state["phase"] for name, state in (self.status(key).get("stepStates") or {}).items()}

    def step_run(self, key: NamespacedName, step: str) -> Object | None:
        return self.cluster.get("StepRun", *of_step(key, step))

    def child_run(self, key: NamespacedName, step: str, iteration: int | None = None) -> Object | None:
        """The run that a step of ``key`` started; for a loop, the run of that iteration."""
        parts = step.split("/") + ([str(iteration)] if iteration else [])
        return self.cluster.get("StoryRun", NAMESPACE, compose(key.name, *parts))

    # The process.

    def start(
        self,
        *keys: NamespacedName,
        faults: Mapping[int, Fault] | None = None,
        latency: float = 0.0,
        everything: bool = False,
        second: bool = False,
        shard: int = FIRST_SHARD,
    ) -> Process:
        """Start a process that adopts these runs, or all runs, and the child runs of these.

        ``second``: it works beside another process. It adopts only those of these runs that its shard owns.
        """
        owned = Shard(self.shards, shard)
        process = Process(self._epochs, faults or {}, latency_seconds=latency, ownership=owned)
        self._epochs += 1
        self.processes.append(process)
        clock = virtual_clock(EPOCH, self._clock_step)
        runs, step_runs = ModelRunStore(self.cluster, process), ModelStepRuns(self.cluster, process)
        slots = self.slots = Slots(lambda: self.limits, clock)
        limiter = ConcurrencyLimiter(runs)
        warm = ModelWorkerExecutor(process, step_runs, self.warm)
        engine = EngineContext(
            runs=runs,
            step_runs=step_runs,
            bindings=ModelBindings(self.cluster, process, self.engrams),
            executors=Executors(
                (
                    ModelJobExecutor(self.cluster, process, step_runs),
                    warm,
                    ModelStreamExecutor(self.cluster, process, step_runs, self.hub),
                )
            ),
            evaluator=self.evaluator,
            payloads=ModelPayloads(self.cluster, process),
            events=self.events,
            clock=clock,
            settings=self.settings,
            slots=slots,
            concurrency=limiter,
            ownership=owned,
            starts=Turns(STARTS_AT_ONCE),
        )
        supervisor = Supervisor(engine, lambda _key, error: self.crashes.append(error))
        warm.wake = supervisor.wake
        self.warm.introduce(warm)
        house: Housekeeping | None = None
        if self.house is None:
            router = Router(supervisor, None if everything else set(keys), limiter.ended, engine.awaited)
            process.known = router.known = Known(router.tell)
        else:
            settings, crashed = self._house_settings, self.crashes.append
            with_clients = self.clients is not None
            house = Housekeeping(self.cluster, process, supervisor, engine, settings, crashed, with_clients)
        lags = self.second_lags if second else self.lags
        watches = Watches(self.cluster, process.known, self.nursery, self.deliveries, lags)
        process.known.also.append(warm.tell)
        incarnation = Incarnation(process, supervisor, watches, house, trio.current_time(), shard)
        self.incarnations.append(incarnation)
        token = current_process.set(process)
        self.nursery.start_soon(self._process_body, incarnation)
        current_process.reset(token)
        watches.open()
        if self.cluster.down:
            watches.cut()
        for key in keys if house is None else ():
            supervisor.adopt(key)
        if faults or latency:
            self.nursery.start_soon(self._deliver_abandoned_requests, process)
        return process

    def start_twin(self, key: NamespacedName) -> None:
        """Start a second process beside the one that ``start`` will start, as a broken leader election would."""
        self.start(key, second=True)
        self.twins.append(self.incarnations[-1])
        self.processes.clear()

    def start_beside(self, shard: int = FIRST_SHARD) -> Incarnation:
        """Start another process that works beside the newest one and does not count as the newest."""
        self.start(everything=True, second=True, shard=shard, latency=0.0 if shard == FIRST_SHARD else self.latency)
        beside = self.incarnations.pop()
        self.incarnations.insert(max(len(self.incarnations) - 1, 0), beside)
        self.processes.remove(beside.process)
        return beside

    def at_work_for(self, shard: int) -> list[Incarnation]:
        """The living processes of a shard."""
        return [one for one in self.alive if one.shard == shard]

    async def _process_body(self, incarnation: Incarnation) -> None:
        try:
            with incarnation.scope:
                if incarnation.house is None:
                    await incarnation.supervisor.run()
                else:
                    await _keep_house(incarnation.supervisor, incarnation.house)
        except* Killed:
            pass
        finally:
            incarnation.watches.close()
            incarnation.gone.set()

    def kill_nowait(self) -> None:
        self.end(self.incarnations[-1])

    @staticmethod
    def end(incarnation: Incarnation) -> None:
        """Kill a process; ``kill_nowait`` kills the newest one."""
        incarnation.process.dead = True
        incarnation.watches.close()
        incarnation.scope.cancel()

    async def kill(self) -> None:
        """Kill the process between two of its task steps; after that it has no effect outside."""
        self.kill_nowait()
        await self.gone()

    async def stop(self) -> None:
        await self.supervisor.drain()
        await self.gone()

    async def gone(self) -> None:
        """Return when no task of the process is left; a task that does not end is a failure, not a hang."""
        with trio.fail_after(LONGEST_SECONDS):
            await self.incarnations[-1].gone.wait()

    @property
    def alive(self) -> list[Incarnation]:
        """The processes that are running."""
        return [one for one in self.incarnations if not one.process.dead and not one.gone.is_set()]

    def give_up(self) -> None:
        """A loop runs without time passing: end all processes."""
        for one in self.alive:
            self.end(one)
        self.nursery.cancel_scope.cancel()

    # The server.

    def take_server_down(self) -> None:
        """The server answers no request, and every watch is cut."""
        self.cluster.down = True
        self._server_is_back = trio.Event()
        for one in self.alive:
            one.watches.cut()

    def bring_server_up(self, *, forgetful: bool = False) -> None:
        """The server answers again. If it is ``forgetful``, it has lost the history for watches, so they list again."""
        self.cluster.down = False
        self._server_is_back.set()
        if forgetful:
            self.cluster.forget_history()
        for one in self.alive:
            one.watches.resume()

    async def until_server_up(self) -> None:
        while self.cluster.down:
            await self._server_is_back.wait()

    def relist(self) -> None:
        """Relist, as an informer does after a gap: each object that differs from the cache is announced."""
        for one in self.alive:
            one.watches.list_anew()

    def heal(self) -> None:
        """End all faults, and deliver what was lost."""
        if self.cluster.down:
            self.bring_server_up()
        self.deliveries, self.lags, self.second_lags = {}, {}, {}
        if self.clients is not None:
            self.clients.fates.healed = True
        for one in self.alive:
            one.process.healed = True
            one.watches.deliveries, one.watches.lags = {}, {}
        self.relist()

    async def _deliver_abandoned_requests(self, process: Process) -> None:
        """Deliver requests whose caller was cancelled: they still arrive, a while later."""
        while True:
            await process.abandoned.wait()
            process.abandoned = trio.Event()
            await trio.sleep(ABANDONED_SECONDS)
            while process.on_the_wire and not process.dead:
                with suppress(PortError, RefusedError):
                    process.on_the_wire.pop(0)()

    async def _relist_for_ever(self) -> None:
        while True:
            await trio.sleep(RELIST_SECONDS)
            self.relist()

    def hub_changed(self) -> None:
        """Wake the runs that have streams, in all processes, as ``Operator.hub_changed`` does."""
        bindings = [(place, obj) for place, obj in self.cluster.objects.items() if place[0] == BINDING]
        for run in dict.fromkeys(NamespacedName(place[1], obj["spec"]["run"]) for place, obj in bindings):
            for one in self.alive:
                one.supervisor.wake(run)

    def _see_doomed(self, write: Write) -> None:
        if write.verb == "create" and write.new is not None and write.new["metadata"].get("ownerReferences"):
            self._doomed.set()

    async def _collect_garbage(self) -> None:
        while True:
            await self._doomed.wait()
            self._doomed = trio.Event()
            if self.cluster.doomed:
                await trio.sleep(GARBAGE_SECONDS)
                self.cluster.collect_garbage()

    def _house_settings(self) -> OperatorSettings:
        assert self.house is not None
        return self.house

    def _clock_step(self) -> timedelta:
        now = trio.current_time()
        return next((step for since, step in reversed(self.clock_steps) if now >= since), timedelta())

    def add_clients(self, fates: Fates) -> Clients:
        """From now on, clients with the SDK may work, and processes that are started later serve them."""
        self.clients = Clients(self.cluster, self.nursery, self.crashes.append, fates)
        self.worker.perform = self.clients.perform
        return self.clients

    # Waiting.

    async def until(self, predicate: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> bool:
        """Whether ``predicate`` became true within ``seconds``; it is evaluated after every write."""
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

    async def until_ended(self, *keys: NamespacedName, seconds: float = LONGEST_SECONDS) -> bool:
        return await self.until(lambda: all(self.status(key).get("finishedAt") for key in keys), seconds)

    async def quiet(self) -> None:
        await trio.testing.wait_all_tasks_blocked()


async def _keep_house(supervisor: Supervisor, house: Housekeeping) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.run)
        await supervisor.run()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_world(
    scripts: Mapping[str, tuple[Script, ...]] | None = None,
    *,
    engrams: Mapping[str, Engram] | None = None,
    settings: EngineSettings | None = None,
    deliveries: Mapping[int, Delivery] | None = None,
    lags: Mapping[str, float] | None = None,
    evaluator: Any = None,
) -> AsyncIterator[World]:
    """A world for one test; its clock is Trio's, which should be a mock clock. Its end kills all running processes."""
    cluster = Cluster(lambda: EPOCH + timedelta(seconds=trio.current_time()))
    worker = Worker(cluster, scripts or {})
    warm = WarmWorkers(cluster, worker)
    worker.elsewhere = warm.is_at_work
    hub = ModelHub(cluster)
    streams = StreamWorkers(cluster, worker, hub)
    async with trio.open_nursery() as nursery:
        world = World(
            nursery,
            cluster,
            worker,
            warm,
            hub,
            streams,
            dict({"work": Engram()} if engrams is None else engrams),
            settings or EngineSettings(jitter=lambda: 0.0),
            deliveries or {},
            evaluator or PathEvaluator(),
            lags=lags or {},
        )
        apply_template(cluster)
        for name in world.engrams:
            apply_engram(cluster, name)
        hub.nursery = nursery
        hub.listeners.append(world.hub_changed)
        cluster.listeners += [worker.see, warm.see, hub.see, streams.see, world._see_doomed]
        nursery.start_soon(worker.run)
        nursery.start_soon(warm.run)
        nursery.start_soon(streams.run)
        nursery.start_soon(world._collect_garbage)
        if Delivery.LOST in world.deliveries.values():
            nursery.start_soon(world._relist_for_ever)
        yield world
        for one in world.alive:
            world.end(one)
            await one.gone.wait()
        nursery.cancel_scope.cancel()


def of_step(key: NamespacedName, step: str) -> tuple[str, str]:
    """Namespace and name of a step's StepRun and Job, by the full name of the step."""
    return key.namespace, compose(key.name, *step.split("/"))
