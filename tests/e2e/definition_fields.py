"""The fields of definitions, and those that an older definition would drop. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.api.objects import Object


def fields_of(schema: Object, at: str = "") -> Iterator[str]:
    """The path of every declared field, such as ``.spec.steps[].ref``."""
    for name, inner in (schema.get("properties") or {}).items():
        yield f"{at}.{name}"
        yield from fields_of(inner, f"{at}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(key), dict):
            yield from fields_of(schema[key], f"{at}{mark}")


def new_fields(older: Object, newer: Object) -> set[str]:
    """The topmost fields of the newer definition that the older one would drop, in the versions that both have."""
    before = _by_version(older)
    added = {
        path
        for name, fields in _by_version(newer).items()
        for path in fields - before.get(name, fields)
        if name in before
    }
    return {path for path in added if not any(path.startswith((f"{other}.", f"{other}[")) for other in added)}


def _by_version(definition: Object) -> dict[str, set[str]]:
    versions: list[Any] = definition["spec"]["versions"]
    return {version["name"]: set(fields_of(version["schema"]["openAPIV3Schema"])) for version in versions}
