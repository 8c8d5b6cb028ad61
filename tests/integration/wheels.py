"""The distributions of this repository, built and installed as users have them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
PROJECTS: Final = {"bobrapet": REPOSITORY, "bubu_sdk": REPOSITORY / "sdk", "bobrapet_impulses": REPOSITORY / "impulses"}
"""The folder of each distribution, by the beginning of its files."""
LOCALCLUSTER: Final = REPOSITORY / "localcluster"
"""A project that nobody releases: the wheel of the operator has a copy."""
VERSION: Final[str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
UV: Final = str(Path(sys.executable).parent / "uv")
OUR_NAMES: Final = ("certs", "cli", "core", "hub", "kubewire", "localcluster", "manager", "views", "webhooks")
"""Packages of ours whose names a user's module may have, too."""
_SECONDS: Final = 300.0


def build(project: Path, target: Path, kind: str = "wheel") -> Path:
    """Build a ``wheel`` or an ``sdist`` without another environment: hatchling is installed in this one."""
    there = set(target.glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=_SECONDS)
    (built,) = set(target.glob("*")) - there
    return built


@dataclass(frozen=True)
class Environment:
    """A virtual environment in ``folder``; its programs see ``home``, and nothing of the environment of the tests."""

    folder: Path
    home: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def create(self, python: str = sys.executable) -> None:
        command = [UV, "venv", "--quiet", "--offline", "--python", python, str(self.folder)]
        subprocess.run(command, check=True, timeout=_SECONDS)
        self.home.mkdir(exist_ok=True)

    def install(self, *words: str) -> None:
        command = [UV, "pip", "install", "--quiet", "--python", self.python, *words]
        subprocess.run(command, check=True, timeout=_SECONDS)

    def borrow_libraries(self) -> None:
        """Use the libraries of the tests' environment; the packages of this checkout are not seen."""
        (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))

    def run(
        self, *command: str, folder: Path | None = None, python_path: Sequence[Path] = ()
    ) -> subprocess.CompletedProcess[str]:
        """A program of this environment."""
        variables = {"HOME": str(self.home), "PATH": f"{self.folder}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        if python_path:
            variables["PYTHONPATH"] = os.pathsep.join(map(str, python_path))
        found = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.run(
            found, cwd=folder or self.home, env=variables, capture_output=True, text=True, check=False, timeout=_SECONDS
        )


def write_namesakes(folder: Path) -> None:
    """Modules of a user that have the names of ours, and say so when they are imported."""
    folder.mkdir(exist_ok=True)
    for name in OUR_NAMES:
        (folder / f"{name}.py").write_text(f"OWNER = 'the user'\nprint('the {name} of the user')\n")
