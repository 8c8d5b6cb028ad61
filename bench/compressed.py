"""A cluster and an operator in virtual time: when nothing is left to do, the clocks go on to the next timer.

API server, controllers, operator and node share this process and one clock, so a week takes as long as its work. The
operator is the one of production with its informers and its client; only the containers are played: they report their
result after a while, as an SDK does. There are no sockets, because a clock must not go on while a message is under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import trio

from bubu_contract.instants import format_instant
from core.api.keys import LABEL_JOB_NAME
from core.api.objects import Object
from core.api.resource import (
    CUSTOM_RESOURCE_DEFINITION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    NAMESPACE,
    POD,
    STEP_RUN,
    Resource,
)
from core.engine.clock import WallClock
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.kube.errors import NotFoundError
from core.kube.events import EventRecorder
from core.kube.informer import Change, Informer
from core.policy.settings import OperatorSettings
from deployment.crds import packaged_crds
from localcluster.controllers.running import run_controllers
from localcluster.server.cluster import ApiServer, open_api_server
from localcluster.server.store import collection_name, object_key
from localcluster.transport import ASGIStreamingTransport
from manager.assembly import Operator
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds

TEAM: Final = "team"
OPERATOR_NAMESPACE: Final = "bobrapet-system"
MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""The virtual time at which everything begins by default."""
CONTAINER_SECONDS: Final = 20.0
KILLED_CODE: Final = 137
"""The exit code after SIGKILL, which is retried."""
_WAITING_PODS: Final = 10_000


def _virtual_clock(begin: datetime) -> Callable[[], datetime]:
    """The wall clock of all parts, which shows ``begin`` now and goes on with Trio's clock."""
    zero = begin - timedelta(seconds=trio.current_time())
    return lambda: zero + timedelta(seconds=trio.current_time())


@dataclass(frozen=True, slots=True)
class CompressedCluster:
    server: ApiServer
    client: KubeClient
    """Of an administrator."""
    operator: Operator
    world: World
    recorder: EventRecorder
    node: PlayedNode

    async def create(self, kind: Resource, name: str, spec: Object, **metadata: Any) -> Object:
        where = {"namespace": TEAM} if kind.namespaced else {}
        named = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **where, **metadata}}
        return await self.client.create(kind, {**named, "spec": spec})

    async def engram(self, name: str) -> None:
        """An Engram, and its template with the same name."""
        await self.create(ENGRAM_TEMPLATE, name, {"image": "bench/played:1", "version": "1", "supportedModes": ["job"]})
        await self.create(ENGRAM, name, {"templateRef": {"name": name}})

    async def impulse(self, name: str, story: str) -> None:
        """An Impulse without Pods, which lends its name to StoryTriggers."""
        spec = {"image": "bench/played:1", "version": "1", "supportedModes": ["deployment"]}
        await self.create(IMPULSE_TEMPLATE, name, spec)
        await self.create(IMPULSE, name, {"templateRef": {"name": name}, "storyRef": {"name": story}})


@asynccontextmanager
async def open_compressed_cluster(
    database: Path | None,
    settings: OperatorSettings | None = None,
    *,
    failing: Mapping[str, int] | None = None,
    begin: datetime = MONDAY,
    stored: Iterable[Object] = (),
) -> AsyncIterator[CompressedCluster]:
    """A cluster with a database file (None: in memory), with a working operator. Needs a virtual clock.

    Args:
        failing: how many attempts of an Engram fail in each run, by name of the Engram; the next one succeeds.
        begin: the time that the wall clock shows first.
        stored: objects that are there before anything works, with their UIDs; the cluster keeps them.
    """
    chosen, virtual_now = settings or OperatorSettings(), _virtual_clock(begin)
    async with open_api_server(database, now=virtual_now) as server, trio.open_nursery() as nursery:
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))

        def wire() -> ASGIStreamingTransport:
            return ASGIStreamingTransport(server.app, nursery)

        async with open_client(config, transport=wire()) as client, open_client(config, transport=wire()) as own:
            for definition in packaged_crds():
                await client.apply(CUSTOM_RESOURCE_DEFINITION, definition, force=True)
            for name in (TEAM, OPERATOR_NAMESPACE):
                await client.create(NAMESPACE, {"metadata": {"name": name}})
            for obj in stored:
                _store(server, obj)
            await nursery.start(run_controllers, server.registry, virtual_now)
            node = PlayedNode(client, dict(failing or {}), virtual_now)
            await nursery.start(node.run)
            async with trio.open_nursery() as working:  # ends before the server: its last Events
                recorder = EventRecorder(own, now=virtual_now)
                working.start_soon(recorder.run)
                world = World.watching(own, watched_kinds())
                await working.start(world.run)
                clock = WallClock(virtual_now)
                operator = Operator(own, world, lambda: chosen, recorder, clock, OPERATOR_NAMESPACE)
                working.start_soon(operator.run)
                yield CompressedCluster(server, client, operator, world, recorder, node)
                working.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@dataclass
class PlayedNode:
    """Plays the container of each Pod of a step: it runs for ``CONTAINER_SECONDS``, reports, and ends."""

    client: KubeClient
    failing: dict[str, int]
    now: Callable[[], datetime]
    started: Counter[str] = field(default_factory=Counter)
    """How many containers have been played, by name of the StepRun."""
    _seen: set[str] = field(default_factory=set)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        send, receive = trio.open_memory_channel[Object](_WAITING_PODS)
        pods = Informer(self.client, POD)

        def see(change: Change) -> None:
            uid = change.object["metadata"]["uid"]
            if change.new is None:
                self._seen.discard(uid)
            elif uid not in self._seen and _is_to_be_played(change.new):
                self._seen.add(uid)
                send.send_nowait(change.new)

        pods.add_handler(see)
        async with trio.open_nursery() as nursery:
            await nursery.start(pods.run)
            task_status.started()
            async for pod in receive:
                nursery.start_soon(self._play, pod)

    async def _play(self, pod: Object) -> None:
        name, namespace = pod["metadata"]["labels"][LABEL_JOB_NAME], pod["metadata"]["namespace"]
        self.started[name] += 1
        await trio.sleep(CONTAINER_SECONDS)
        with suppress(NotFoundError):  # it was deleted meanwhile
            step_run = await self.client.get(STEP_RUN, name, namespace)
            engram = step_run["spec"]["engramRef"]["name"]
            fails = ((step_run.get("status") or {}).get("retries") or 0) < self.failing.get(engram, 0)
            if not fails:
                report = {"phase": "Succeeded", "exitClass": "success", "output": {"rows": 3, "by": engram}}
                await self._patch(STEP_RUN, step_run, report)
            await self._patch(POD, pod, _ended(pod, KILLED_CODE if fails else 0, format_instant(self.now())))

    async def _patch(self, kind: Resource, obj: Object, status: Object) -> None:
        metadata = obj["metadata"]
        await self.client.patch(
            kind, metadata["name"], {"status": status}, namespace=metadata["namespace"], subresource="status"
        )


def _store(server: ApiServer, obj: Object) -> None:
    """Store an object as it is, whichever rules there are for requests."""
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = server.catalog.find_kind(group, version, obj["kind"])
    assert kind is not None, obj["kind"]
    collection = server.store.collection(collection_name(group, kind.plural))
    metadata = obj["metadata"]
    server.store.write(collection, object_key(metadata.get("namespace"), metadata["name"]), obj, expected=None)


def _is_to_be_played(pod: Object) -> bool:
    """Whether it is the Pod of a step that has not ended."""
    has_ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not has_ended and LABEL_JOB_NAME in (pod["metadata"].get("labels") or {})


def _ended(pod: Object, code: int, now: str) -> Object:
    end = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": now, "finishedAt": now}
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": end},
        }
        for container in pod["spec"]["containers"]
    ]
    return {"phase": "Failed" if code else "Succeeded", "startTime": now, "containerStatuses": containers}
