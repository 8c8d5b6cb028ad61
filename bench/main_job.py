"""Measures the main job from a fresh clone, including the installation, and a second time."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from bench.report import SECONDS, Row, Value

ROOT = Path(__file__).parent.parent


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-clone-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        first, second = _make_run(clone, folder), _make_run(clone, folder)
    return [
        Row("fresh clone → `make run` finished, installation included", Value(first, SECONDS, at_most=9)),
        Row("second `make run`", Value(second, SECONDS, at_most=3)),
    ]


def _make_run(clone: Path, folder: str) -> float:
    started = time.perf_counter()
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "BOBRAPET_DATA": f"{folder}/data"}
    subprocess.run(["make", "run"], cwd=clone, env={**environment, **_index()}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _index() -> dict[str, str]:
    """The settings of this machine for the source of packages."""
    import os

    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
