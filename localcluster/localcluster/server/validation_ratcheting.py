"""Tolerates an old error while the value around it stays the same.

So an object that was stored under a less strict schema can still be updated in other places. Values are compared as the
API server does: fields by name, entries of a list map by their keys, other lists as a whole.
Source: CRD validation ratcheting (Kubernetes 1.33 and later).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]

_ABSENT = object()


def is_unchanged(path: Path, new: Any, old: Any, schema: Mapping[str, Any] | None) -> bool:
    """Whether the value at ``path``, or one of its parents below the root, is the same in ``old`` and ``new``."""
    for step in path:
        new, old, schema = _descend(step, new, old, schema)
        if old is _ABSENT:
            return False
        if new is not _ABSENT and new == old and type(new) is type(old):
            return True
        if new is _ABSENT:
            return False
    return False


def correlated(index: int, new: list[Any], old: Any, schema: Mapping[str, Any]) -> Any:
    """The entry of ``old`` with the keys of ``new[index]``; None if there is none or the list is not a list map."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(new[index], dict):
        return None
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    wanted = [new[index].get(key) for key in keys]
    for entry in old:
        if isinstance(entry, dict) and [entry.get(key) for key in keys] == wanted:
            return entry
    return None


def _descend(
    step: str | int, new: Any, old: Any, schema: Mapping[str, Any] | None
) -> tuple[Any, Any, Mapping[str, Any] | None]:
    if isinstance(step, int):
        if not isinstance(new, list) or schema is None:
            return _ABSENT, _ABSENT, None
        entry = correlated(step, new, old, schema)
        items = schema.get("items")
        return new[step], _ABSENT if entry is None else entry, items if isinstance(items, Mapping) else None
    inner: Any = None
    if schema is not None:
        inner = (schema.get("properties") or {}).get(step, schema.get("additionalProperties"))
    return (
        new.get(step, _ABSENT) if isinstance(new, dict) else _ABSENT,
        old.get(step, _ABSENT) if isinstance(old, dict) else _ABSENT,
        inner if isinstance(inner, Mapping) else None,
    )
