"""A pool of warm workers in memory: an API server, the informers of one process, and whom the registry wakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.resource import (
    ENGRAM,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY_RUN,
    WORKER_DEPLOYMENT,
    WORKER_LEASE,
    WORKER_POD,
)
from core.engine.clock import WallClock
from core.engine.ports import AttemptOrder, Observation
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from core.policy.layers import resolve_policy
from core.policy.retry import RetryPolicy
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources
from reconcilers.adapters.binding import ResolvedBinding
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.step_runs import KubeStepRuns
from reconcilers.adapters.worker_executor import WorkerExecutor
from reconcilers.adapters.worker_pools import WorkerPools
from reconcilers.adapters.worker_registry import PoolKey, WorkerRegistry
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds
from tests.unit.reconcilers.memory_server import MemoryServer
from tests.unit.reconcilers.reconciler_samples import NOW, RecordedEvents, run, stored, story

Now = Callable[[], datetime]
NAMESPACE: Final = "team"
KINDS: Final = (
    *(WORKER_POD, WORKER_LEASE, WORKER_DEPLOYMENT, SERVICE_ACCOUNT, ROLE_BINDING, STEP_RUN, STORY_RUN, ENGRAM, SECRET),
)
DEADLINE: Final = datetime(2025, 1, 2, 4, 0, 0, tzinfo=UTC)
WARM: Final[Object] = {"replicas": 1, "maxReplicas": 3, "concurrencyPerWorker": 2, "idleTimeout": "1m"}


@dataclass
class WorkerScene:
    """``world`` hears nothing by itself: what others write is delivered by ``hears``."""

    client: KubeClient
    server: MemoryServer
    world: World
    registry: WorkerRegistry
    executor: WorkerExecutor
    events: RecordedEvents
    woken: list[tuple[NamespacedName, str | None]] = field(default_factory=list)
    _renewals: int = 0

    def hears(self, obj: Object) -> Object:
        """Store the object as another client does, and deliver the event."""
        kept = self.server.put(obj)
        resource = next(each for each in KINDS if each.kind == obj["kind"])
        return self.world.informer(resource).remember(kept)

    async def creates(self, name: str) -> Object:
        """What the engine does for a new step: its StepRun, with whatever the executor adds."""
        made, kept = manifest(name), list[Object]()

        async def create(added: Object) -> Object:
            made["metadata"] |= added
            kept.append(self.hears(made))
            return kept[0]

        await self.executor.start(replace(order_for(name, step_run=made), create=create))
        [created] = kept
        return created

    async def observe(self, step_run: Object) -> Observation:
        """What the executor sees of a StepRun of its own."""
        return await self.executor.observe(NAMESPACE, step_run["metadata"]["name"], step_run)

    def loses(self, obj: Object) -> None:
        """Another client deletes the object, and the event arrives."""
        self.server.remove(obj)
        resource = next(each for each in KINDS if each.kind == obj["kind"])
        metadata = obj["metadata"]
        self.world.informer(resource).forget(metadata["namespace"], metadata["name"], metadata["uid"])

    @property
    def pool(self) -> PoolKey:
        """The only pool."""
        [deployment] = self.server.all(WORKER_DEPLOYMENT)
        return PoolKey(NAMESPACE, deployment["metadata"]["name"])

    @property
    def replicas(self) -> int:
        [deployment] = self.server.all(WORKER_DEPLOYMENT)
        found: int = deployment["spec"]["replicas"]
        return found

    def worker(self, name: str = "w1", *, ready: bool = True, owner: str = "", **status: Any) -> Object:
        """A Pod of the pool."""
        condition = {"type": "Ready", "status": str(ready)}
        return self.hears(
            stored(
                "Pod",
                name,
                meta={
                    "labels": {keys.LABEL_WORKER_POOL: self.pool.name},
                    "ownerReferences": [{"kind": "ReplicaSet", "name": owner or f"{self.pool.name}-1", "uid": "r"}],
                },
                status={"phase": "Running", "conditions": [condition], **status},
            )
        )

    def beats(self, pod: Object, state: str = "ready") -> Object:
        """The worker renews its Lease."""
        self._renewals += 1
        metadata = pod["metadata"]
        lease = stored(
            "Lease",
            metadata["name"],
            meta={
                "labels": {keys.LABEL_WORKER_POOL: self.pool.name},
                "annotations": {keys.ANNOTATION_WORKER_STATE: state},
            },
            spec={"holderIdentity": metadata["uid"], "renewTime": f"2025-01-02T03:04:{self._renewals:02}.000000Z"},
        )
        return self.hears(lease)

    def ready_worker(self, name: str = "w1") -> Object:
        pod = self.worker(name)
        self.beats(pod)
        return pod

    def releases(self, step_run: Object, exit_code: int = 0, **status: Any) -> Object:
        """The worker says that the process of the assigned attempt has ended."""
        kept = self.server.objects[("stepruns", NAMESPACE, step_run["metadata"]["name"])]
        attempt = status.pop("attempt", (kept.get("status") or {}).get("retries") or 0)
        exited = {"workerExit": {"attempt": attempt, "exitCode": exit_code}}
        return self.hears({**kept, "status": {**(kept.get("status") or {}), **exited, **status}})

    def assigned_to(self, step_run: Object) -> str | None:
        """The worker of a StepRun, as the server has it."""
        kept = self.server.objects[("stepruns", NAMESPACE, step_run["metadata"]["name"])]
        worker: str | None = (kept["metadata"].get("labels") or {}).get(keys.LABEL_WORKER)
        return worker


def order_for(
    name: str = "one",
    *,
    step_run: Object | None = None,
    attempt: int = 0,
    settings: OperatorSettings | None = None,
    **warm: Any,
) -> AttemptOrder:
    """An order for the step ``fetch`` of the run ``name``; its StepRun is a manifest unless one is given."""
    owner, told, step = run(name), story("report"), {"name": "fetch", "ref": {"name": "http"}}
    template = stored("EngramTemplate", "http", spec={"image": "x", "supportedModes": ["job", "worker"]})
    engram = stored("Engram", "http", spec={"overrides": {"warm": {**WARM, **warm}}})
    settings = settings or OperatorSettings()
    sources = Sources(settings, template, engram, told, step)
    binding = ResolvedBinding(
        engram_namespace=NAMESPACE,
        engram_name="http",
        engram_version="",
        template_name="http",
        template_generation=1,
        default_with=None,
        retry_spec=None,
        retry=RetryPolicy(),
        timeout=timedelta(minutes=5),
        max_inline_size_bytes=4096,
        input_schema=None,
        output_schema=None,
        declared_output_keys=None,
        engram=engram,
        template=template,
        settings=settings,
        policy=resolve_policy(sources),
        sources=sources,
        executor="worker",
    )
    context: Object = {"inputs": {}, "steps": {}}
    return AttemptOrder(
        owner,
        told,
        step,
        step_run or manifest(name),
        binding,
        attempt,
        {"n": name},
        context,
        DEADLINE,
        execution_key="k",
    )


def manifest(name: str = "one") -> Object:
    """A StepRun that is about to be created."""
    owner = {"kind": "StoryRun", "name": name, "uid": f"uid-StoryRun-{name}", "controller": True}
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "metadata": {"name": f"{name}-fetch", "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": {"stepId": "fetch", "executor": "worker", "storyRunRef": {"name": name}},
    }


@asynccontextmanager
async def open_scene(
    *objects: Object, settings: OperatorSettings | None = None, patience: float = 0.0, now: Now = lambda: NOW
) -> AsyncIterator[WorkerScene]:
    """A process with empty informers. ``objects`` are on the server only.

    ``patience``: how many seconds a step waits for a worker before it creates its StepRun.
    """
    server = MemoryServer(KINDS, *objects)
    async with open_client(ClusterConfig("http://nowhere"), transport=server, retry=ONCE) as client:
        yield scene_of(client, server, settings, patience, now)


def scene_of(
    client: KubeClient,
    server: MemoryServer,
    settings: OperatorSettings | None = None,
    patience: float = 0.0,
    now: Now = lambda: NOW,
) -> WorkerScene:
    """Another process, before the same server."""
    world = World.watching(client, watched_kinds())
    registry, events = WorkerRegistry(client, world), RecordedEvents()
    pools = WorkerPools(client, world, SecretCheck(client, "system", lambda: settings or OperatorSettings()))
    executor = WorkerExecutor(
        KubeStepRuns(client, world), pools, registry, events, WallClock(now), before_creation_seconds=patience
    )
    scene = WorkerScene(client, server, world, registry, executor, events)
    registry.connect(lambda run_key, step: scene.woken.append((run_key, step)))
    return scene
