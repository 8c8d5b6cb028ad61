"""The ``--image-map`` of ``run`` and ``up``: checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.problem import CommandError, UsageError
from localcluster.node.images import ImageMapError, parse_image_map

ImageMapOption = Annotated[
    Path | None, typer.Option("--image-map", help="File that maps image names to programs (YAML).")
]


def checked_image_map(given: Path | None) -> Path | None:
    """The full path of the file, which other processes need.

    Raises:
        UsageError: it does not exist.
        CommandError: it is damaged; the message names entry and field.
    """
    if given is None:
        return None
    path = given.expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"--image-map: {given} does not exist", remedy="check the path")
    try:
        parse_image_map(path.read_text(encoding="utf-8"), path)
    except (ImageMapError, UnicodeDecodeError) as error:
        raise CommandError(f"--image-map: {error}") from None
    return path
