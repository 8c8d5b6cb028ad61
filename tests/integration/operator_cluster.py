"""A whole cluster with an operator: API server, controllers, and a node that runs real programs.

It is embedded in this process, where no socket carries the API, or it is real and emptied for each test. The
operator's requests go through ``Traffic``, which counts them. Images of Engrams are shell scripts, which the test
writes into the image map.
"""

from __future__ import annotations

import functools
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from core.api.conditions import is_true
from core.api.objects import Object
from core.api.resource import (
    CUSTOM_RESOURCE_DEFINITION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    JOB,
    NAMESPACE,
    SECRET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    SUBJECT_ACCESS_REVIEW,
    TRANSPORT_BINDING,
    Resource,
)
from core.engine.clock import WallClock, system_now
from core.kube.client import KubeClient, open_client
from core.kube.credentials import bearer_token
from core.kube.errors import NotFoundError
from core.kube.events import EventRecorder
from core.kube.fence import fence_of
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.policy.settings import OperatorSettings
from core.telemetry.otlp.otlp_settings import OtlpSettings
from core.workloads.hub_access import HubAccess
from deployment.crds import packaged_crds
from deployment.permissions.install import request_token
from deployment.permissions.roles import DEFAULT_INSTALLATION, operator_objects
from deployment.permissions.table import role_tables
from localcluster import certificates
from localcluster.clock import utc_now
from localcluster.controllers.running import run_controllers
from localcluster.keypair import KeyPair
from localcluster.kubeconfig import Connection
from localcluster.node.running import NodeAccess, run_node
from localcluster.node.settings import NodeSettings
from localcluster.server.cluster import ApiServer, open_api_server
from localcluster.server.webhookcall import LocalWebhooks
from manager.assembly import Operator
from manager.hub_presence import HubPresence
from manager.tracing import Tracing
from reconcilers.adapters.world import World
from reconcilers.controllers import CONTROLLERS, watched_kinds
from reconcilers.registration import ControllerRegistration
from tests.integration.api_access import ApiAccess, embedded, over_network
from tests.integration.clean_slate import make_clean
from tests.integration.operator_rights import ensure_rights
from tools.control_plane.node import open_node
from tools.control_plane.session import SessionCluster

NAMESPACE_NAME = "team"
OPERATOR = DEFAULT_INSTALLATION
OPERATOR_NAMESPACE = OPERATOR.namespace
NODE_NAME = "local"
DEADLINE_SECONDS = 45.0
REAL_PATIENCE = 6.0
"""A real Job controller collects changes for a second, and waits ten before it replaces a failed Pod."""
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Traffic(httpx.AsyncBaseTransport):
    """Counts the requests of one client, such as ``PATCH stepruns/status``.

    It also records the requests that the client had no right to make.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.requests: list[str] = []
        self.refused: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = f"{request.method} {_target(request.url.path)}"
        self.requests.append(name)
        response = await self._inner.handle_async_request(request)
        if response.status_code == httpx.codes.FORBIDDEN:
            self.refused.append(name)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    @property
    def writes(self) -> Counter[str]:
        return Counter(request for request in self.requests if request.partition(" ")[0] in _WRITES)


def _target(path: str) -> str:
    """Plural and subresource in the path of a request."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return "/".join([rest[0], *rest[2:]])


@dataclass
class OperatorCluster:
    """``client`` is an administrator. Its requests are not counted."""

    access: ApiAccess
    client: KubeClient
    image_map: Path
    images: Object = field(default_factory=dict)

    # The operator.

    @asynccontextmanager
    async def operator(
        self,
        settings: OperatorSettings | Callable[[], OperatorSettings] | None = None,
        *,
        may_be_refused: bool = False,
        controllers: Sequence[ControllerRegistration] = CONTROLLERS,
        otlp: OtlpSettings | None = None,
    ) -> AsyncIterator[Traffic]:
        """An operator for the block. When it ends, nothing of it is left, as after a crash.

        It uses its own ServiceAccount with the rights of a deployed operator, and these must be sufficient. A function
        as ``settings`` gives the settings of the moment. ``otlp``: where traces go, if the settings ask for them.
        """
        async with self.operator_owning(
            WHOLE_CLUSTER, settings, may_be_refused=may_be_refused, controllers=controllers, otlp=otlp
        ) as (_, traffic):
            yield traffic

    @asynccontextmanager
    async def operator_owning(
        self,
        ownership: Ownership,
        settings: OperatorSettings | Callable[[], OperatorSettings] | None = None,
        *,
        may_be_refused: bool = False,
        controllers: Sequence[ControllerRegistration] = CONTROLLERS,
        otlp: OtlpSettings | None = None,
        hub: HubAccess | None = None,
    ) -> AsyncIterator[tuple[Operator, Traffic]]:
        """The same, and the operator itself, which works only for the keys that it owns.

        Args:
            hub: that of realtime steps; the operator follows its Lease. None: there is none.
        """
        chosen = settings if callable(settings) else functools.partial(_always, settings or OperatorSettings())
        traffic = Traffic(self.access.open_wire())
        config = replace(self.access.config, credentials=bearer_token(await self._operator_token(controllers)))
        async with open_client(config, transport=traffic) as client, trio.open_nursery() as nursery:
            recorder = EventRecorder(client, now=system_now)
            nursery.start_soon(recorder.run)
            world = World.watching(client, watched_kinds(controllers))
            await nursery.start(world.run)
            presence = HubPresence(client, OPERATOR_NAMESPACE, chosen, system_now)
            operator = Operator(
                client.fenced(fence_of(ownership, None)),
                world,
                chosen,
                recorder,
                WallClock(),
                OPERATOR_NAMESPACE,
                controllers=controllers,
                ownership=ownership,
                hub=lambda: hub,
                hub_silence=presence.silence,
                tracing=Tracing(chosen, otlp, 0.5) if otlp is not None else None,
            )
            if hub is not None:
                presence.listeners.append(operator.hub_changed)
                nursery.start_soon(presence.run)
            nursery.start_soon(operator.run)
            yield operator, traffic
            nursery.cancel_scope.cancel()
        assert may_be_refused or traffic.refused == []

    async def _operator_token(self, controllers: Sequence[ControllerRegistration]) -> str:
        """Token of an account whose rights are in force. A real API server applies roles a moment later."""
        wanted = operator_objects(OPERATOR, role_tables(controllers))
        if not await ensure_rights(self.client, wanted):
            return await request_token(self.client, OPERATOR)
        lists = [JOB, *(kind.resource for row in controllers for kind in row.informers)]

        async def may_all() -> bool:
            return await self._may("get", TRANSPORT_BINDING) and all([await self._may("list", kind) for kind in lists])

        await self.eventually(may_all)
        return await request_token(self.client, OPERATOR)

    async def _may(self, verb: str, resource: Resource) -> bool:
        """Whether the operator may do that in every namespace."""
        wanted = {"verb": verb, "group": resource.group, "resource": resource.plural}
        review = {"spec": {"user": OPERATOR.user, "resourceAttributes": wanted}}
        return bool((await self.client.create(SUBJECT_ACCESS_REVIEW, review))["status"]["allowed"])

    # Objects.

    async def engram(
        self,
        name: str,
        script: str = "exit 0",
        *,
        command: Sequence[str] = (),
        engram: Object | None = None,
        **spec: Any,
    ) -> None:
        """An Engram and its template, whose image is ``command`` or ``script``. ``spec`` belongs to the template."""
        self.images[f"test/{name}"] = {"command": list(command) or ["/bin/sh", "-c", script]}
        self.image_map.write_bytes(orjson.dumps({"images": self.images}))
        template = {"version": "1.0.0", "image": f"test/{name}", "supportedModes": ["job"], **spec}
        await self.create(ENGRAM_TEMPLATE, name, template, namespaced=False)
        await self.create(ENGRAM, name, {"version": "1.0.0", "templateRef": {"name": name}, **(engram or {})})

    def image(self, name: str, script: str) -> str:
        """An image that runs ``script``; returns the name for templates."""
        self.images[f"test/{name}"] = {"command": ["/bin/sh", "-c", script]}
        self.image_map.write_bytes(orjson.dumps({"images": self.images}))
        return f"test/{name}"

    async def impulse(self, name: str, script: str, *, template: Object | None = None, **spec: Any) -> Object:
        """An Impulse that starts Story ``report``, and its template, whose image is ``script``."""
        described = {"version": "1", "image": self.image(name, script), "supportedModes": ["deployment", "statefulset"]}
        await self.create(IMPULSE_TEMPLATE, name, {**described, **(template or {})}, namespaced=False)
        return await self.create(IMPULSE, name, {"templateRef": {"name": name}, "storyRef": {"name": "report"}, **spec})

    async def story(self, name: str, *steps: Object, **spec: Any) -> Object:
        return await self.create(STORY, name, {"pattern": "batch", "steps": list(steps), **spec})

    async def run(self, name: str, story: str, **metadata: Any) -> Object:
        return await self.create(STORY_RUN, name, {"storyRef": {"name": story}}, **metadata)

    async def create(
        self, resource: Resource, name: str, spec: Object, *, namespaced: bool = True, **metadata: Any
    ) -> Object:
        where = {"namespace": NAMESPACE_NAME} if namespaced else {}
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, **where, **metadata},
            **({"stringData": spec} if resource is SECRET else {"spec": spec}),
        }
        return await self.client.create(resource, obj)

    # Waiting.

    async def until(
        self, resource: Resource, name: str, holds: Callable[[Object], bool], *, seconds: float = DEADLINE_SECONDS
    ) -> Object:
        """Wait until ``holds`` accepts the object; returns it."""
        last: list[Object] = []

        async def reached() -> bool:
            last[:] = await self._stored(resource, name)
            return bool(last) and holds(last[0])

        try:
            await self.eventually(reached, seconds=seconds)
        except trio.TooSlowError:
            raise AssertionError(f"{resource.kind} {name} did not get there: {last}") from None
        return last[0]

    async def finished(self, name: str, *, seconds: float = DEADLINE_SECONDS) -> Object:
        """Wait until the run has ended; returns it."""
        return await self.until(STORY_RUN, name, lambda run: bool(status_of(run).get("finishedAt")), seconds=seconds)

    async def step(self, name: str, phase: str, *, seconds: float = DEADLINE_SECONDS) -> Object:
        """Wait until the StepRun is in ``phase``; returns it."""
        return await self.until(STEP_RUN, name, lambda obj: status_of(obj).get("phase") == phase, seconds=seconds)

    async def gone(self, resource: Resource, name: str, *, seconds: float = DEADLINE_SECONDS) -> None:
        async def absent() -> bool:
            return not await self._stored(resource, name)

        await self.eventually(absent, seconds=seconds)

    async def none_left(self, resource: Resource) -> None:
        async def empty() -> bool:
            return not await self.names(resource)

        await self.eventually(empty)

    async def eventually(self, holds: Callable[[], Awaitable[bool]], *, seconds: float = DEADLINE_SECONDS) -> None:
        """Return once ``holds`` is true. ``seconds`` are for a quiet machine: ``access.patience`` multiplies them."""
        await eventually(holds, seconds=seconds * self.access.patience)

    async def _stored(self, resource: Resource, name: str) -> list[Object]:
        """The object in a list, or an empty list."""
        try:
            return [await self.client.get(resource, name, NAMESPACE_NAME if resource.namespaced else None)]
        except NotFoundError:
            return []

    async def names(self, resource: Resource) -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in (await self.client.list(resource, NAMESPACE_NAME)).items)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Return once ``holds`` is true. This is the only place where tests poll.

    Raises:
        trio.TooSlowError: it was not true in time.
    """
    began_at = trio.current_time()
    with trio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110 - programs and controllers wake nobody in this process
            await trio.sleep(pause_after(trio.current_time() - began_at))


def pause_after(waited: float) -> float:
    """How long to wait before the next look, after a wait of ``waited`` seconds.

    A look is late by a tenth of the wait at most, and a long wait leaves the API server and the CPU to others.
    """
    return min(max(0.1 * waited, 0.02), 0.25)


def _always(settings: OperatorSettings) -> OperatorSettings:
    return settings


def status_of(obj: Object) -> Object:
    status: Object = obj.get("status") or {}
    return status


def step_phases(run: Object) -> dict[str, str]:
    return {name: state["phase"] for name, state in sorted((status_of(run).get("stepStates") or {}).items())}


def step(name: str, engram: str = "", **fields: Any) -> Object:
    return {"name": name, "ref": {"name": engram or name}, **fields}


@asynccontextmanager
async def open_operator_cluster(directory: Path, real: SessionCluster | None) -> AsyncIterator[OperatorCluster]:
    """On the real control plane if there is one, otherwise on its own embedded cluster."""
    opened = open_embedded(directory) if real is None else open_on_real(directory, real)
    async with opened as cluster:
        yield cluster


async def _nothing(_: KubeClient) -> None:
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_embedded(
    directory: Path,
    before_controllers: Callable[[KubeClient], Awaitable[None]] = _nothing,
    *,
    webhooks: LocalWebhooks | None = None,
) -> AsyncIterator[OperatorCluster]:
    """On its own embedded cluster. ``before_controllers`` may create objects that no controller has seen yet."""
    authority = certificates.load_or_create_authority(directory, "tests", utc_now())
    to_nodes = _towards_nodes(authority, directory)
    async with open_api_server(node_tls=to_nodes, local_webhooks=webhooks) as server, trio.open_nursery() as nursery:
        access = embedded(server, nursery)
        async with access.connected() as client:
            await install_definitions(client)
            for name in (NAMESPACE_NAME, OPERATOR_NAMESPACE):
                await client.create(NAMESPACE, {"metadata": {"name": name}})
            await before_controllers(client)
            await nursery.start(start_controllers, server)
            image_map = directory / "images.yaml"
            await nursery.start(_node, server, authority, directory, image_map, access.open_wire())
            yield OperatorCluster(access, client, image_map)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_on_real(
    directory: Path, real: SessionCluster, *, isolate: bool = False
) -> AsyncIterator[OperatorCluster]:
    """On the real control plane, emptied.

    ``isolate`` gives containers namespaces, so that volumes are at a Pod's own paths. This takes longer.
    """
    if real.node is None:
        pytest.skip("needs our node: Pods of this cluster run on nodes of its own")
    async with open_emptied(real) as (access, client):
        image_map = directory / "images.yaml"
        settings: Object = {"isolate": isolate, "restart_delay_seconds": 0.05}
        async with open_node(real.node, image_map, directory / "node", **settings):
            yield OperatorCluster(access, client, image_map)
        await client.request("DELETE", f"/api/v1/nodes/{NODE_NAME}")


@asynccontextmanager
async def open_emptied(real: SessionCluster) -> AsyncIterator[tuple[ApiAccess, KubeClient]]:
    """The real cluster with the two namespaces, and nothing in them."""
    namespaces = (NAMESPACE_NAME, OPERATOR_NAMESPACE)
    async with over_network(real.kubeconfig, patience=REAL_PATIENCE) as access, access.connected() as client:
        await make_clean(client, namespaces, real.ready.etcd_url if real.ready is not None else "")
        yield access, client
        if real.ready is None:  # a user's cluster is left as it was found; the next test empties ours
            await make_clean(client, namespaces)


async def install_on(real: SessionCluster) -> None:
    """Install our definitions in the real cluster, once for all tests."""
    async with over_network(real.kubeconfig, patience=REAL_PATIENCE) as access, access.connected() as client:
        await install_definitions(client)


@functools.cache
def _definitions() -> list[Object]:
    """Read once, because parsing them takes longer than everything else here."""
    return list(packaged_crds())


async def install_definitions(client: KubeClient) -> None:
    applied = [await client.apply(CUSTOM_RESOURCE_DEFINITION, each, force=True) for each in _definitions()]
    for definition in applied:
        if not _is_established(definition):  # the embedded server has established it when it answers
            await eventually(functools.partial(_becomes_established, client, definition["metadata"]["name"]))


async def _becomes_established(client: KubeClient, name: str) -> bool:
    return _is_established(await client.get(CUSTOM_RESOURCE_DEFINITION, name))


def _is_established(definition: Object) -> bool:
    return is_true(status_of(definition).get("conditions") or [], "Established")


async def start_controllers(server: ApiServer, *, task_status: trio.TaskStatus[None]) -> None:
    await run_controllers(
        server.registry, utc_now, node_name=NODE_NAME, job_failure_delay_seconds=0.1, task_status=task_status
    )


def _towards_nodes(authority: KeyPair, scratch: Path) -> ssl.SSLContext:
    """How the API server asks nodes for logs."""
    client = certificates.issue_client(authority, "api-server", "", utc_now())
    connection = Connection(
        url="",
        ca_pem=authority.certificate_pem,
        client_certificate_pem=client.certificate_pem,
        client_key_pem=client.key_pem,
    )
    return connection.tls_context(scratch)


async def _node(
    server: ApiServer,
    authority: KeyPair,
    directory: Path,
    image_map: Path,
    transport: httpx.AsyncBaseTransport,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    access = NodeAccess(
        token=server.admin_token,
        serving=certificates.issue_server(authority, NODE_NAME, ("127.0.0.1", "localhost"), utc_now()),
        client_ca_pem=authority.certificate_pem,
        transport=transport,
    )
    settings = NodeSettings(
        name=NODE_NAME,
        data_dir=directory / "node",
        image_map=image_map,
        api_url="http://127.0.0.1:1",
        isolate=False,
        restart_delay_seconds=0.05,
    )
    await run_node(settings, access, utc_now, task_status=task_status)
