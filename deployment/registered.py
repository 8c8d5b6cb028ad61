"""The webhook configurations and admission policies of this version, for the embedded cluster.

``deployment.generate`` wrote the files. Rendering the objects imports every controller, which the process of the
embedded cluster does not need otherwise. ``deployment.generate --check`` compares the files with
``deployment.registration`` and ``deployment.files``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from core.api.objects import Object

FILE_NAME: Final = "webhook_configurations.json"
POLICIES_FILE_NAME: Final = "admission_policies.json"


def packaged_configurations() -> list[Object]:
    """The mutating and the validating configuration of the default installation."""
    return _objects(FILE_NAME)


def packaged_policies() -> list[Object]:
    """The policies of the default installation, each followed by its binding."""
    return _objects(POLICIES_FILE_NAME)


def text_of(objects: Iterable[Object]) -> str:
    """The text of a file."""
    return orjson.dumps([*objects], option=orjson.OPT_INDENT_2).decode() + "\n"


def _objects(file_name: str) -> list[Object]:
    objects: list[Object] = orjson.loads(Path(__file__).with_name(file_name).read_bytes())
    return objects
