"""An inventory of a CustomResourceDefinition: every schema path with what the API server enforces there.

Descriptions and titles are left out. Spellings with the same meaning are equal (an ``allOf`` of equal enums is that
enum).
"""

from __future__ import annotations

from typing import Any

KEYWORDS = (
    "type",
    "format",
    "enum",
    "default",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "minimum",
    "maximum",
    "pattern",
    "nullable",
    "anyOf",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
"""What is compared at a path, besides the paths below it."""

_STRUCTURE = {"properties", "items", "additionalProperties", "description", "title", "allOf"}


def inventory(spec: dict[str, Any]) -> dict[str, Any]:
    """Everything in a CRD ``spec`` that a client or the API server can notice."""
    (version,) = spec["versions"]
    return {
        "group": spec["group"],
        "scope": spec["scope"],
        "names": spec["names"],
        "version": {key: version[key] for key in ("name", "served", "storage", "subresources")},
        "columns": version.get("additionalPrinterColumns", []),
        "selectableFields": version.get("selectableFields", []),
        "paths": dict(sorted(_paths(version["schema"]["openAPIV3Schema"], "").items())),
    }


def _paths(schema: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    found = {path or ".": _keywords(schema, path)}
    for name, child in schema.get("properties", {}).items():
        found |= _paths(child, f"{path}.{name}")
    if "items" in schema:
        found |= _paths(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        found |= _paths(schema["additionalProperties"], f"{path}{{}}")
    return found


def _keywords(schema: dict[str, Any], path: str) -> dict[str, Any]:
    unknown = schema.keys() - set(KEYWORDS) - _STRUCTURE
    if unknown:
        raise ValueError(f"{path}: keywords {sorted(unknown)} are not compared; add them to KEYWORDS")
    keywords = {key: schema[key] for key in KEYWORDS if key in schema}
    enums = [part["enum"] for part in schema.get("allOf", [])]
    if enums:
        if any(enum != enums[0] for enum in enums):
            raise ValueError(f"{path}: allOf of different enums")
        keywords["enum"] = enums[0]
    if "required" in keywords:
        keywords["required"] = sorted(keywords["required"])
    if "x-kubernetes-validations" in keywords:
        keywords["x-kubernetes-validations"] = sorted(
            [rule["rule"], rule["message"]] for rule in keywords["x-kubernetes-validations"]
        )
    return keywords
