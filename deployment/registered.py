"""The webhook configurations of this version, as ``deployment.generate`` wrote them, for the embedded cluster.

Rendering them imports every controller, which the process of the embedded cluster does not need otherwise.
``deployment.generate --check`` compares the file with ``deployment.registration``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from core.api.objects import Object

FILE_NAME: Final = "webhook_configurations.json"


def packaged_configurations() -> list[Object]:
    """The mutating and the validating configuration of the default installation."""
    configurations: list[Object] = orjson.loads(Path(__file__).with_name(FILE_NAME).read_bytes())
    return configurations


def text_of(configurations: Iterable[Object]) -> str:
    """The text of the file."""
    return orjson.dumps([*configurations], option=orjson.OPT_INDENT_2).decode() + "\n"
