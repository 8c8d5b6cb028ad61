"""The operator's RBAC objects as ``deployment.generate`` wrote them, for a process that must start quickly.

To render them, a process imports every controller and the engine; the one that runs the embedded cluster has no other
use for these. ``deployment.generate --check`` holds the file and the table together.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from core.api.objects import Object

FILE_NAME: Final = "operator_objects.json"


def rendered_objects() -> list[Object]:
    """Those of the default installation, in the order in which they can be applied."""
    objects: list[Object] = orjson.loads(Path(__file__).with_name(FILE_NAME).read_bytes())
    return objects


def text_of(objects: Iterable[Object]) -> str:
    """What the file must hold."""
    return orjson.dumps([*objects], option=orjson.OPT_INDENT_2).decode() + "\n"
