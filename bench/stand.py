"""A new embedded cluster for a measurement, with its own folder and processes; everything is deleted at the end."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.process import command_line, cpu_seconds, descendants
from cli.embedded.folder import EmbeddedCluster, running
from cli.embedded.usage import open_cluster
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STORY, STORY_RUN
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config

NAMESPACE = "default"
IMAGE_MAP = """\
images:
  "bench/noop:*": {command: ["true"]}
  "bench/nap:*": {command: [sleep, "0.3"]}
  "bench/second:*": {command: [sleep, "1"]}
"""


@dataclass(frozen=True, slots=True)
class Stand:
    cluster: EmbeddedCluster
    client: KubeClient

    def operator_pid(self) -> int:
        """Returns the process id of the operator: the descendant of the serving process that runs ``cli manager``."""
        for pid in descendants(self.cluster.pid):
            if b"\0cli\0manager\0" in command_line(pid):
                return pid
        raise LookupError("the operator is not running")

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU seconds of the operator, and of API server, controllers and node together; without those of the steps."""
        operator = self.operator_pid()
        rest = {self.cluster.pid, *descendants(self.cluster.pid)} - {operator, *descendants(operator)}
        return cpu_seconds([operator]), cpu_seconds(rest)

    async def requests(self) -> dict[str, float]:
        """The number of requests that the operator has sent so far, by method."""
        return requests_in(await self._metrics())

    async def writes(self) -> float:
        return writes_in(await self._metrics())

    async def steps_at_work(self) -> float:
        """The number of steps that the operator supervises, in all runs.

        Raises:
            LookupError: the operator has not published the address of its metrics yet.
            httpx.TransportError: the operator does not serve its metrics.
        """
        found = re.findall(r"^bobrapet_storyrun_steps_active\{[^}]*\} (\S+)$", await self._metrics(), re.MULTILINE)
        return sum(map(float, found))

    async def _metrics(self) -> str:
        """Reads the metrics; their address changes when the operator is started again."""
        cluster = running(self.cluster.data)
        if cluster is None:
            raise LookupError("the operator does not say where its metrics are")
        async with httpx.AsyncClient(timeout=30) as client:
            return (await client.get(cluster.metrics_url)).text


WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def requests_in(metrics: str) -> dict[str, float]:
    """The number of requests that an operator has sent so far, by method, from its metrics."""
    counts: dict[str, float] = {}
    for labels, value in re.findall(r"^rest_client_requests_total\{([^}]*)\} (\S+)$", metrics, re.MULTILINE):
        method = re.search(r'method="([^"]+)"', labels)
        if method:
            counts[method[1]] = counts.get(method[1], 0) + float(value)
    return counts


def writes_in(metrics: str) -> float:
    """The number of requests that write."""
    return sum(count for method, count in requests_in(metrics).items() if method in WRITES)


@asynccontextmanager
async def open_stand(images_text: str = IMAGE_MAP) -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        data = Path(folder)
        images = data / "images.yaml"
        images.write_text(images_text)
        async with open_cluster(data, image_map=images) as cluster:
            config = await load_config(cluster.kubeconfig)
            async with open_client(config) as client:
                yield Stand(cluster, client)


async def install_chain(client: KubeClient, *, length: int, image: str = "bench/noop:1") -> str:
    """Creates a Story of chained engram steps; returns its name."""
    name = f"chain-{image.split('/')[1].split(':')[0]}-{length}"
    await install_engram(client, name, image, NAMESPACE)
    steps: list[Object] = []
    for index in range(length):
        step: Object = {"name": f"s{index}", "ref": {"name": name}}
        if index:
            step["needs"] = [f"s{index - 1}"]
        steps.append(step)
    await client.create(STORY, _object(STORY, name, {"steps": steps}), namespace=NAMESPACE)
    return name


async def install_engram(client: KubeClient, name: str, image: str, namespace: str) -> None:
    """Creates an Engram and its template."""
    template = {"image": image, "version": "1", "supportedModes": ["job"]}
    await client.create(ENGRAM_TEMPLATE, _object(ENGRAM_TEMPLATE, name, template, ""))
    await client.create(ENGRAM, _object(ENGRAM, name, {"templateRef": {"name": name}}, namespace), namespace=namespace)


async def start_run(client: KubeClient, story: str, name: str, inputs: Object | None = None) -> Object:
    spec = {"storyRef": {"name": story}} | ({"inputs": inputs} if inputs else {})
    manifest = _object(STORY_RUN, name, spec)
    return await client.create(STORY_RUN, manifest, namespace=NAMESPACE)


def _object(resource: Any, name: str, spec: Object, namespace: str = NAMESPACE) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
