"""Schemas of the built-in kinds, read from the compact tables in ``builtin_fields_*.py``.

One block per definition::

    core/v1 PodIP atomic: What it is.
      ip! string: What the field is.
      hosts []HostAlias key=ip: Longer text goes on
        in lines indented by four.

``!`` marks a required field. Types: string, bytes, bool, int32, int64, number, Time, MicroTime, Quantity, IntOrString,
Any (an object whose content is not described here), another definition (of the same group, or as core/v1.PodSpec),
``[]T`` and ``map T``. Marks: ``key=a,b`` list map (merged by its first key), ``patch=a`` a different key for strategic
merge, ``set``, ``atomic``, ``merge`` (strategic merge of scalars), ``retain`` (strategic merge with retainKeys),
``default=x`` (where the key field of a list may be absent).

Field names, types and marks are those of Kubernetes 1.37; the descriptions are ours. Not here: documents (openapi.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localcluster.server import (
    builtin_fields_access,
    builtin_fields_core,
    builtin_fields_machinery,
    builtin_fields_pod,
    builtin_fields_volume,
    builtin_fields_workload,
)

Schema = dict[str, Any]

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"

_PREFIXES = {
    "meta/v1": "io.k8s.apimachinery.pkg.apis.meta.v1.",
    "apiextensions/v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
}
_TABLES = (
    builtin_fields_core,
    builtin_fields_pod,
    builtin_fields_volume,
    builtin_fields_workload,
    builtin_fields_access,
    builtin_fields_machinery,
)
_SCALARS: dict[str, Schema] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "Any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_SHARED: dict[str, Schema] = {
    QUANTITY: {
        "description": "An amount such as 500m, 2 or 1.5Gi: a number and a suffix (m, k, M, G, Ki, Mi, Gi and so on).",
        "x-kubernetes-int-or-string": True,
    },
    INT_OR_STRING: {"description": "A number or a string.", "x-kubernetes-int-or-string": True},
    TIME: {"description": "An instant in UTC (RFC 3339).", "type": "string", "format": "date-time"},
    MICRO_TIME: {
        "description": "An instant in UTC with microseconds (RFC 3339).",
        "type": "string",
        "format": "date-time",
    },
}
_SHARED_NAMES = {"Quantity": QUANTITY, "IntOrString": INT_OR_STRING, "Time": TIME, "MicroTime": MICRO_TIME}
_REFERENCE = "$ref"

_BLOCK = re.compile(r"(?P<area>\S+) (?P<name>\w+)(?P<atomic> atomic)?:(?: (?P<text>.*))?")
_FIELD = re.compile(
    r"  (?P<name>\w+)(?P<required>!?) (?P<type>(?:map )*\S+?)(?P<marks>(?: [^\s:]+)*):(?: (?P<text>.*))?"
)


@functools.cache
def definitions() -> Mapping[str, Schema]:
    """Every definition by its full name; references between them have the form ``{"$ref": full name}``."""
    found: dict[str, Schema] = dict(_SHARED)
    for table in _TABLES:
        for area, name, schema in _parse(table.DEFINITIONS):
            found[full_name(area, name)] = schema
    return found


def full_name(area: str, name: str) -> str:
    """The name of ``core/v1`` and ``Pod`` in OpenAPI documents: ``io.k8s.api.core.v1.Pod``."""
    return _PREFIXES.get(area, f"io.k8s.api.{area.replace('/', '.')}.") + name


def name_of_kind(group: str, version: str, kind: str) -> str:
    """The full name of the definition of a built-in kind."""
    return full_name(f"{group.split('.')[0] or 'core'}/{version}", kind)


@functools.cache
def structural_schema(group: str, version: str, kind: str) -> Schema | None:
    """The whole schema of a built-in kind with all references resolved; None for kinds without a table.

    Schemas share parts, so callers must not change them.
    """
    schema = definitions().get(name_of_kind(group, version, kind))
    if schema is None:
        return None
    inner = _resolved(name_of_kind(group, version, kind))
    return {**inner, "properties": {**_type_meta(), "metadata": _resolved(OBJECT_META), **inner.get("properties", {})}}


def type_meta(metadata: Schema) -> dict[str, Schema]:
    """The properties that every object has, with descriptions."""
    return {**_type_meta(), "metadata": {"description": "Metadata of the object.", **metadata}}


def _type_meta() -> dict[str, Schema]:
    return {
        "apiVersion": {"description": "Group and version the object is written in.", "type": "string"},
        "kind": {"description": "Kind of the object, in CamelCase.", "type": "string"},
    }


@functools.cache
def _resolved(name: str) -> Schema:
    return _resolve(definitions()[name])


def _resolve(schema: Schema) -> Schema:
    """``schema`` with references resolved; marks and descriptions beside a reference are kept."""
    reference = schema.get(_REFERENCE)
    if reference is not None:
        return {**_resolved(reference), **{key: value for key, value in schema.items() if key != _REFERENCE}}
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {name: _resolve(sub) for name, sub in schema["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            found[keyword] = _resolve(schema[keyword])
    return found


# --- reading the tables ----------------------------------------------------------------------------------------------


def _parse(table: str) -> Iterator[tuple[str, str, Schema]]:
    block: tuple[str, str, Schema] | None = None
    for line in _joined(table):
        if line.startswith("  "):
            if block is None:
                raise ValueError(f"field without a definition: {line!r}")
            _add_field(block[2], block[0], line)
            continue
        if block is not None:
            yield block
        found = _BLOCK.fullmatch(line)
        if found is None:
            raise ValueError(f"neither a definition nor a field: {line!r}")
        schema: Schema = {"description": found["text"] or "", "type": "object"}
        if found["atomic"]:
            schema["x-kubernetes-map-type"] = "atomic"
        block = (found["area"], found["name"], schema)
    if block is not None:
        yield block


def _joined(table: str) -> Iterator[str]:
    """Lines, each joined with its continuation lines."""
    current = ""
    for line in table.strip("\n").split("\n"):
        if line.startswith("    "):
            current = f"{current} {line.strip()}"
            continue
        if current:
            yield current
        current = line
    yield current


def _add_field(schema: Schema, area: str, line: str) -> None:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise ValueError(f"no field: {line!r}")
    field = {**_type(found["type"], area), **_marks(found["marks"].split(), found["type"])}
    if found["text"]:
        field["description"] = found["text"]
    schema.setdefault("properties", {})[found["name"]] = field
    if found["required"]:
        schema.setdefault("required", []).append(found["name"])


def _type(text: str, area: str) -> Schema:
    if text.startswith("map "):
        return {"type": "object", "additionalProperties": _type(text.removeprefix("map "), area)}
    if text.startswith("[]"):
        return {"type": "array", "items": _type(text.removeprefix("[]"), area)}
    if text in _SCALARS:
        return dict(_SCALARS[text])
    if text in _SHARED_NAMES:
        return {_REFERENCE: _SHARED_NAMES[text]}
    other, _, name = text.rpartition(".")
    return {_REFERENCE: full_name(other or area, name)}


def _marks(marks: list[str], type_text: str) -> Schema:
    found: Schema = {}
    strategies: list[str] = []
    for mark in marks:
        word, _, value = mark.partition("=")
        match word:
            case "key":
                keys = value.split(",")
                found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
                found.setdefault("x-kubernetes-patch-merge-key", keys[0])
                strategies.append("merge")
            case "patch":
                found["x-kubernetes-patch-merge-key"] = value
                strategies.append("merge")
            case "merge":
                strategies.append("merge")
            case "retain":
                strategies.append("retainKeys")
            case "default":
                found["default"] = value
            case "set":
                found["x-kubernetes-list-type"] = "set"
            case "atomic":
                found["x-kubernetes-list-type" if type_text.startswith("[]") else "x-kubernetes-map-type"] = "atomic"
            case _:
                raise ValueError(f"unknown mark {mark!r}")
    if strategies:
        found["x-kubernetes-patch-strategy"] = ",".join(dict.fromkeys(strategies))
    return found
