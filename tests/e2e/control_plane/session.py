"""One control plane for a whole test session: a process beside the tests, or a cluster that exists already.

Tests' own event loops come and go with each test; what is to outlive them is started without one, in a child that ends
when we do, however we end.
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

from tests.e2e.control_plane.access import load_access
from tests.e2e.control_plane.binaries import ensure_binaries
from tests.e2e.control_plane.node import NodeCredentials, credentials_of
from tests.e2e.control_plane.processes import ServerError
from tests.e2e.control_plane.running import ControlPlane

KUBECONFIG_VARIABLE: Final = "BOBRAPET_E2E_KUBECONFIG"
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What the child says of the control plane it runs."""

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
    """How the plane is reached."""
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
    """The cluster all tests of a session share."""

    kubeconfig: Path
    """Of an administrator."""
    kubectl: Path
    ready: Ready | None = None
    """Of a control plane started here; None for a cluster that was there: then its processes and nodes are not ours."""

    @property
    def node(self) -> NodeCredentials | None:
        """With which our node can be one of this cluster; None where Pods run on nodes of the cluster's own."""
        if self.ready is None:
            return None
        return credentials_of(self.ready.url, load_access(Path(self.ready.kubeconfig).parent))


@contextmanager
def running_cluster(directory: Path, environ: Mapping[str, str] = os.environ) -> Iterator[SessionCluster]:
    """The cluster named by ``BOBRAPET_E2E_KUBECONFIG``, else a control plane for the length of the block.

    Raises:
        MissingBinariesError, BuildError, ServerError: it cannot be had; the text says what to do.
    """
    if named := environ.get(KUBECONFIG_VARIABLE):
        yield SessionCluster(Path(named), Path("kubectl"))
        return
    programs = ensure_binaries(environ=environ)  # here, where the terminal is
    with running_child(directory) as ready:
        yield SessionCluster(Path(ready.kubeconfig), programs.kubectl, ready)


@contextmanager
def running_child(directory: Path, *options: str) -> Iterator[Ready]:
    """``python -m tests.e2e.control_plane up`` for the length of the block."""
    command = [sys.executable, "-m", "tests.e2e.control_plane", "up", *options, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
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
