"""``bobrapet up`` with a realtime run: its hub starts by itself, again when it dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from cli.embedded.hub_port import PORT_FILE
from core.api.resource import CONTROLLER_REVISION, SECRET
from core.kube.client import open_client
from core.kube.config import Impersonation, load_config
from core.kube.errors import AlreadyExistsError
from core.workloads.hub_key import HUB_KEY_SECRET, keys_of_secret
from core.workloads.hub_key import hub_key_secret as key_secret
from deployment.permissions.names import DEFAULT_INSTALLATION, OPERATOR_NAMESPACE
from tests.integration.commandline import CommandLine
from tests.integration.hub_cluster import KEY, PATIENCE_SECONDS, STORY, HubCluster
from tests.integration.operator_cluster import eventually
from tests.integration.test_hub_cluster import endless
from tests.unit.hub.cluster_samples import pinned_revision
from tests.unit.hub.modelled_client import collecting


def hubs(data: Path) -> list[int]:
    """The processes of the hub of the cluster in ``data``."""
    port = (data / PORT_FILE).read_text()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"hub" in words and f"--bind-address=127.0.0.1:{port}".encode() in words:
                found.append(int(entry.name))
    return found


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    async def asked() -> bool:
        return holds()

    await eventually(asked, seconds=seconds)


@asynccontextmanager
async def realtime_cluster(line: CommandLine) -> AsyncIterator[tuple[HubCluster, str]]:
    """A cluster that is up, with its hub's key."""
    up = await trio.to_thread.run_sync(line.bobrapet, "up", "--quiet", line.images)
    assert up.code == 0, up.err
    async with trio.open_nursery() as nursery:
        config = await load_config(line.data / "kubeconfig")
        # The runs have no Story. Only the operator may create such runs, and bindings.
        as_operator = Impersonation(DEFAULT_INSTALLATION.user, ("system:masters",))
        async with open_client(replace(config, impersonation=as_operator)) as client:
            port = int((line.data / PORT_FILE).read_text())
            cluster = HubCluster(line.data, nursery, hub_port=port)
            cluster.client = client
            try:
                await client.create(SECRET, key_secret(OPERATOR_NAMESPACE, KEY))
                key = KEY
            except AlreadyExistsError:  # the operator was faster
                stored = await client.get(SECRET, HUB_KEY_SECRET, OPERATOR_NAMESPACE)
                key = keys_of_secret(stored)[0].decode()
            await client.create(CONTROLLER_REVISION, pinned_revision(STORY))
            yield cluster, key
        nursery.cancel_scope.cancel()


async def test_a_hub_starts_with_the_first_binding_and_again_when_it_is_killed(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    received: list[str] = []
    try:
        async with realtime_cluster(line) as (cluster, key):
            assert hubs(line.data) == []
            await cluster.begin()
            cluster.engram("sink", collecting(received), key=key)
            cluster.engram("emit", endless, key=key)
            await until(lambda: len(received) > 10)
            (first,) = hubs(line.data)

            os.kill(first, signal.SIGKILL)
            began, seen = trio.current_time(), len(received)
            await until(lambda: len(received) > seen + 10)
            took = trio.current_time() - began
            print(f"streaming again after {took:.2f} s")
            assert took < 10, "3 s on a machine without other work"
            assert hubs(line.data) != [first]
        done = await trio.to_thread.run_sync(line.bobrapet, "down")
        assert done.code == 0
        assert hubs(line.data) == []
    finally:
        await trio.to_thread.run_sync(line.bobrapet, "down")


async def test_no_hub_is_left_when_the_cluster_is_killed(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    try:
        async with realtime_cluster(line) as (cluster, key):
            await cluster.begin()
            engram = cluster.engram("sink", collecting([]), key=key)
            await engram.ready.wait()
            os.kill(int((line.data / "embedded.lock").read_text()), signal.SIGKILL)
            await until(lambda: hubs(line.data) == [])
    finally:
        await trio.to_thread.run_sync(line.bobrapet, "down")
