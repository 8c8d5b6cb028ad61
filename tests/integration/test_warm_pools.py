"""Warm workers on the embedded cluster, with the SDK: another image, less work, no work, a drain, a frozen worker."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from cli.embedded.usage import open_cluster
from core.api import keys
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, ENGRAM, ENGRAM_TEMPLATE, LEASE, POD, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.step.assignment import assignment_of
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from tests.integration.commandline import REPOSITORY, is_alive
from tests.integration.operator_cluster import eventually, status_of

NAMESPACE = "default"
PATIENCE_SECONDS = 60.0
PROGRAM = """
import os, pathlib
from bubu_sdk import Context, engram


@engram
def main(ctx: Context, inputs: dict) -> dict:
    folder = pathlib.Path(os.environ["FOLDER"])
    (folder / f"{ctx.story_run}-{ctx.attempt}").write_text(str(os.getpid()))
    while inputs["waits"] and not any((folder / name).exists() for name in ("go", f"go-{ctx.story_run}")):
        if ctx.cancelled.wait(0.05):
            raise RuntimeError("asked to end")
    return {"version": os.environ["VERSION"], "attempt": ctx.attempt}


main.run()
"""


@dataclass
class WarmStand:
    """A cluster with an Engram in warm workers, and Stories that call it: ``waits`` until ``go``, and ``quick``."""

    client: KubeClient
    folder: Path

    async def install(self, **warm: object) -> None:
        template = {"version": "1.0.0", "image": "test/pools:1", "supportedModes": ["job", "worker"]}
        await self._create(ENGRAM_TEMPLATE, "greet", template, None)
        engram = {"templateRef": {"name": "greet"}, "overrides": {"warm": {"idleTimeout": "1h", **warm}}}
        await self._create(ENGRAM, "greet", engram)
        again = {"retry": {"maxRetries": 2, "delay": "10ms"}}
        for name, waits in (("waits", True), ("quick", False)):
            step = {"name": "a", "ref": {"name": "greet"}, "with": {"waits": waits}, "execution": again}
            output = {field: f"{{{{ steps.a.output.{field} }}}}" for field in ("version", "attempt")}
            await self._create(STORY, name, {"steps": [step], "output": output})

    async def _create(self, resource: Resource, name: str, spec: Object, namespace: str | None = NAMESPACE) -> None:
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        await self.client.create(resource, obj)

    async def start(self, name: str, story: str) -> None:
        await self._create(STORY_RUN, name, {"storyRef": {"name": story}})

    async def output(self, name: str) -> Object:
        """What the run has returned, once it has succeeded."""

        async def has_ended() -> bool:
            return bool(status_of(await self.client.get(STORY_RUN, name, NAMESPACE)).get("finishedAt"))

        await eventually(has_ended, seconds=PATIENCE_SECONDS)
        status = status_of(await self.client.get(STORY_RUN, name, NAMESPACE))
        assert status["phase"] == "Succeeded", status
        output: Object = status["output"]
        return output

    async def until_begun(self, run: str, attempt: int = 1) -> None:
        """Wait until the attempt has begun, and its file has the number of its process in the container."""
        file = self.folder / f"{run}-{attempt}"

        async def has_begun() -> bool:
            await trio.lowlevel.checkpoint()
            return file.exists() and file.read_text() != ""

        await eventually(has_begun, seconds=PATIENCE_SECONDS)

    def go(self, run: str = "") -> None:
        """Let the steps end that wait, all or those of one run."""
        (self.folder / (f"go-{run}" if run else "go")).touch()

    async def worker_of(self, run: str) -> str:
        """The name of the Pod that the last attempt of the run's step was assigned to."""
        assignment = assignment_of(await self.client.get(STEP_RUN, f"{run}-a", NAMESPACE))
        assert assignment is not None
        return assignment.worker

    async def all(self, resource: Resource) -> list[Object]:
        """Those of pools."""
        return (await self.client.list(resource, NAMESPACE, label_selector=keys.LABEL_WORKER_POOL)).items


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WarmStand]:
    program, images = tmp_path / "pools.py", tmp_path / "images.yaml"
    program.write_text(PROGRAM)
    fixed = (f"PYTHONPATH={REPOSITORY / 'sdk'}", f"FOLDER={tmp_path}", "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT=4s")
    started = (sys.executable, str(program))
    commands = {
        f"test/pools:{version}": {"command": ["/usr/bin/env", *fixed, f"VERSION={version}", *started]}
        for version in (1, 2)
    }
    images.write_text(json.dumps({"images": commands}))
    async with (
        open_cluster(tmp_path / "data", image_map=images) as cluster,
        open_client(await load_config(cluster.kubeconfig)) as client,
    ):
        yield WarmStand(client, tmp_path)


async def test_another_image_makes_another_pool_and_a_pool_without_work_has_no_worker(stand: WarmStand) -> None:
    await stand.install(idleTimeout="1s")
    await stand.start("one", "waits")
    await stand.until_begun("one")
    await stand.client.patch(ENGRAM_TEMPLATE, "greet", {"spec": {"image": "test/pools:2"}})
    await _until_known(stand)
    await stand.start("two", "quick")
    assert await stand.output("two") == {"version": "2", "attempt": 1}
    assert await stand.worker_of("one") != await stand.worker_of("two")

    stand.go()
    assert await stand.output("one") == {"version": "1", "attempt": 1}, "it was finished where it was"

    async def nobody_is_left() -> bool:
        sizes = [each["spec"]["replicas"] for each in await stand.all(DEPLOYMENT)]
        return sizes == [0, 0] and await stand.all(POD) == []

    await eventually(nobody_is_left, seconds=PATIENCE_SECONDS)
    await stand.start("three", "quick")
    assert await stand.output("three") == {"version": "2", "attempt": 1}
    assert len(await stand.all(DEPLOYMENT)) == 2, "the pool was kept for it"


async def test_a_pool_with_less_work_loses_its_idle_worker_and_keeps_the_one_at_work(stand: WarmStand) -> None:
    """That is the younger one, and Kubernetes would take it."""
    await stand.install(maxReplicas=2, idleTimeout="1s")
    await stand.start("one", "waits")
    await stand.until_begun("one")
    await trio.sleep(1.1)  # creation times are whole seconds
    await stand.start("two", "waits")
    await stand.until_begun("two")
    older, younger = await stand.worker_of("one"), await stand.worker_of("two")
    assert older != younger
    stand.go("one")
    await stand.output("one")

    async def is_alone() -> bool:
        return [each["metadata"]["name"] for each in await stand.all(POD)] == [younger]

    await eventually(is_alone, seconds=PATIENCE_SECONDS)
    [deployment] = await stand.all(DEPLOYMENT)
    assert deployment["spec"]["replicas"] == 1
    stand.go("two")
    assert await stand.output("two") == {"version": "1", "attempt": 1}


async def _until_known(stand: WarmStand) -> None:
    """Until the Engram has been looked at with its changed template, so the operator knows it."""
    generation = (await stand.client.get(ENGRAM_TEMPLATE, "greet"))["metadata"]["generation"]

    async def is_known() -> bool:
        status = status_of(await stand.client.get(ENGRAM_TEMPLATE, "greet"))
        return bool(status.get("observedGeneration") == generation)

    await eventually(is_known, seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("in_time", [True, False], ids=["ends in time", "takes too long"])
async def test_a_pod_that_is_deleted_drains(stand: WarmStand, in_time: bool) -> None:
    await stand.install()
    await stand.start("one", "waits")
    await stand.until_begun("one")
    worker = await stand.worker_of("one")
    await stand.client.delete(POD, worker, NAMESPACE)

    async def drains() -> bool:
        lease = await stand.client.get(LEASE, worker, NAMESPACE)
        return bool(lease["metadata"]["annotations"][keys.ANNOTATION_WORKER_STATE] == "draining")

    await eventually(drains, seconds=PATIENCE_SECONDS)
    if in_time:
        await stand.start("two", "quick")
        stand.go()
        assert await stand.output("one") == {"version": "1", "attempt": 1}, "its worker has reported it before its end"
        assert await stand.output("two") == {"version": "1", "attempt": 1}
        assert await stand.worker_of("two") != worker, "nothing new was given to it"
    else:
        await stand.until_begun("one", 2)
        stand.go()
        assert await stand.output("one") == {"version": "1", "attempt": 2}
        assert await stand.worker_of("one") != worker


async def test_a_worker_that_is_frozen_loses_its_step_and_reports_nothing_afterwards(stand: WarmStand) -> None:
    await stand.install(replicas=2)
    await stand.start("one", "waits")
    await stand.until_begun("one")
    frozen = await stand.worker_of("one")
    family = _processes_of(frozen)
    at_work = _process_with(family, number=int((stand.folder / "one-1").read_text()))
    try:
        _signal(family, signal.SIGSTOP)
        await stand.until_begun("one", 2)
        assert await stand.worker_of("one") != frozen
        stand.go()  # also for the first attempt, once it goes on
        assert await stand.output("one") == {"version": "1", "attempt": 2}
        before = await stand.client.get(STEP_RUN, "one-a", NAMESPACE)
        lease = await stand.client.get(LEASE, frozen, NAMESPACE)
    finally:
        _signal(family, signal.SIGCONT)

    async def is_back() -> bool:
        renewed = await stand.client.get(LEASE, frozen, NAMESPACE)
        return bool(renewed["spec"]["renewTime"] != lease["spec"]["renewTime"]) and not is_alive(at_work)

    await eventually(is_back, seconds=PATIENCE_SECONDS)
    await trio.sleep(1)
    after = await stand.client.get(STEP_RUN, "one-a", NAMESPACE)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert not (stand.folder / "one-3").exists()


def _processes_of(worker: str) -> list[int]:
    """Those of its container, as this machine counts them."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if f"BUBU_POD_NAME={worker}".encode() in _content(folder / "environ").split(b"\0")
    ]


def _signal(family: list[int], number: signal.Signals) -> None:
    """Processes that have ended since the family was listed are left out."""
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _process_with(family: list[int], number: int) -> int:
    """The one that has this number in its container."""
    numbers = {
        int(line.split()[-1]): pid
        for pid in family
        for line in _content(Path(f"/proc/{pid}/status")).splitlines()
        if line.startswith(b"NSpid:")
    }
    return numbers[number]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return b""
