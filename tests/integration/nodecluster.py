"""A whole local cluster for a test: server, controllers and node, with an image map of the test."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from core.api.objects import Object
from localcluster.kubeconfig import Connection
from localcluster.launch import ClusterInfo, serve
from localcluster.node.client import ApiClient, ApiError, Change, Changed, Gone, Synced, namespaced, open_client
from tools.control_plane.node import open_node
from tools.control_plane.session import SessionCluster

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
_WORKLOADS = [f"/apis/apps/v1/namespaces/default/{plural}" for plural in ("deployments", "replicasets", "statefulsets")]
_CORE = [f"/api/v1/namespaces/default/{plural}" for plural in ("configmaps", "secrets", "serviceaccounts")]
_MADE = [*_WORKLOADS, JOBS, PODS, *_CORE]
_GIVEN = {"default", "kube-root-ca.crt"}
SHELL_MAP = "images: {shell: {command: [sh, -c]}, noop: {command: [/bin/true]}}"


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster, and an administrator's client for it, over TLS."""

    info: ClusterInfo | None
    """Set for an embedded cluster only."""
    ca_pem: str
    client: ApiClient
    image_map: Path

    async def wait_for(self, path: str, name: str, holds: Callable[[Object], object], *, seconds: float = 60) -> Object:
        """Wait until ``holds`` accepts the object; returns it."""
        send, receive = trio.open_memory_channel[Change](math.inf)
        with trio.fail_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    self.client.follow, path, {"fieldSelector": f"metadata.name={name}"}, send.send_nowait
                )
                async for change in receive:
                    for obj in change.objects if isinstance(change, Synced) else [change.object]:
                        if not isinstance(change, Gone) and holds(obj):
                            nursery.cancel_scope.cancel()
                            return obj
        raise AssertionError("unreachable: the feed has no end")

    async def wait_gone(self, path: str, *, seconds: float = 60) -> None:
        """Return once the collection at ``path`` is empty."""
        send, receive = trio.open_memory_channel[Change](math.inf)
        present: set[str] = set()
        with trio.fail_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.client.follow, path, {}, send.send_nowait)
                async for change in receive:
                    match change:
                        case Synced(objects):
                            present = {obj["metadata"]["uid"] for obj in objects}
                        case Changed(obj):
                            present.add(obj["metadata"]["uid"])
                        case Gone(obj):
                            present.discard(obj["metadata"]["uid"])
                    if not present:
                        nursery.cancel_scope.cancel()
                        return

    async def run_pod(self, pod: Object, *, until: str = "Succeeded") -> Object:
        """Create the Pod and return it once it is in phase ``until``."""
        created = await self.client.create(PODS, pod)
        return await self.wait_for(PODS, created["metadata"]["name"], in_phase(until))

    async def log(self, pod: str, **query: str) -> str:
        """The output of the Pod, as ``kubectl logs`` would show it."""
        return await self.client.text(namespaced("pods", "default", pod, "log"), query)


@asynccontextmanager
async def open_local_cluster(
    directory: Path, images: str = SHELL_MAP, *, keep: bool = False, **options: Any
) -> AsyncIterator[LocalCluster]:
    """A cluster for the block. With ``keep`` its data stays below ``directory``, and it can be opened again."""
    image_map = directory / "images.yaml"
    image_map.write_text(images)
    data_dir = directory / "cluster" if keep else None

    async def run(*, task_status: trio.TaskStatus[ClusterInfo]) -> None:
        await serve(data_dir, 0, image_map=image_map, task_status=task_status, **options)

    async with trio.open_nursery() as nursery:
        info: ClusterInfo = await nursery.start(run)
        connection = Connection(info.url, token=info.token, ca_pem=info.ca_pem)
        async with open_client(info.url, info.token, connection.tls_context(directory)) as client:
            yield LocalCluster(info, info.ca_pem, client, image_map)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_either(
    directory: Path, real: SessionCluster | None, images: str = SHELL_MAP, **options: Any
) -> AsyncIterator[LocalCluster]:
    """The same node on the real control plane if there is one, otherwise a cluster like ``open_local_cluster``.

    The namespace ``default`` of the real control plane is empty before and after.
    """
    opened = open_local_cluster(directory, images, **options) if real is None else _on(real, directory, images, options)
    async with opened as cluster:
        yield cluster


@asynccontextmanager
async def _on(real: SessionCluster, directory: Path, images: str, options: Object) -> AsyncIterator[LocalCluster]:
    if real.node is None or real.ready is None:
        pytest.skip("needs our node: Pods of this cluster run on nodes of its own")
    image_map = directory / "images.yaml"
    image_map.write_text(images)
    async with (
        open_client(real.ready.url, real.ready.admin_token, real.node.tls_context()) as client,
        open_node(real.node, image_map, directory / "node", **options),
    ):
        await _empty(client)
        yield LocalCluster(None, real.ready.ca_pem, client, image_map)
        await _empty(client)


async def _empty(client: ApiClient) -> None:
    """Remove everything that tests create in the namespace ``default``."""
    for path in _MADE:
        for obj in (await client.get(path, {}))["items"]:
            if obj["metadata"]["name"] not in _GIVEN:
                await _delete(client, f"{path}/{obj['metadata']['name']}")

    async def all_gone() -> bool:
        return not [obj for path in (JOBS, PODS) for obj in (await client.get(path, {}))["items"]]

    await until(all_gone)


async def _delete(client: ApiClient, path: str) -> None:
    try:
        await client.delete(path, {"gracePeriodSeconds": 0})
    except ApiError as error:
        if error.code != 404:  # it was deleted with its owner
            raise


def pod(name: str, script: str, *, image: str = "shell", **spec: Any) -> Object:
    """A Pod that runs a shell script once."""
    container: Object = {"name": "main", "image": image, **({"args": [script]} if script else {})}
    messages = ("terminationMessagePath", "terminationMessagePolicy")
    for field in ("env", "envFrom", "volumeMounts", "resources", "readinessProbe", *messages):
        if field in spec:
            container[field] = spec.pop(field)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def job(name: str, script: str, *, image: str = "shell", **spec: Any) -> Object:
    """A Job of one such Pod."""
    template = {"spec": pod("", script, image=image)["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, "backoffLimit": 0, **spec},
    }


def in_phase(phase: str) -> Callable[[Object], bool]:
    return lambda obj: obj.get("status", {}).get("phase") == phase


def has_condition(kind: str) -> Callable[[Object], bool]:
    return lambda obj: any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in obj.get("status", {}).get("conditions", [])
    )


def waits_because(reason: str) -> Callable[[Object], bool]:
    return lambda obj: any(
        (status.get("state", {}).get("waiting") or {}).get("reason") == reason
        for status in obj.get("status", {}).get("containerStatuses", [])
    )


def container_state(obj: Object, kind: str = "terminated") -> Object:
    found: Object = obj["status"]["containerStatuses"][0]["state"][kind]
    return found


def has_started(pod: Object) -> bool:
    """Whether its only container ever started."""
    return "waiting" not in pod["status"]["containerStatuses"][0]["state"]


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Return once ``holds`` accepts something that cannot be watched, such as processes or absence."""
    with trio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110 - the operating system wakes nobody
            await trio.sleep(0.02)


def node_of(cluster: int) -> int:
    """Process id of the node that the process ``cluster`` keeps running."""
    nodes = [pid for pid in processes_with(" localcluster.node ") if parent_of(pid) == cluster]
    assert len(nodes) == 1, nodes
    return nodes[0]


def parent_of(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


async def until_no_process_with(marker: str) -> None:
    """Return once none is left.

    A killed process exists until the kernel has ended it, even if its end is reported before.
    """

    async def none_is_left() -> bool:
        return not processes_with(marker)

    await until(none_is_left, seconds=20)


def processes_with(marker: str) -> list[int]:
    """Ids of the processes on this machine whose command line contains ``marker``, without zombies."""
    if sys.platform != "linux":
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if marker in command:
                found.append(int(entry.name))
    return found
