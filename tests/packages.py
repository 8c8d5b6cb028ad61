"""The packages of this project, as import-linter knows them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final[tuple[str, ...]] = tuple(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["root_packages"]
)
"""Their names, without those of tests, fuzz and tools."""


def folder_of(package: str) -> Path:
    """The folder of a package: at the top, or in the distribution that it belongs to."""
    return next(
        found
        for root in (ROOT / "localcluster", ROOT / "sdk", ROOT / "impulses", ROOT)
        if (found := root / package).is_dir()
    )
