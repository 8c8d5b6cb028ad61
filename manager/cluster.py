"""The process behind ``bobrapet up``: API server and node here, the operator in a child process beside it.

    python -m manager.cluster --data DIR [--port N] [--image-map FILE] [--parent PID]

Two processes use two cores, and the operator can crash or be killed without taking the cluster down: it is started
again. With ``--parent`` the process ends when that one does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import trio

from core.kube.client import open_client
from core.kube.config import load_config
from core.kube.errors import KubeError
from core.telemetry.logs import LogFormat, configure_logging, get_logger
from localcluster import launch
from localcluster.lock import DataDirectoryInUseError
from localcluster.node.images import ImageMapError
from localcluster.server.storage import StorageError
from localcluster.serving import PortTakenError
from manager import embedded
from manager.crds import install_crds

OPERATOR_NAMESPACE: Final = "bobrapet-system"
PORT_FILE: Final = "port"
LAUNCH_ERRORS: Final = (DataDirectoryInUseError, ImageMapError, PortTakenError, StorageError, OSError)
_OPERATOR_READY_SECONDS: Final = 30.0
_RESTART_PAUSE_SECONDS: Final = 1.0
_PARENT_CHECK_SECONDS: Final = 0.5

_log = get_logger("cluster")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m manager.cluster")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--image-map", type=Path)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args()
    configure_logging(LogFormat.JSON)
    try:
        trio.run(_until_signal, given, strict_exception_groups=True)
    except* (*LAUNCH_ERRORS, embedded.EmbeddedError, KubeError) as group:
        error: BaseException = group.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


async def _until_signal(given: argparse.Namespace) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        if given.parent:
            nursery.start_soon(_cancel_with_parent, given.parent, nursery.cancel_scope)
        await serve(given.data, port=given.port, image_map=given.image_map)
        nursery.cancel_scope.cancel()


async def serve(data: Path, *, port: int = 0, image_map: Path | None = None) -> None:
    """Serve ``data`` until cancelled; published once the operator is ready.

    Raises:
        EmbeddedError: the folder is taken or cannot be written.
        PortTakenError, StorageError, ImageMapError: it cannot start; the text gives the remedy.
    """
    lock = embedded.lock(data)
    try:
        async with trio.open_nursery() as nursery:
            info = await nursery.start(partial(_serve_cluster, data, port, image_map))
            config = await load_config(info.kubeconfig_path)
            async with open_client(config) as client:
                await install_crds(client)
            metrics_port = _free_port()
            await nursery.start(_keep_operator, info.kubeconfig_path, metrics_port)
            embedded.publish(
                embedded.EmbeddedCluster(
                    data, info.url, info.kubeconfig_path, os.getpid(), f"http://127.0.0.1:{metrics_port}/metrics"
                )
            )
            _log.info("the embedded cluster is ready", url=info.url)
    finally:
        embedded.withdraw(data)
        os.close(lock)


async def _serve_cluster(
    data: Path, port: int, image_map: Path | None, *, task_status: trio.TaskStatus[launch.ClusterInfo]
) -> None:
    """On ``port``; 0 means that of the last time, so that kubeconfigs in use stay valid, else a free one."""
    file = data / PORT_FILE
    if not port and file.exists():
        last = file.read_text(encoding="utf-8").strip()
        with contextlib.suppress(PortTakenError):
            await launch.serve(data, int(last or 0), image_map=image_map, task_status=task_status)
            return
    async with trio.open_nursery() as nursery:
        info: launch.ClusterInfo = await nursery.start(partial(launch.serve, data, port, image_map=image_map))
        file.write_text(info.url.rpartition(":")[2], encoding="utf-8")
        task_status.started(info)


async def _keep_operator(
    kubeconfig: Path, metrics_port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the operator as a child; started when it is ready the first time."""
    reported = False
    while True:
        port = _free_port()
        command = [
            sys.executable,
            "-m",
            "manager.cli",
            "manager",
            f"--kubeconfig={kubeconfig}",
            f"--config-namespace={OPERATOR_NAMESPACE}",
            f"--health-probe-bind-address=127.0.0.1:{port}",
            f"--metrics-bind-address=127.0.0.1:{metrics_port}",
            "--metrics-secure=false",
            "--leader-elect=false",
        ]
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(_run_child, command)
            if not reported:
                await _wait_until_ready(process, port)
                task_status.started()
                reported = True
        _log.warning("the operator ended and is started again", exit_code=process.returncode)
        await trio.sleep(_RESTART_PAUSE_SECONDS)


async def _run_child(
    command: list[str], *, task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until it ends by itself; when cancelled it is asked to stop, then made to."""
    await trio.run_process(
        command,
        stdin=b"",
        check=False,
        deliver_cancel=_stop_child,
        task_status=task_status,
    )


async def _stop_child(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(embedded.STOP_DEADLINE_SECONDS / 3)
    process.kill()


async def _wait_until_ready(process: trio.Process, port: int) -> None:
    async with httpx.AsyncClient() as client:
        with trio.move_on_after(_OPERATOR_READY_SECONDS):
            while process.poll() is None:
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/readyz", timeout=2)
                    if answer.status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await trio.sleep(0.05)
    raise embedded.EmbeddedError(f"the operator did not become ready (exit code {process.returncode})")


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


async def _cancel_with_parent(parent: int, scope: trio.CancelScope) -> None:
    """A killed parent cannot tell: its children are handed to somebody else, which shows."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel offers no portable event for it
        await trio.sleep(_PARENT_CHECK_SECONDS)
    scope.cancel()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
