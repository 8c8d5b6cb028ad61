"""Objects of the default installation as JSON, for processes that must start quickly.

Rendering them imports the models, every controller and the engine; parsing the YAML of ``manifests`` would take longer
than starting the embedded cluster. ``deployment.generate`` writes the files, and ``--check`` compares them with what
that YAML is rendered from. People read the YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import orjson

from core.api.objects import Object


class Packaged(StrEnum):
    """Names of the files."""

    DEFINITIONS = "definitions.json"
    """All kinds with all their versions, and the webhook that converts between these."""
    CONFIGURATIONS = "webhook_configurations.json"
    """The mutating and the validating configuration."""
    POLICIES = "admission_policies.json"
    """Each policy is followed by its binding."""
    PERMISSIONS = "operator_objects.json"
    """The operator's RBAC objects, in the order in which they can be applied."""


def packaged(file: Packaged) -> list[Object]:
    """The objects in a file."""
    objects: list[Object] = orjson.loads(Path(__file__).with_name(file.value).read_bytes())
    return objects


def text_of(objects: Iterable[Object]) -> str:
    """The text of a file: a line for each object."""
    return "[\n" + ",\n".join(orjson.dumps(each).decode() for each in objects) + "\n]\n"
