"""The hub as a child process of the embedded cluster, from the first TransportBinding on.

A cluster without realtime Stories has no bindings, so it does not pay for a hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from bobrapet.launch import module_command
from cli.embedded.hub_port import HOST
from cli.embedded.identity import hub_kubeconfig
from cli.embedded.operator_process import OPERATOR_NAMESPACE
from core.api.resource import TRANSPORT_BINDING
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import KubeError
from core.kube.informer import Informer
from core.kube.retry import Backoff
from core.telemetry.logs import get_logger
from localcluster.keptprocess import KeptProcess, ProcessNotReadyError

DRAIN_SECONDS: Final = 3
"""Less than the time between SIGTERM and SIGKILL of a child (``localcluster.keptprocess``)."""
_RETRY_SECONDS: Final = (1.0, 30.0)

_log = get_logger("cluster")


async def keep_hub(administrator: Path, data: Path, endpoint: str) -> None:
    """Wait for the first TransportBinding, then keep a hub running until cancelled.

    Args:
        administrator: kubeconfig of the cluster.
    """
    backoff = Backoff(*_RETRY_SECONDS)
    async with open_client(await load_config(administrator)) as client:
        await _first_binding(client)
        while True:
            try:
                kubeconfig = await hub_kubeconfig(client, administrator, data)
                break
            except KubeError as error:
                _log.warning("the hub cannot get its permissions", error=str(error))
                await trio.sleep(backoff.next_seconds(error))
    while True:
        hub = KeptProcess("hub", _command(endpoint), lambda endpoint: _log.info("the hub runs", endpoint=endpoint))
        hub.begin(str(kubeconfig))
        try:
            await hub.run()
        except ProcessNotReadyError as error:
            pause = backoff.next_seconds()
            _log.error("the hub did not start", cause=str(error), pause_seconds=round(pause, 1))
            await trio.sleep(pause)


def _command(endpoint: str) -> tuple[str, ...]:
    options = (f"--bind-address={endpoint}", f"--config-namespace={OPERATOR_NAMESPACE}")
    console = f"--console-bind-address={HOST}:0"
    drain = f"--drain-seconds={DRAIN_SECONDS}"
    return module_command("cli", "hub", "--attached", *options, console, drain)


async def _first_binding(client: KubeClient) -> None:
    """Return when there is a TransportBinding."""
    seen = trio.Event()
    bindings = Informer(client, TRANSPORT_BINDING, trim=lambda binding: {"metadata": binding["metadata"]})
    bindings.add_handler(lambda change: seen.set())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bindings.run)
        await seen.wait()
        nursery.cancel_scope.cancel()
