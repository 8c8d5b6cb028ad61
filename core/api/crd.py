"""Render kinds as CustomResourceDefinition documents (apiextensions v1, structural schemas).

The schema of a kind comes from its pydantic model: types, bounds, defaults, descriptions and the markers of this
package. References are inlined, ``None`` never appears (a missing field is absent, not null), and properties are
sorted, so that equal models always result in equal text. Source: the structural-schema rules of
apiextensions.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.api.kind import Kind, KindVersion
from core.api.meta import ObjectMeta
from core.api.schema import DescribedElsewhere, Keywords, ListedAsRequired, Rendered, WireModel, peeled

Schema = dict[str, Any]

DEFINITIONS_REVISION: Final = 1
"""Raise it by one, once between two releases, when a definition gets a field that the previous release does not have.

Then ``deployment.policies.definitions`` refuses to replace definitions of this release by older ones.
"""
REVISION_TITLE: Final = "revision "
"""Title of each schema, with the number behind it; titles have no other use, and an annotation could stay behind when
somebody else writes an older schema.
"""

_SCALARS: Final[Mapping[Any, str]] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_LENGTHS: Final = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


@dataclass(frozen=True, slots=True)
class ConversionService:
    """The Service of the webhook that converts between the versions of a kind; the operator adds the CA bundle."""

    namespace: str
    name: str
    path: str
    port: int = 443


def custom_resource_definition(kind: Kind, conversion: ConversionService | None = None) -> dict[str, Any]:
    """The whole document of one kind: with all its versions if there is a conversion webhook, otherwise only the stored
    one.
    """
    resource = kind.resource
    versions = [version for version in kind.versions if version.stored or conversion is not None]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {
                "kind": resource.kind,
                "listKind": kind.list_kind,
                "plural": resource.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": list(kind.categories),
            },
            "scope": str(resource.scope),
            "conversion": _conversion(conversion),
            "versions": [_version(version, resource.subresources) for version in versions],
        },
    }


def model_schema(model: type[WireModel]) -> Schema:
    """The OpenAPI schema of one model, references inlined."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for name, field in model.model_fields.items():
        wire_name = field.alias or name
        properties[wire_name] = _field_schema(field)
        if field.is_required() or any(isinstance(marker, ListedAsRequired) for marker in _markers(field)):
            required.append(wire_name)
    schema: Schema = {"type": "object", "properties": dict(sorted(properties.items())), **model.schema_keywords}
    if required:
        schema["required"] = sorted(required)
    if model.validations:
        schema["x-kubernetes-validations"] = [
            {"rule": validation.rule, "message": validation.message} for validation in model.validations
        ]
    return schema


def _conversion(service: ConversionService | None) -> dict[str, Any]:
    if service is None:
        return {"strategy": "None"}
    reference = {"namespace": service.namespace, "name": service.name, "path": service.path, "port": service.port}
    return {
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"service": reference}, "conversionReviewVersions": ["v1"]},
    }


def _version(version: KindVersion, subresources: tuple[str, ...]) -> dict[str, Any]:
    title = f"{REVISION_TITLE}{DEFINITIONS_REVISION}"
    schema = {"title": title, "description": _first_line(version.model), **model_schema(version.model)}
    document: dict[str, Any] = {
        "name": version.name,
        "served": version.served,
        "storage": version.stored,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {subresource: {} for subresource in subresources},
    }
    if version.columns:
        document["additionalPrinterColumns"] = [
            {
                "name": column.name,
                "type": column.type,
                "jsonPath": column.json_path,
                **({"priority": 1} if column.wide else {}),
            }
            for column in version.columns
        ]
    if version.selectable_fields:
        document["selectableFields"] = [{"jsonPath": path} for path in version.selectable_fields]
    return document


def _field_schema(field: FieldInfo) -> Schema:
    schema = _type_schema(field.annotation, field.metadata)
    if field.description:
        schema = {"description": field.description, **schema}
    if field.default is not None and field.default is not PydanticUndefined:
        schema["default"] = field.default
    return schema


def _markers(field: FieldInfo) -> list[Any]:
    return [*field.metadata, *peeled(field.annotation)[1]]


def _type_schema(annotation: Any, outer: list[Any]) -> Schema:
    """The schema of an annotation; ``outer`` are markers that pydantic has already removed from it."""
    bare, found = peeled(annotation)
    markers = [*outer, *found]
    for marker in markers:
        if isinstance(marker, Rendered):
            return dict(marker.schema)
    schema = _bare_schema(bare)
    if any(isinstance(marker, DescribedElsewhere) for marker in markers):
        schema = _without_descriptions(schema)
    for marker in markers:
        _apply(marker, schema)
    return schema


def _without_descriptions(schema: Schema) -> Schema:
    """``schema`` without the descriptions of its fields; a field may be called ``description``."""
    found = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in found:
        found["properties"] = {name: _without_descriptions(field) for name, field in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _without_descriptions(found[key])
    return found


def _bare_schema(bare: Any) -> Schema:
    if bare in _SCALARS:
        return {"type": _SCALARS[bare]}
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _type_schema(arguments[0], [])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(arguments[1], [])}
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        return {"type": "string", "enum": [str(member) for member in bare]}
    if bare is ObjectMeta:
        return {"type": "object"}  # the API server owns the schema of metadata and refuses any other
    if isinstance(bare, type) and issubclass(bare, WireModel):
        return model_schema(bare)
    raise TypeError(f"no schema for {bare!r}; give its annotation a Rendered marker")


def _apply(marker: Any, schema: Schema) -> None:
    """Write one marker into ``schema``; markers that are only for pydantic have no effect here."""
    if isinstance(marker, Keywords):
        schema.update(marker.values)
    elif isinstance(marker, FieldInfo):
        for inner in marker.metadata:
            _apply(inner, schema)
    elif isinstance(marker, annotated_types.MinLen):
        schema[_LENGTHS[schema["type"]][0]] = marker.min_length
    elif isinstance(marker, annotated_types.MaxLen):
        schema[_LENGTHS[schema["type"]][1]] = marker.max_length
    elif isinstance(marker, annotated_types.Ge):
        schema["minimum"] = marker.ge
    elif isinstance(marker, annotated_types.Le):
        schema["maximum"] = marker.le
    elif (pattern := getattr(marker, "pattern", None)) is not None:
        schema["pattern"] = pattern


def _first_line(model: type[WireModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
