"""The Pythons of this machine, by minor version; none is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

import pytest

WITHOUT: Final = "BOBRAPET_E2E_WITHOUT_PYTHONS"
_PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"
_VERSION: Final = "import sys; print(*sys.version_info[:3])"


def supported() -> tuple[str, ...]:
    """The minor versions that the classifiers of the distribution name, such as ``3.11``."""
    classifiers: list[str] = tomllib.loads(_PROJECT.read_text())["project"]["classifiers"]
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in classifiers)
    return tuple(each[1] for each in found if each)


def missing(what: str) -> NoReturn:
    """Skip the test; where ``CI`` is true, fail it: what is promised must not go untested in silence."""
    if os.environ.get("CI") == "true" and not os.environ.get(WITHOUT, ""):
        pytest.fail(f"CI has no {what}; install it, or accept that it is untested with {WITHOUT}=1")
    pytest.skip(f"this machine has no {what}")


@cache
def python(minor: str) -> str | None:
    """The newest Python ``minor`` that starts: from ``PATH``, from pyenv, or from uv."""
    working = [(version, path) for path in _candidates(minor) if (version := _version(path))[:2] == _numbers(minor)]
    return max(working)[1] if working else None


def _candidates(minor: str) -> Iterator[str]:
    on_path = shutil.which(f"python{minor}")
    if on_path is not None:
        yield on_path
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    for folder in (Path("/usr"), *pyenv.glob("versions/*"), *home.glob(".local/share/uv/python/*")):
        if (folder / "bin" / f"python{minor}").is_file():
            yield str(folder / "bin" / f"python{minor}")


def _version(path: str) -> tuple[int, ...]:
    """Empty for a program that does not start, such as a shim of pyenv without a version."""
    done = subprocess.run([path, "-c", _VERSION], capture_output=True, text=True, check=False, timeout=30)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def _numbers(minor: str) -> tuple[int, ...]:
    return tuple(map(int, minor.split(".")))
