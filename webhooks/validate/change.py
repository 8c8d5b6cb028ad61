"""What an update changes. Source: admission contract 1.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.api.objects import ReadOnlyObject
from core.api.text import text


def is_deleted(new: ReadOnlyObject) -> bool:
    """Whether the object is being deleted: then clients must be able to remove finalizers, even if it has errors."""
    return bool(metadata_of(new).get("deletionTimestamp"))


def is_spec_changed(new: ReadOnlyObject, old: ReadOnlyObject) -> bool:
    """Whether the specs differ as JSON values; the order of keys is ignored."""
    return differs(new.get("spec"), old.get("spec"))


def differs(one: Any, other: Any) -> bool:
    """Whether two JSON values differ; ``true`` is not 1, and an absent field is not ``null``."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() != other.keys() or any(differs(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(differs, one, other))
    return isinstance(one, bool) != isinstance(other, bool) or bool(one != other)


def changed_fields(new: ReadOnlyObject, old: ReadOnlyObject, fields: Sequence[str]) -> Iterator[str]:
    """The names in ``fields``, keys of both objects, whose values differ; ``null`` counts as absent."""
    return (field for field in fields if differs(new.get(field), old.get(field)))


def fields_of(value: Any) -> ReadOnlyObject:
    """The object itself; empty for a value that is not an object."""
    return value if isinstance(value, Mapping) else {}


def metadata_of(new: ReadOnlyObject) -> ReadOnlyObject:
    return fields_of(new.get("metadata"))


def namespace_of(new: ReadOnlyObject) -> str:
    return text(metadata_of(new).get("namespace"))


def name_of(new: ReadOnlyObject) -> str:
    return text(metadata_of(new).get("name"))
