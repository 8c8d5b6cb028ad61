"""The process of ``bobrapet up``: API server and controllers in this one, node, operator and hub in child processes.

    python -m cli.embedded --data DIR [--port N] [--image-map FILE] [--on-demand] [--waiting]

Several processes use several cores. Each child can crash or be killed without stopping the cluster: this process starts
it again. With ``--on-demand`` the cluster ends when no command uses it any more. With ``--waiting`` it begins when it
is told to (``cli.embedded.preloading``).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from bobrapet.launch import module_command
from cli.embedded.folder import STAYS_FILE, EmbeddedCluster, EmbeddedError, claims_folder, must_stay, publish
from cli.embedded.hub_port import hub_endpoint
from cli.embedded.operator_process import operator_process
from cli.embedded.preloading import wait_until_wanted
from cli.embedded.process import serving
from cli.embedded.usage import wait_until_unused
from core.telemetry.logs import LogFormat, configure_logging, get_logger
from kubewire.reclaim import spare_what_there_is
from localcluster.privatefile import PRIVATE_UMASK

if TYPE_CHECKING:
    from localcluster.launch import ClusterInfo

PORT_FILE: Final = "port"
_LOADED_LATER: Final = (
    "core.kube.client",
    "core.kube.config",
    "deployment.crds",
    "cli.embedded.admission",
    "cli.embedded.identity",
    "cli.embedded.images",
    "localcluster.launch",
    "localcluster.server.schema_structure",
)
"""What a start loads while the operator loads its own modules; a process that has to wait loads it at once."""

_log = get_logger("cluster")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m cli.embedded")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--image-map", type=Path)
    parser.add_argument("--on-demand", action="store_true")
    parser.add_argument("--waiting", action="store_true")
    given = parser.parse_args()
    os.umask(PRIVATE_UMASK)  # also for the operator and the node; containers get the usual one again
    if given.waiting:
        for module in _LOADED_LATER:
            import_module(module)
        if not wait_until_wanted(given.data):
            return
    configure_logging(LogFormat.JSON)
    try:
        trio.run(_until_signal, given, strict_exception_groups=True)
    except Exception as error:  # noqa: BLE001 - the process edge: the process that started this one reads the last line
        problem = _only(error)
        if not isinstance(problem, _launch_errors()):
            _log.error("the embedded cluster broke", error=problem)
        sys.stderr.write(f"error: {problem}\n")
        sys.exit(1)


async def _until_signal(given: argparse.Namespace) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        await serve(given.data, port=given.port, image_map=given.image_map, on_demand=given.on_demand)
        nursery.cancel_scope.cancel()


async def serve(data: Path, *, port: int = 0, image_map: Path | None = None, on_demand: bool = False) -> None:
    """Serve ``data`` until cancelled, or until unused if ``on_demand``; published when the operator is ready.

    Raises:
        EmbeddedError: the folder is taken or cannot be written.
        PortTakenError, StorageError, ImageMapError: it cannot start; the text has the remedy.
    """
    with serving(data), contextlib.ExitStack() as held:
        (data / STAYS_FILE).unlink(missing_ok=True)
        async with trio.open_nursery() as servers:
            server = _ApiServer(servers)
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(_operate, server, data, port, image_map, on_demand)
                    if on_demand:
                        held.enter_context(await wait_until_unused(data))
                        if must_stay(data):
                            held.close()
                        else:
                            _log.info("no command uses the embedded cluster any longer")
                            nursery.cancel_scope.cancel()
            finally:
                server.stop()


async def _operate(
    server: _ApiServer,
    data: Path,
    port: int,
    image_map: Path | None,
    on_demand: bool,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Runs everything except the end of the API server; published, and started, when the operator is ready."""
    info: ClusterInfo | None = None

    def operator_is_ready(metrics_url: str) -> None:
        """At the first start, and after each restart, which may have changed its port."""
        assert info is not None, "the operator must start after the API server"
        try:
            publish(EmbeddedCluster(data, info.url, info.kubeconfig_path, os.getpid(), metrics_url, on_demand))
        except OSError as error:
            if not ready.is_set():
                raise
            _log.warning("the published data of the cluster is out of date", cause=str(error))
        ready.set()

    ready = trio.Event()
    async with trio.open_nursery() as nursery:
        endpoint = hub_endpoint(data)
        operator = operator_process(operator_is_ready, claims_folder(data), endpoint)
        # First: while this process loads its modules, the operator loads its own on another core.
        await nursery.start(operator.run)
        nursery.start_soon(_keep_images, data, image_map)
        info = await server.start(partial(_serve_cluster, data, port))
        operator.begin(str(await _install_operator(info, data)))
        await ready.wait()
        _log.info("the embedded cluster is ready", url=info.url)
        task_status.started()
        nursery.start_soon(_keep_store, info)
        await _keep_hub(info, data, endpoint)


class _ApiServer:
    """Lives longer than the operator, so that the operator can still write while it stops."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scope = trio.CancelScope()

    async def start(self, serve_cluster: Callable[..., Awaitable[None]]) -> ClusterInfo:
        async def serve_in_scope(*, task_status: trio.TaskStatus[ClusterInfo]) -> None:
            with self._scope:
                await serve_cluster(task_status=task_status)

        info: ClusterInfo = await self._nursery.start(serve_in_scope)
        self._scope.shield = True
        return info

    def stop(self) -> None:
        self._scope.cancel()


async def _keep_hub(info: ClusterInfo, data: Path, endpoint: str) -> None:
    from cli.embedded.hub_process import keep_hub

    await keep_hub(info.kubeconfig_path, data, endpoint)


async def _keep_store(info: ClusterInfo) -> None:
    from cli.embedded.store_claims import keep_store_claims

    await keep_store_claims(info.kubeconfig_path)


async def _keep_images(data: Path, image_map: Path | None) -> None:
    from cli.embedded.images import keep_image_map, use_image_map

    use_image_map(data, image_map)
    await keep_image_map(data)


async def _serve_cluster(data: Path, port: int, *, task_status: trio.TaskStatus[ClusterInfo]) -> None:
    """On ``port``; 0 means the port of the last run, so that kubeconfigs in use stay valid, or a free one."""
    from cli.embedded.admission import local_webhooks
    from cli.embedded.images import MAP_FILE
    from localcluster import launch
    from localcluster.log import LogForm
    from localcluster.serving import PortTakenError

    spare_what_there_is()  # the modules, before the API server begins to visit what is new
    file = data / PORT_FILE
    serve_on = partial(
        launch.serve,
        data,
        image_map=data / MAP_FILE,
        log_form=LogForm.JSON,
        local_webhooks=local_webhooks(),
        node_command=module_command("localcluster.node"),
    )
    if not port and file.exists():
        last = file.read_text(encoding="utf-8").strip()
        with contextlib.suppress(PortTakenError):
            await serve_on(int(last) if last.isdecimal() else 0, task_status=task_status)
            return
    async with trio.open_nursery() as nursery:
        info: ClusterInfo = await nursery.start(serve_on, port)
        file.write_text(info.url.rpartition(":")[2], encoding="utf-8")
        task_status.started(info)


async def _install_operator(info: ClusterInfo, data: Path) -> Path:
    """Applies what an administrator must apply before the operator starts; returns the operator's kubeconfig."""
    from cli.embedded.identity import operator_kubeconfig
    from core.kube.client import open_client
    from core.kube.config import load_config
    from deployment.crds import install_definitions, packaged_crds
    from localcluster.server.schema_structure import take_as_flawless

    definitions = packaged_crds(converted=True)
    for definition in definitions:
        for version in definition["spec"]["versions"]:
            take_as_flawless(version["schema"]["openAPIV3Schema"])  # a test has found no problems in it
    async with open_client(await load_config(info.kubeconfig_path)) as client, trio.open_nursery() as nursery:
        nursery.start_soon(install_definitions, client, definitions)
        return await operator_kubeconfig(client, info.kubeconfig_path, data)


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def _launch_errors() -> tuple[type[BaseException], ...]:
    """Errors that the user must fix, and that need no stack trace."""
    from core.kube.errors import KubeError
    from localcluster.keptprocess import ProcessNotReadyError
    from localcluster.lock import DataDirectoryInUseError
    from localcluster.node.images import ImageMapError
    from localcluster.privatefile import OpenFolderError
    from localcluster.server.storage import StorageError
    from localcluster.serving import PortTakenError

    return (
        DataDirectoryInUseError,
        OpenFolderError,
        ImageMapError,
        PortTakenError,
        ProcessNotReadyError,
        StorageError,
        KubeError,
        EmbeddedError,
        OSError,
    )


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
