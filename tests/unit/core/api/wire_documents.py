"""Hypothesis strategies for documents that a CRD's schema accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_INSTANTS = st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:05+02:00"])
_QUANTITIES = st.sampled_from([1, "1Gi", "500m", "1e3", ".5", "+2"])


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Documents of a structural schema. An optional property is sometimes present and sometimes absent."""
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" in schema:
        return st.builds(lambda known, others: others | known, _objects(schema), st.just({"hostPath": {"path": "/"}}))
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        if "type" not in schema:
            return _ANY_JSON.filter(lambda value: value is not None)
        return st.dictionaries(st.text(max_size=5), _ANY_JSON, max_size=2)
    if schema.get("x-kubernetes-int-or-string"):
        return _QUANTITIES if "pattern" in schema else st.integers(0, 99) | st.text(max_size=5)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _BY_TYPE[schema["type"]](schema)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        return st.dictionaries(st.text(max_size=5), documents(schema["additionalProperties"]), max_size=2)
    properties = {name: documents(child) for name, child in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    return st.fixed_dictionaries(
        {name: properties[name] for name in required},
        optional={name: child for name, child in properties.items() if name not in required},
    )


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return _INSTANTS
    if "pattern" in schema:
        return st.sampled_from(["a", "a-1", "0"] if schema["pattern"].startswith("^[a-z0-9]") else ["A", "Ready"])
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 20)
    return st.text(min_size=shortest, max_size=min(shortest + 10, longest))


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[int]:
    limit = 2 ** (31 if schema.get("format") == "int32" else 63)
    return st.integers(schema.get("minimum", -limit), schema.get("maximum", limit - 1))


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    shortest = schema.get("minItems", 0)
    key = schema.get("x-kubernetes-list-map-keys", [None])[0]
    unique_by = (lambda item: item[key]) if key else None
    return st.lists(documents(schema["items"]), min_size=shortest, max_size=shortest + 1, unique_by=unique_by)


_BY_TYPE: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "object": _objects,
    "string": _strings,
    "integer": _integers,
    "array": _lists,
    "boolean": lambda _: st.booleans(),
}
