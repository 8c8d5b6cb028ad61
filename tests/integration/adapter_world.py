"""The engine's ports on an API server that stores. No operator and no node interferes.

``wire`` is the adapters' own connection: it can lose an answer, or refuse a request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx
import orjson
import trio

from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, NAMESPACE, SECRET, SERVICE_ACCOUNT, STORY, STORY_RUN, Resource
from core.engine.executors import Executors
from core.engine.plan import StepPlan
from core.engine.ports import AttemptOrder, Observation
from core.engine.slots.scheduling import scheduling_of
from core.engine.step.manifest import step_run_manifest
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError
from core.policy.settings import OperatorSettings
from core.story.kinds import StepKind
from core.workloads.hub_access import HubAccess
from core.workloads.story_runner import story_runner
from kubewire import status_failure
from localcluster.server.cluster import open_api_server
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.binding_budget import BindingBudget
from reconcilers.adapters.job_executor import JobExecutor
from reconcilers.adapters.requested_rules import requested_rules
from reconcilers.adapters.run_store import KubeRunStore
from reconcilers.adapters.runner import RunnerAccess
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.stream_executor import StreamExecutor
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.stream import StreamReconciler
from tests.integration.api_access import ApiAccess, embedded
from tests.integration.clean_slate import ensure_namespace
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, install_definitions, open_emptied
from tests.unit.reconcilers.reconciler_samples import RecordedEvents
from tools.control_plane.session import SessionCluster

_DEADLINE = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Wire(httpx.AsyncBaseTransport):
    """Passes requests on and records them. It can lose one answer, and refuse one kind of request."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.lose_answer_to = ""
        self.refuse = ""
        self.reads: list[str] = []
        self.writes: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        name = f"{request.method} {request.url.path.rpartition('/')[2]}"
        (self.reads if request.method == "GET" else self.writes).append(name)
        if name == self.refuse:
            status = status_failure("ServiceUnavailable", "away for a moment")
            return httpx.Response(503, content=orjson.dumps(status))
        response = await self._inner.handle_async_request(request)
        if self.lose_answer_to in (request.method, name):
            self.lose_answer_to = ""
            await response.aread()
            raise httpx.ReadError("connection reset by peer", request=request)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class AdapterWorld:
    """``client`` is an administrator, separate from the adapters. ``executor`` and ``world`` belong to the adapters."""

    access: ApiAccess
    client: KubeClient
    wire: Wire
    wired: KubeClient
    world: World
    events: RecordedEvents = field(default_factory=RecordedEvents)
    settings: OperatorSettings = field(default_factory=OperatorSettings)
    hub: HubAccess | None = field(default_factory=lambda: HubAccess("127.0.0.1:9000", b"k" * 32))

    @property
    def binder(self) -> Binder:
        return Binder(self.wired, self.world, lambda: self.settings)

    @property
    def executor(self) -> JobExecutor:
        """A new one, which knows the accounts of containers that this world has got before."""
        return self._executor(self.world, runner=self._runner)

    @property
    def new_executor(self) -> JobExecutor:
        """A new one, as in a process that has just started."""
        return self._executor(self.world)

    @property
    def step_runs(self) -> KubeStepRuns:
        """A new one, as in a process that has just started."""
        return KubeStepRuns(self.wired, self.world)

    @property
    def runs(self) -> KubeRunStore:
        """A new one, as in a process that has just started."""
        return KubeRunStore(self.wired, self.world)

    @property
    def blind_to_pods(self) -> JobExecutor:
        """An executor whose watch of Pods has brought nothing yet."""
        unheard = World.watching(self.wired).pods
        return self._executor(World(unheard if each is self.world.pods else each for each in self.world))

    def process(self) -> tuple[KubeStepRuns, JobExecutor]:
        """StepRuns and executor of one process. The executor knows which StepRuns the process has just created."""
        step_runs = self.step_runs
        return step_runs, self._executor(self.world, step_runs)

    def _executor(
        self, world: World, step_runs: KubeStepRuns | None = None, runner: RunnerAccess | None = None
    ) -> JobExecutor:
        secrets = SecretCheck(self.wired, OPERATOR_NAMESPACE, lambda: self.settings)
        runner = runner or self._new_runner(world)
        return JobExecutor(self.wired, world, step_runs or self.step_runs, self.binder, secrets, self.events, runner)

    @cached_property
    def _runner(self) -> RunnerAccess:
        return self._new_runner(self.world)

    def _new_runner(self, world: World) -> RunnerAccess:
        return RunnerAccess(self.wired, world, self.binder, self.events, lambda: self.settings)

    @property
    def streams(self) -> StreamExecutor:
        """The executor of realtime steps, as in a process that has just started."""
        return self.stream_process()[1]

    def stream_process(self) -> tuple[KubeStepRuns, StreamExecutor]:
        """StepRuns and executor of one process."""
        step_runs = self.step_runs
        secrets = SecretCheck(self.wired, OPERATOR_NAMESPACE, lambda: self.settings)
        made = StreamExecutor(
            self.wired,
            self.world,
            step_runs,
            self.binder,
            secrets,
            self.events,
            self._new_runner(self.world),
            lambda: self.hub,
            budget=BindingBudget(lambda: self.settings),
        )
        return step_runs, made

    async def look_again(self) -> None:
        """What the controller of streams does after each change."""
        reconciler = StreamReconciler(self.wired, self.world, lambda: self.hub)
        for run in self.world.story_runs.list(NAMESPACE_NAME):
            await reconciler.reconcile(Key.of(run))

    async def observe(self, run: Object, step_run_name: str) -> Observation:
        """What the engine observes of a step."""
        return await Executors([self.executor, self.streams]).observe(self.step_runs, run, step_run_name)

    async def create(self, resource: Resource, name: str, spec: Object, **metadata: Any) -> Object:
        where = {"namespace": metadata.pop("namespace", NAMESPACE_NAME)} if resource.namespaced else {}
        content = {"data": spec} if resource is SECRET else {"spec": spec} if spec else {}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return await self.client.create(resource, {**kind, "metadata": {"name": name, **where, **metadata}, **content})

    async def definitions(self, **template: Any) -> tuple[Object, Object]:
        """A run, and its Story with one step ``fetch`` on an Engram ``http``. ``template`` adds to the template."""
        spec = {"version": "1", "image": "x", "supportedModes": ["job"], **template}
        await self.create(ENGRAM_TEMPLATE, "http", spec)
        await self.create(ENGRAM, "http", {"templateRef": {"name": "http"}})
        story = await self.create(STORY, "report", {"steps": [{"name": "fetch", "ref": {"name": "http"}}]})
        return await self.create(STORY_RUN, "one", {"storyRef": {"name": "report"}}), story

    async def namespace(self, name: str) -> None:
        """Create another, empty namespace."""
        if self.access.shared:
            await ensure_namespace(self.client, name)
        else:
            await self.client.create(NAMESPACE, {"metadata": {"name": name}})

    async def account(self, name: str) -> None:
        """Create a ServiceAccount. On a real cluster it may already exist."""
        with suppress(AlreadyExistsError):
            await self.create(SERVICE_ACCOUNT, name, {})

    async def story_account(self, run: Object, story: Object) -> str:
        """The name of the account of the Story's containers, as it is now."""
        namespace = run["metadata"]["namespace"]
        rules, _ = await requested_rules(self.binder, story, namespace)
        return story_runner(namespace, story, rules).name

    async def manifest(self, run: Object, story: Object) -> Object:
        [declared] = story["spec"]["steps"]
        binding = await self.binder.bind(run, story, declared)
        step = StepPlan(declared["name"], StepKind.ENGRAM, declared)
        scheduling = scheduling_of(run, story, self.settings.runs.queues)
        return step_run_manifest(run, story, step, binding, None, "key", scheduling, "")

    async def order(self, run: Object, story: Object, step_run: Object, *, attempt: int = 0, **inputs: Any) -> Any:
        [step] = story["spec"]["steps"]
        binding = await self.binder.bind(run, story, step)
        context: Object = {"inputs": {}, "steps": {}}
        deadline = None if binding.timeout is None else _DEADLINE
        return AttemptOrder(run, story, step, step_run, binding, attempt, inputs, context, deadline)

    async def known(self, informer: Any, name: str, holds: Any = lambda obj: obj is not None) -> Any:
        """What the informer knows about the object, once ``holds`` accepts it."""
        with trio.fail_after(30):
            while not holds(found := informer.get(NAMESPACE_NAME, name)):
                await self.heard(informer)
        return found

    async def heard(self, informer: Any) -> None:
        """Wait for the informer's next change."""
        news = trio.Event()
        informer.add_handler(lambda change: news.set())
        await news.wait()


@asynccontextmanager
async def open_adapter_world(real: SessionCluster | None) -> AsyncIterator[AdapterWorld]:
    """On the real control plane if there is one, otherwise on its own API server."""
    opened = _open_embedded() if real is None else open_emptied(real)
    async with opened as (access, client), trio.open_nursery() as nursery:
        wire = Wire(access.open_wire())
        async with access.connected(wire) as wired:
            world = World.watching(wired)
            await nursery.start(world.run)
            yield AdapterWorld(access, client, wire, wired, world)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_embedded() -> AsyncIterator[tuple[ApiAccess, KubeClient]]:
    async with open_api_server() as server, trio.open_nursery() as nursery:
        access = embedded(server, nursery)
        async with access.connected() as client:
            await install_definitions(client)
            for name in (NAMESPACE_NAME, OPERATOR_NAMESPACE):
                await client.create(NAMESPACE, {"metadata": {"name": name}})
            yield access, client
        nursery.cancel_scope.cancel()
