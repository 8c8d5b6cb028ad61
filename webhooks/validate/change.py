"""What an update changes. Source: admission contract 1.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.api.objects import ReadOnlyObject


def is_deleted(new: ReadOnlyObject) -> bool:
    """Whether the object is on its way out: then finalizers must be removable, whatever else is wrong."""
    return bool(metadata_of(new).get("deletionTimestamp"))


def is_spec_changed(new: ReadOnlyObject, old: ReadOnlyObject) -> bool:
    """Compared as JSON values: the order of keys does not count."""
    return differs(new.get("spec"), old.get("spec"))


def differs(one: Any, other: Any) -> bool:
    """Whether two JSON values do; ``true`` is not 1, an absent field is not ``null``."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() != other.keys() or any(differs(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(differs, one, other))
    return isinstance(one, bool) != isinstance(other, bool) or bool(one != other)


def changed_fields(new: ReadOnlyObject, old: ReadOnlyObject, fields: Sequence[str]) -> Iterator[str]:
    """Those of ``fields``, keys of both objects, whose values differ; ``null`` counts as absent."""
    return (field for field in fields if differs(new.get(field), old.get(field)))


def text(value: Any) -> str:
    """A text without blanks around it, and without halves of letters; empty for what is none."""
    if not isinstance(value, str):
        return ""
    stripped = value.strip()
    return stripped if stripped.isascii() else stripped.encode("utf-8", "replace").decode()


def fields_of(value: Any) -> ReadOnlyObject:
    """An object as it is; nothing for what is none."""
    return value if isinstance(value, Mapping) else {}


def metadata_of(new: ReadOnlyObject) -> ReadOnlyObject:
    return fields_of(new.get("metadata"))


def namespace_of(new: ReadOnlyObject) -> str:
    return text(metadata_of(new).get("namespace"))


def name_of(new: ReadOnlyObject) -> str:
    return text(metadata_of(new).get("name"))
