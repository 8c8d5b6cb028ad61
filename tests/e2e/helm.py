"""The real helm, which Go builds, on the chart of this repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tools.control_plane.binaries import MissingBinariesError, ensure_tool

CHART: Final = Path(__file__).parents[2] / "deployment" / "charts" / "bobrapet"
DEADLINE_SECONDS: Final = 180.0


@dataclass(frozen=True)
class Helm:
    """``home`` is where it caches; ``kubeconfig`` is empty for commands without a cluster."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """The ended command; ``values`` are its values file."""
        to = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        with_ = ["--values=-"] if values is not None else []
        command = [str(self.program), *arguments, *with_, *to]
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command,
            input=json.dumps(values) if values is not None else "",
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            env=environment,
        )

    def __call__(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Standard output.

        Raises:
            AssertionError: it failed; the message has its words.
        """
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


def open_helm(home: Path, kubeconfig: Path | None = None) -> Helm:
    """Helm, or the test is skipped."""
    try:
        return Helm(ensure_tool("helm"), home, kubeconfig)
    except MissingBinariesError as missing:
        pytest.skip(str(missing))
