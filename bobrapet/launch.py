"""The order in which a process of ours searches for modules, and how such a process starts.

As a script it starts a module: ``python -P FILE MODULE ARGUMENT…``. A path needs no search, so a module of the user
cannot be found instead.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_INSTALLED: Final = _HERE / "_modules"

_UNNEEDED: Final = ("rich", "click")

ROOT: Final = _INSTALLED if _INSTALLED.is_dir() else _HERE.parent
"""The folder that contains our packages, examples and manifests: in an installation ``_modules``, else the checkout."""
_SEARCHED: Final = (ROOT,) if ROOT == _INSTALLED else (ROOT, ROOT / "localcluster")
"""In a checkout the embedded cluster is a project of its own."""


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of ours with the interpreter of this process.

    The folder of the caller is not searched (``-P``): it may hold other programs with our names.
    """
    return (sys.executable, "-P", str(Path(__file__).resolve()), module, *arguments)


def own_modules_first() -> None:
    """Let this process search our folders first, and the folders of ``PYTHONPATH`` last."""
    sys.path[:] = search_order(sys.path, os.environ.get("PYTHONPATH", ""), _SEARCHED)


def do_without_extras() -> None:
    """Hide rich and click from the libraries that are imported afterwards: both take a tenth of a second or more.

    None of these needs them for our purposes: httpx has its own command line, typer renders markup in help texts,
    structlog draws tracebacks.
    """
    for name in _UNNEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # this value makes an import fail


def search_order(folders: Sequence[str], python_path: str, roots: Sequence[Path]) -> list[str]:
    """``roots``, then the other ``folders``, those of ``python_path`` at the end."""
    places = {folder: Path(folder).resolve() for folder in folders}
    named = {Path(folder).resolve() for folder in python_path.split(os.pathsep) if folder}
    others = [folder for folder in folders if places[folder] not in roots]
    first = [folder for folder in others if places[folder] not in named]
    last = [folder for folder in others if places[folder] in named]
    return [*map(str, roots), *first, *last]


if __name__ == "__main__":
    own_modules_first()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
