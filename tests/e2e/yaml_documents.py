"""Reading the repository's YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def images(path: Path) -> dict[str, Any]:
    """The images of a map, with paths that are valid wherever the map is stored."""
    found = YAML(typ="safe", pure=True).load(path.read_text())["images"]
    return {
        name: {"command": [_absolute(word, path.parent) for word in image["command"]]} for name, image in found.items()
    }


def manifest(path: Path) -> dict[str, Any]:
    """The only document of a file."""
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text())
    return found


def _absolute(word: str, folder: Path) -> str:
    return str(folder / word) if word.startswith("./") else word
