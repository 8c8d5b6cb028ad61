"""OpenAPI documents of all served types: version 3 per group version, version 2 in one piece.

``kubectl explain``, client-side validation and client-side apply read them. Version 2 exists in JSON only; clients that
request protobuf first fall back to it. Pure; callers may cache by the catalog's generation.
Not here: the definitions of built-in kinds (builtin_schemas.py), paths (openapi_paths.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from localcluster.server import builtin_schemas
from localcluster.server.openapi_paths import paths_of
from localcluster.server.types import Object, ResourceType

_INFO = {"title": "Kubernetes", "version": "1.37"}
_V2_PREFIX = "#/definitions/"
_V3_PREFIX = "#/components/schemas/"
_NOT_IN_V2 = frozenset({"oneOf", "anyOf", "allOf", "not", "default", "nullable", "x-kubernetes-validations"})
_SCALAR_CHOICE = {
    builtin_schemas.QUANTITY: [{"type": "string"}, {"type": "number"}],
    builtin_schemas.INT_OR_STRING: [{"type": "integer"}, {"type": "string"}],
}


def index_v3(types: Iterable[ResourceType]) -> Object:
    """``/openapi/v3``: the URL of the document of each group version; the hash in it changes with its content."""
    listed = list(types)
    paths: Object = {}
    for group, version in dict.fromkeys((rtype.group, rtype.version) for rtype in listed):
        place = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = hashlib.sha512(orjson.dumps(document_v3(listed, group, version))).hexdigest().upper()
        paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return {"paths": paths}


def document_v3(types: Iterable[ResourceType], group: str, version: str) -> Object | None:
    """``/openapi/v3/apis/<group>/<version>``; None when the version is not served."""
    found = [rtype for rtype in types if (rtype.group, rtype.version) == (group, version)]
    if not found:
        return None
    paths: Object = {}
    schemas: Object = {}
    for rtype in found:
        name = definition_name(rtype)
        paths |= paths_of(rtype, name, version=3)
        schemas[name] = {**_root_schema(rtype), "x-kubernetes-group-version-kind": [_kind_of(rtype)]}
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths,
        "components": {"schemas": {name: _for_v3(name, schema) for name, schema in _closure(schemas).items()}},
    }


def document_v2(types: Iterable[ResourceType]) -> Object:
    """``/openapi/v2``: everything in one document."""
    paths: Object = {}
    schemas: Object = {}
    for rtype in types:
        name = definition_name(rtype)
        paths |= paths_of(rtype, name, version=2)
        schemas[name] = {**_root_schema(rtype), "x-kubernetes-group-version-kind": [_kind_of(rtype)]}
    definitions = {name: _for_v2(name, schema) for name, schema in _closure(schemas).items()}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}


def definition_name(rtype: ResourceType) -> str:
    """The name of a kind's definition; for custom kinds with the group reversed (``com.example.test.v1.Widget``)."""
    if not rtype.custom:
        return builtin_schemas.name_of_kind(rtype.group, rtype.version, rtype.kind)
    return ".".join([*reversed(rtype.group.split(".")), rtype.version, rtype.kind])


def _kind_of(rtype: ResourceType) -> Object:
    return {"group": rtype.group, "version": rtype.version, "kind": rtype.kind}


def _root_schema(rtype: ResourceType) -> Mapping[str, Any]:
    """The schema of whole objects, with the metadata that every object has."""
    if rtype.custom:
        schema: Mapping[str, Any] = rtype.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    else:
        schema = builtin_schemas.definitions()[definition_name(rtype)]
    shared = builtin_schemas.type_meta({"$ref": builtin_schemas.OBJECT_META})
    return {**schema, "properties": {**(schema.get("properties") or {}), **shared}}


def _closure(schemas: Object) -> Object:
    """``schemas`` and every built-in definition to which they refer, directly or indirectly."""
    known = builtin_schemas.definitions()
    found = dict(schemas)
    waiting = list(schemas.values())
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found[name] = known[name]
                waiting.append(known[name])
    return found


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        reference = schema.get("$ref")
        own = [reference] if isinstance(reference, str) else []
        return own + [name for key, value in schema.items() if key != "default" for name in _references(value)]
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    return []


def _for_v3(name: str, schema: Mapping[str, Any]) -> Object:
    if name in _SCALAR_CHOICE:
        return {"description": schema["description"], "oneOf": _SCALAR_CHOICE[name]}
    return _v3(schema)


def _v3(schema: Mapping[str, Any]) -> Object:
    """``schema`` with references as OpenAPI 3.0 requires: keywords beside a ``$ref`` need an ``allOf``."""
    found = dict(schema)
    reference = found.pop("$ref", None)
    if reference is not None:
        target = {"$ref": _V3_PREFIX + reference}
        return {**found, "allOf": [target]} if found else target
    return _mapped(found, _v3)


def _for_v2(name: str, schema: Mapping[str, Any]) -> Object:
    if name in _SCALAR_CHOICE:
        return {"description": schema["description"], "type": "string"}
    return _v2(schema)


def _v2(schema: Mapping[str, Any]) -> Object:
    """``schema`` without the keywords that OpenAPI 2 lacks; such places accept more, never less."""
    found = {key: value for key, value in schema.items() if key not in _NOT_IN_V2}
    reference = found.pop("$ref", None)
    if reference is not None:
        return {"$ref": _V2_PREFIX + reference, **found}
    if schema.get("nullable"):
        for key in ("type", "items", "properties", "format"):
            found.pop(key, None)
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        for key in ("type", "items", "properties"):
            found.pop(key, None)
    return _mapped(found, _v2)


def _mapped(schema: Object, convert: Any) -> Object:
    """``schema`` with every inner schema converted."""
    found = dict(schema)
    if isinstance(found.get("properties"), Mapping):
        found["properties"] = {name: convert(sub) for name, sub in found["properties"].items()}
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(found.get(keyword), Mapping):
            found[keyword] = convert(found[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if isinstance(found.get(keyword), list):
            found[keyword] = [convert(sub) for sub in found[keyword]]
    return found
