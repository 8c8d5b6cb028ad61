"""An operator and a node on a real control plane, as separate processes, for tests that only run commands.

``python -m tests.integration.real_stand ACCESS IMAGE_MAP DIRECTORY`` runs both until its standard input ends,
and prints a line when they work. ``standing`` runs it, on an emptied cluster, during a block.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trio

from deployment.permissions.install import request_token
from deployment.permissions.roles import operator_objects
from kubewire import parent
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private
from tests.integration.commandline import REPOSITORY
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR, open_emptied
from tests.integration.operator_rights import ensure_rights
from tools.control_plane.access import load_access
from tools.control_plane.node import credentials_of, open_node
from tools.control_plane.processes import open_process
from tools.control_plane.session import SessionCluster

_MODULE = "tests.integration.real_stand"
_STOP_SECONDS = 20.0


@contextmanager
def standing(real: SessionCluster, folder: Path, image_map: Path) -> Iterator[Mapping[str, str]]:
    """The environment variables with which a command finds the cluster and the namespace that tests may fill."""
    assert real.ready is not None
    access = load_access(Path(real.ready.kubeconfig).parent)
    people = Connection(real.ready.url, real.ready.admin_token, real.ready.ca_pem)
    write_private(folder / "kubeconfig", render_kubeconfig(people, namespace=NAMESPACE_NAME))
    trio.run(_prepare, real, folder / "operator.kubeconfig")
    command = [sys.executable, "-m", _MODULE, str(access.directory), real.ready.url, str(image_map), str(folder)]
    importable = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=importable, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), "the stand did not start; its words are above"
            yield {"KUBECONFIG": str(folder / "kubeconfig")}
        finally:
            process.stdin.close()
            process.wait(_STOP_SECONDS)


async def _prepare(real: SessionCluster, kubeconfig: Path) -> None:
    """An emptied cluster, and the operator's account in it."""
    assert real.ready is not None
    async with open_emptied(real) as (_, client):
        await ensure_rights(client, operator_objects(OPERATOR))
        token = await request_token(client, OPERATOR)
        write_private(kubeconfig, render_kubeconfig(Connection(real.ready.url, token, real.ready.ca_pem)))


async def _stand(access: Path, url: str, image_map: Path, directory: Path) -> None:
    operator = [
        *(sys.executable, "-m", "cli", "manager", f"--kubeconfig={directory}/operator.kubeconfig"),
        *("--health-probe-bind-address=0", "--webhook-bind-address=0", "--leader-elect=false"),
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_parent, nursery.cancel_scope)
        credentials = credentials_of(url, load_access(access))
        async with (
            open_node(credentials, image_map, directory / "node", restart_delay_seconds=0.05),
            open_process("operator", operator, directory),
        ):
            parent.answer("ready")
            await trio.sleep_forever()


async def _end_with_parent(scope: trio.CancelScope) -> None:
    await parent.wait_until_gone(parent.standard_input())
    scope.cancel()


if __name__ == "__main__":
    trio.run(_stand, Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
