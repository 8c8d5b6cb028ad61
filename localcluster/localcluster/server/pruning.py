"""Removes fields that a structural schema does not name, and reports their paths.

Source: structural schemas of CustomResourceDefinition v1. Not here: apiVersion, kind and metadata of the root, which
schema.py always keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Pruner = Callable[[Any], list[str]]
"""Drops unknown fields of a value in place; returns their relative paths, each beginning with ``.`` or ``[``."""

METADATA_FIELDS = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_EMBEDDED_ALWAYS = frozenset({"apiVersion", "kind", "metadata"})

_NOTHING: list[str] = []


def prune_metadata(metadata: Any) -> list[str]:
    """Drop fields that object metadata does not have; paths are relative to the metadata."""
    if not isinstance(metadata, dict):
        return _NOTHING
    return _drop(metadata, [name for name in metadata if name not in METADATA_FIELDS])


def compile_pruner(schema: Mapping[str, Any], *, root: bool = False) -> Pruner | None:
    """The pruner of ``schema``; None when the schema allows all fields.

    Args:
        root: the schema is that of a whole object, whose apiVersion, kind and metadata always stay.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return None
    items = schema.get("items")
    if isinstance(items, Mapping):
        return _array_pruner(compile_pruner(items))
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    keeps_unknown = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    additional = schema.get("additionalProperties")
    inner = {name: compile_pruner(sub) for name, sub in (schema.get("properties") or {}).items()}
    if embedded:
        inner = {**inner, **dict.fromkeys(_EMBEDDED_ALWAYS)}
        inner["metadata"] = None if root else prune_metadata
    if additional is not None and additional is not False:
        keeps_unknown = True
    rest = compile_pruner(additional) if isinstance(additional, Mapping) else None
    if schema.get("type") not in ("object", None) and not inner:
        return None
    return _object_pruner(inner, rest, keeps_unknown=keeps_unknown)


def _array_pruner(items: Pruner | None) -> Pruner | None:
    if items is None:
        return None
    prune_item = items

    def prune(value: Any) -> list[str]:
        if not isinstance(value, list):
            return _NOTHING
        found = _NOTHING
        for index, item in enumerate(value):
            dropped = prune_item(item)
            if dropped:
                found = found + [f"[{index}]{path}" for path in dropped]
        return found

    return prune


def _object_pruner(inner: dict[str, Pruner | None], rest: Pruner | None, *, keeps_unknown: bool) -> Pruner | None:
    active = {name: pruner for name, pruner in inner.items() if pruner is not None}
    if keeps_unknown and not active and rest is None:
        return None
    known = frozenset(inner)
    is_leaf = not active and rest is None

    def prune(value: Any) -> list[str]:
        if not isinstance(value, dict):
            return _NOTHING
        found = _NOTHING
        if not keeps_unknown and not value.keys() <= known:
            found = _drop(value, [name for name in value if name not in known])
        if is_leaf:
            return found
        for name, item in value.items():
            pruner = active.get(name) if name in known else rest
            if pruner is not None:
                dropped = pruner(item)
                if dropped:
                    found = found + [f".{name}{path}" for path in dropped]
        return found

    return prune


def _drop(value: dict[str, Any], names: list[str]) -> list[str]:
    for name in names:
        del value[name]
    return [f".{name}" for name in names]
