"""Fills in the defaults of a structural schema where a field is absent.

A null that the schema does not allow counts as absent: the default replaces it, or it is dropped if there is none. The
API server does the same before it validates. Defaults are copied, never shared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

Defaulter = Callable[[Any], None]
"""Fills defaults into a value in place."""

_SCALARS = (str, int, float, bool)


def compile_defaulter(schema: Mapping[str, Any]) -> Defaulter | None:
    """The defaulter of ``schema``; None when the schema has no default and no null could matter."""
    items = schema.get("items")
    if isinstance(items, Mapping):
        return _array_defaulter(compile_defaulter(items))
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    if not properties and not isinstance(additional, Mapping):
        return None
    return _object_defaulter(properties, additional if isinstance(additional, Mapping) else None)


def _array_defaulter(items: Defaulter | None) -> Defaulter | None:
    if items is None:
        return None
    default_item = items

    def apply(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                default_item(item)

    return apply


def _object_defaulter(properties: Mapping[str, Any], additional: Mapping[str, Any] | None) -> Defaulter:
    defaults = {name: _source(sub["default"]) for name, sub in properties.items() if "default" in sub}
    refuses_null = frozenset(name for name, sub in properties.items() if not sub.get("nullable"))
    inner = {name: found for name, sub in properties.items() if (found := compile_defaulter(sub)) is not None}
    rest = compile_defaulter(additional) if additional is not None else None
    rest_refuses_null = additional is not None and not additional.get("nullable")
    known = frozenset(properties)

    def apply(value: Any) -> None:
        if not isinstance(value, dict):
            return
        nulls = [name for name, item in value.items() if item is None]
        for name in nulls:
            if (name in refuses_null) if name in known else rest_refuses_null:
                del value[name]
        for name, make in defaults.items():
            if name not in value:
                value[name] = make()
        for name, item in value.items():
            default_item = inner.get(name) if name in known else rest
            if default_item is not None:
                default_item(item)

    return apply


def _source(default: Any) -> Callable[[], Any]:
    if default is None or isinstance(default, _SCALARS):
        return lambda: default
    return lambda: copy.deepcopy(default)
