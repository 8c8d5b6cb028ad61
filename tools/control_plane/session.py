"""One control plane for a whole test session: a process beside the tests, or an existing cluster.

Each test has its own event loop. What must live longer is started without one, in a child process that ends when the
tests end, however they end.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tools.control_plane.access import load_access
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.node import NodeCredentials, credentials_of
from tools.control_plane.processes import ServerError
from tools.control_plane.running import ControlPlane

KUBECONFIG_VARIABLE: Final = "BOBRAPET_E2E_KUBECONFIG"
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What the child prints about the control plane that it runs."""

    url: str
    etcd_url: str
    ca_pem: str
    admin_token: str
    kubeconfig: str
    kubectl: str
    pids: dict[str, int]

    def to_line(self) -> str:
        return json.dumps(asdict(self))


def ready_of(plane: ControlPlane) -> Ready:
    """How to reach the control plane."""
    return Ready(
        plane.url,
        plane.etcd_url,
        plane.ca_pem,
        plane.admin_token,
        str(plane.kubeconfig),
        str(plane.binaries.kubectl),
        plane.pids,
    )


@dataclass(frozen=True, slots=True)
class SessionCluster:
    """The cluster that all tests of a session share."""

    kubeconfig: Path
    """The kubeconfig of an administrator."""
    kubectl: Path
    ready: Ready | None = None
    """Set for a control plane started here. None for an existing cluster, whose processes and nodes are not ours."""

    @property
    def node(self) -> NodeCredentials | None:
        """The credentials with which our node can join this cluster. None if the cluster has its own nodes for Pods."""
        if self.ready is None:
            return None
        return credentials_of(self.ready.url, load_access(Path(self.ready.kubeconfig).parent))


@contextmanager
def running_cluster(directory: Path, environ: Mapping[str, str] = os.environ) -> Iterator[SessionCluster]:
    """The cluster named by ``BOBRAPET_E2E_KUBECONFIG``, or a control plane during the block.

    Raises:
        MissingBinariesError, BuildError, ServerError: there is no cluster; the message says what to do.
    """
    if named := environ.get(KUBECONFIG_VARIABLE):
        yield SessionCluster(Path(named), Path("kubectl"))
        return
    programs = ensure_binaries(environ=environ)  # here, because this process has the terminal
    with running_child(directory) as ready:
        yield SessionCluster(Path(ready.kubeconfig), programs.kubectl, ready)


@contextmanager
def running_child(directory: Path, *options: str) -> Iterator[Ready]:
    """``python -m tools.control_plane up`` during the block."""
    command = [sys.executable, "-m", "tools.control_plane", "up", *options, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = directory / "control-plane.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        answered, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        line = process.stdout.readline() if answered else ""
        if not line:
            raise ServerError(f"the control plane did not start; its logs are in {directory}\n{log.read_text()}")
        yield Ready(**json.loads(line))
    finally:
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
