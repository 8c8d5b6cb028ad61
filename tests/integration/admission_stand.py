"""The operator's admission server, an API server, embedded or real, that calls it, and kubectl as its client.

The registrations are those of the manifests, but they lead to a port of this process instead of a Service. The API
server does not ask admission about writes of ``BUILDER``: tests prepare their objects with it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
import trio

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, NAMESPACE, OUR_RESOURCES, SECRET, Resource
from core.engine.clock import WallClock, system_now
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.credentials import bearer_token
from core.kube.errors import ApiError, NotFoundError
from core.kube.events import EventRecorder
from core.policy.settings import OperatorSettings
from deployment.permissions.install import install_permissions, request_token
from deployment.registration import mutating_configuration, validating_configuration
from localcluster import certificates, serving
from localcluster.clock import utc_now
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from localcluster.server.cluster import open_api_server
from manager.admission.identity import own_user_name
from manager.admission.service import AdmissionService
from manager.bind import Address
from manager.options import AdmissionOptions
from reconcilers.adapters.world import World
from tests.integration.api_access import over_network
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR,
    REAL_PATIENCE,
    eventually,
    install_definitions,
    open_emptied,
    start_controllers,
)
from tools.control_plane.session import SessionCluster

BUILDER: Final = "builder"
PLACES: Final = (NAMESPACE_NAME, "shared", "other", "others", "third")
KUBECTL_SECONDS: Final = 60.0


@dataclass
class AdmissionStand:
    """``settings`` are those of the operator and may be replaced. ``url`` leads to admission, once it runs."""

    client: KubeClient
    kubeconfig: Path
    kubectl_program: str
    namespace: str
    settings: OperatorSettings
    url: str = ""

    async def kubectl(self, *arguments: str, stdin: Object | str = "", check: bool = True) -> str:
        """Standard output and standard error of one call."""
        text = stdin if isinstance(stdin, str) else orjson.dumps(stdin).decode()
        home = str(self.kubeconfig.parent)
        done = await trio.run_process(
            [self.kubectl_program, *arguments],
            stdin=text.encode(),
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": home, "PATH": os.defpath},
            check=False,
        )
        said = done.stdout.decode()
        assert done.returncode == 0 or not check, said
        return said

    async def build(self, objects: list[Object]) -> None:
        """Create these objects without admission."""
        for obj in objects:
            metadata = {key: value for key, value in obj["metadata"].items() if key != "uid"}
            answer = await self._as_builder("POST", self._path(obj), {**obj, "metadata": metadata})
            assert answer.is_success, answer.text

    async def remove(self, objects: list[Object]) -> None:
        """Delete these objects, as far as they exist."""
        for obj in objects:
            answer = await self._as_builder("DELETE", f"{self._path(obj)}/{obj['metadata']['name']}")
            assert answer.is_success or answer.status_code == httpx.codes.NOT_FOUND, answer.text

    def _path(self, obj: Object) -> str:
        resource = resource_of(obj)
        return resource.path(obj["metadata"].get("namespace", self.namespace) if resource.namespaced else None)

    async def _as_builder(self, method: str, path: str, body: Object | None = None) -> httpx.Response:
        return await self.client.request(method, path, json=body, headers=AS_BUILDER)


AS_BUILDER: Final = {"Impersonate-User": BUILDER, "Impersonate-Group": "system:masters"}


def resource_of(obj: Object) -> Resource:
    """The kind of an object of ours, or of a Secret."""
    return next(resource for resource in (*OUR_RESOURCES, SECRET) if resource.kind == obj["kind"])


@asynccontextmanager
async def open_cluster_with_admission(
    directory: Path, real: SessionCluster | None, kubectl: str
) -> AsyncIterator[AdmissionStand]:
    """A cluster whose API server calls admission as soon as it runs."""
    async with (
        _real(directory, real) if real is not None else _embedded(directory) as kubeconfig,
        over_network(kubeconfig, patience=REAL_PATIENCE) as access,
        access.connected() as client,
    ):
        for name in PLACES:
            await _ensure(client, name)
        await install_permissions(client, OPERATOR)
        async with _anybody_may_write(client):
            yield AdmissionStand(client, kubeconfig, kubectl, NAMESPACE_NAME, OperatorSettings())


@asynccontextmanager
async def open_admission(directory: Path, real: SessionCluster | None, kubectl: str) -> AsyncIterator[AdmissionStand]:
    """An admission server that the API server calls during the block."""
    async with (
        open_cluster_with_admission(directory, real, kubectl) as stand,
        open_replica(stand) as url,
        registered(stand.client, url),
    ):
        await eventually(lambda: is_asked(stand.client), seconds=30)
        stand.url = url
        yield stand


@asynccontextmanager
async def open_replica(stand: AdmissionStand, **options: Any) -> AsyncIterator[str]:
    """The admission server of one process, with the operator's own permissions. Gives its URL."""
    config = await load_config(stand.kubeconfig)
    config = replace(config, credentials=bearer_token(await request_token(stand.client, OPERATOR)))
    async with open_client(config) as client, trio.open_nursery() as nursery:
        world = World.watching(client)
        await nursery.start(world.run)
        events = EventRecorder(client, now=system_now)
        nursery.start_soon(events.run)
        service = AdmissionService(
            AdmissionOptions(names=("127.0.0.1",), **options),
            Address("127.0.0.1", 0),
            client,
            world,
            lambda: stand.settings,
            events,
            WallClock(),
            OPERATOR.namespace,
            await own_user_name(client),
        )
        yield await nursery.start(service.run)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def registered(client: KubeClient, url: str) -> AsyncIterator[None]:
    documents = {MUTATING: mutating_configuration(), VALIDATING: validating_configuration()}
    for resource, document in documents.items():
        await client.create(resource, led_to(document, url))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            for target in DEFAULT_TARGETS[:2]:
                try:
                    await client.delete(target.resource, target.name)
                except NotFoundError:
                    continue


def led_to(configuration: Object, url: str) -> Object:
    """The same registrations with a URL. Admission is not asked about writes of ``BUILDER``."""
    document = deepcopy(configuration)
    for hook in document["webhooks"]:
        path = hook["clientConfig"].pop("service")["path"]
        hook["clientConfig"]["url"] = f"{url.rstrip('/')}{path}"
        not_by_builder = {"name": "not-by-tests", "expression": f"request.userInfo.username != '{BUILDER}'"}
        hook["matchConditions"] = [*hook.get("matchConditions", ()), not_by_builder]
    return document


async def is_asked(client: KubeClient) -> bool:
    """Whether the API server already knows and trusts the admission server."""
    story = {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": "is-asked", "namespace": NAMESPACE_NAME},
        "spec": {"steps": [{"name": "a", "type": "sleep", "with": {"duration": "never"}}]},
    }
    answer = await client.request(
        "POST", f"/apis/bubustack.io/v1alpha1/namespaces/{NAMESPACE_NAME}/stories", params={"dryRun": "All"}, json=story
    )
    return answer.status_code == 422 and "spec.steps[0]" in answer.text


async def _ensure(client: KubeClient, name: str, resource: Resource = NAMESPACE, **content: Any) -> None:
    try:
        await client.create(resource, {"metadata": {"name": name}, **content})
    except ApiError as error:
        if error.code != 409:
            raise


@asynccontextmanager
async def _anybody_may_write(client: KubeClient) -> AsyncIterator[None]:
    """RBAC that allows every user to write our kinds, so that only admission can refuse it.

    Removed afterwards: on a shared cluster it would hide what other tests have no right to do.
    """
    name = "tests-write-ours"
    rule = {
        "apiGroups": ["runs.bubustack.io", "bubustack.io"],
        "resources": ["*"],
        "verbs": ["get", "create", "update", "patch"],
    }
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
    await _ensure(client, name, CLUSTER_ROLE, rules=[rule])
    await _ensure(client, name, CLUSTER_ROLE_BINDING, **binding)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            for resource in (CLUSTER_ROLE_BINDING, CLUSTER_ROLE):
                await client.delete(resource, name)


@asynccontextmanager
async def _embedded(directory: Path) -> AsyncIterator[Path]:
    authority = certificates.new_authority("tests", utc_now())
    pair = certificates.issue_server(authority, "tests", ("127.0.0.1",), utc_now())
    listener = serving.bind_loopback(0)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    async with open_api_server() as server, trio.open_nursery() as nursery:
        await nursery.start(serving.serve_asgi, server.app, listener, serving.TlsIdentity(pair), directory)
        kubeconfig = directory / "kubeconfig"
        connection = Connection(url, token=server.admin_token, ca_pem=authority.certificate_pem)
        write_private(kubeconfig, render_kubeconfig(connection, namespace=NAMESPACE_NAME))
        async with open_client(await load_config(kubeconfig)) as client:
            await install_definitions(client)
            await _ensure(client, OPERATOR.namespace)
        await nursery.start(start_controllers, server)
        yield kubeconfig
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _real(directory: Path, real: SessionCluster) -> AsyncIterator[Path]:
    if real.ready is None:
        pytest.skip("registers webhooks on a port of this machine: not in somebody's cluster")
    kubeconfig = directory / "kubeconfig"
    connection = Connection(real.ready.url, real.ready.admin_token, real.ready.ca_pem)
    write_private(kubeconfig, render_kubeconfig(connection, namespace=NAMESPACE_NAME))
    async with open_emptied(real):
        yield kubeconfig
