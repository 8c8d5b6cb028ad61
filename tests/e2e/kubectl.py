"""The real kubectl on the cluster of the session."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.control_plane.session import SessionCluster

DEADLINE_SECONDS = 120.0


@dataclass(frozen=True)
class Output:
    out: str
    err: str
    """Includes warnings of the server."""


@dataclass(frozen=True)
class Kubectl:
    cluster: SessionCluster
    home: Path
    """Where kubectl caches discovery."""

    def __call__(self, *arguments: str, stdin: str = "") -> Output:
        """The output of the command.

        Raises:
            AssertionError: it failed; the message has its words.
        """
        command = [str(self.cluster.kubectl), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=DEADLINE_SECONDS, env=environment
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return Output(done.stdout, done.stderr)
