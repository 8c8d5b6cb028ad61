"""``python -m localcluster`` as a process: start, refusals, a clean stop, and an unclean one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from localcluster.kubeconfig import read_kubeconfig
from localcluster.lock import owner_of
from localcluster.node.client import ApiClient, open_client
from tests.integration.nodecluster import PODS, in_phase, node_of, pod, processes_with, until, until_no_process_with

ROOT = Path(__file__).parents[2]
IMAGES = "images: {shell: {command: [sh, -c]}}"


def command(directory: Path, *options: str) -> list[str]:
    (directory / "images.yaml").write_text(IMAGES)
    image_map = str(directory / "images.yaml")
    return [sys.executable, "-m", "localcluster", "--image-map", image_map, *options]


@asynccontextmanager
async def running(directory: Path, *options: str) -> AsyncIterator[tuple[trio.Process, Path]]:
    """The process and its kubeconfig. It is killed at the end if it still runs."""
    process = await trio.lowlevel.open_process(
        command(directory, "--port", "0", *options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        said = b""
        with trio.fail_after(20):
            while b"\n" not in said:
                chunk = await process.stdout.receive_some()
                assert chunk, "it ended before it was ready"
                said += chunk
        yield process, Path(said.decode().strip().removeprefix("export KUBECONFIG="))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    connection = read_kubeconfig(kubeconfig)
    async with open_client(connection.url, connection.token, connection.tls_context(kubeconfig.parent)) as client:
        yield client


async def start_sleeper(client: ApiClient, marker: str) -> None:
    """A running Pod with a child that has left its process group."""
    await client.create(PODS, pod("p", f"setsid sleep {marker} & exec sleep {marker}"))

    async def both_run() -> bool:
        return in_phase("Running")(await client.get(f"{PODS}/p")) and len(processes_with(f"sleep {marker}")) >= 2

    await until(both_run)


async def test_it_stops_cleanly_and_quickly_on_sigterm(tmp_path: Path) -> None:
    async with running(tmp_path, "--data-dir", str(tmp_path / "data")) as (process, kubeconfig):
        async with client_of(kubeconfig) as client:
            await start_sleeper(client, "86399.61")
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert owner_of(tmp_path / "data") == process.pid

        process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await process.wait() == 0

    await until_no_process_with("sleep 86399.61")
    await until_no_process_with(str(tmp_path))
    assert owner_of(tmp_path / "data") is None


async def test_killed_it_leaves_no_process_behind(tmp_path: Path) -> None:
    async with running(tmp_path, "--ephemeral") as (process, kubeconfig):
        async with client_of(kubeconfig) as client:
            await start_sleeper(client, "86399.62")
        node = node_of(process.pid)

        async def none_is_left() -> bool:
            return not processes_with("sleep 86399.62") and not (Path("/proc") / str(node)).exists()

        process.send_signal(signal.SIGKILL)
        await process.wait()

        await until(none_is_left, seconds=20)


async def test_a_node_that_cannot_start_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "node").write_text("a file where the directory of the node should be")
    refused = await trio.run_process(
        command(tmp_path, "--data-dir", str(tmp_path / "data"), "--port", "0"),
        cwd=ROOT,
        capture_stderr=True,
        check=False,
    )

    assert refused.returncode == 1
    *_, why, last = refused.stderr.decode().strip().splitlines()
    assert last == "error: the node ended before it was ready (exit code 1)"
    assert str(tmp_path / "data" / "node") in why


async def test_a_second_server_on_the_same_data_is_refused_with_a_remedy(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    async with running(tmp_path, "--data-dir", data) as (process, _):
        second = await trio.run_process(
            command(tmp_path, "--data-dir", data, "--port", "0"), cwd=ROOT, capture_stderr=True, check=False
        )

    assert second.returncode == 1
    assert f"in use by process {process.pid}; stop it (kill {process.pid})" in second.stderr.decode()


async def test_an_occupied_port_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = await trio.run_process(
            command(tmp_path, "--ephemeral", "--port", str(port)), cwd=ROOT, capture_stderr=True, check=False
        )

    assert refused.returncode == 1
    assert refused.stderr.decode().strip() == (
        f"error: port {port}: in use by another process; choose another port, or 0 for any free one"
    )


async def test_objects_survive_a_restart_and_an_ephemeral_cluster_leaves_nothing(tmp_path: Path) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    path = "/api/v1/namespaces/default/configmaps"
    async with running(tmp_path, "--data-dir", str(tmp_path / "data")) as (process, kubeconfig):
        async with client_of(kubeconfig) as client:
            created = await client.create(path, config)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async with (
        running(tmp_path, "--data-dir", str(tmp_path / "data")) as (_, kubeconfig),
        client_of(kubeconfig) as client,
    ):
        assert (await client.get(f"{path}/kept"))["metadata"]["uid"] == created["metadata"]["uid"]

    async with running(tmp_path, "--ephemeral") as (process, kubeconfig):
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert not os.path.exists(kubeconfig.parent)  # noqa: ASYNC240, PTH110 - one look, after the end
