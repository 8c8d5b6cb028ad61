"""Gives JSON values the CEL types that their schema states.

JSON does not distinguish a whole double from an integer, or bytes from a string; the schema does. Property names that
are not CEL identifiers have the escaped spelling that CustomResourceDefinition v1 documents (``a-b`` is
``a__dash__b``).

Strings of format date-time and duration stay strings, because the CEL engine accepts no timestamps from outside. A rule
that says ``timestamp(self.at)`` or ``duration(self.every)`` means the same here and on a real API server.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

Converter = Callable[[Any], Any]

_RESERVED = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
    }
    | {"loop", "package", "namespace", "return", "var", "void", "while"}
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))


def compile_converter(schema: Mapping[str, Any]) -> Converter | None:
    """The function that converts a value to its CEL types; None when the JSON value needs no conversion."""
    match schema.get("type"):
        case "number":
            return lambda value: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        case "string":
            return _bytes if schema.get("format") == "byte" else None
        case "array":
            items = schema.get("items")
            return _items(compile_converter(items)) if isinstance(items, Mapping) else None
        case "object":
            return _object(schema)
        case _:
            return None


def escaped(name: str) -> str | None:
    """The spelling of property ``name`` in CEL; None when CEL cannot reach it."""
    if name in _RESERVED:
        return f"__{name}__"
    for raw, spelled in _ESCAPES:
        name = name.replace(raw, spelled)
    return name if _IDENTIFIER.fullmatch(name) else None


def _items(convert: Converter | None) -> Converter | None:
    if convert is None:
        return None
    item = convert
    return lambda value: [item(entry) for entry in value] if isinstance(value, list) else value


def _object(schema: Mapping[str, Any]) -> Converter | None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    inner = {name: shape for name, sub in properties.items() if (shape := compile_converter(sub)) is not None}
    renamed = {name: escaped(name) for name in properties if escaped(name) != name}
    additional = schema.get("additionalProperties")
    rest = compile_converter(additional) if isinstance(additional, Mapping) else None
    if not inner and not renamed and rest is None:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        shaped: dict[str, Any] = {}
        for name, item in value.items():
            spelled = renamed.get(name, name)
            if spelled is not None:
                shape = inner.get(name, rest)
                shaped[spelled] = item if shape is None else shape(item)
        return shaped

    return convert


def _bytes(value: Any) -> Any:
    return base64.b64decode(value) if isinstance(value, str) else value
