"""The operator's RBAC objects as ``deployment.generate`` wrote them, for a process that must start quickly.

Rendering them imports every controller and the engine, which the process of the embedded cluster does not need
otherwise. ``deployment.generate --check`` compares the file with the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from core.api.objects import Object

FILE_NAME: Final = "operator_objects.json"


def rendered_objects() -> list[Object]:
    """The objects of the default installation, in the order in which they can be applied."""
    objects: list[Object] = orjson.loads(Path(__file__).with_name(FILE_NAME).read_bytes())
    return objects


def text_of(objects: Iterable[Object]) -> str:
    """The text of the file."""
    return orjson.dumps([*objects], option=orjson.OPT_INDENT_2).decode() + "\n"
