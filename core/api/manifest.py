"""Documents at the boundary: checks a wire dict against its kind; all findings at once, each with path and remedy.

This module checks the schema: types, bounds, enums, patterns, required and unknown fields. Webhooks check CEL rules and
everything that needs other objects. Nulls count as absent, because the API server drops them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.api import fieldpath, named_kinds
from core.api.errors import FieldError, ManifestError
from core.api.kind import KindModel
from core.api.schema import DNS_LABEL, WireModel, peeled
from core.api.suggestion import closest

_LABEL_REMEDY: Final = "use lower-case letters, digits and dashes; begin and end with a letter or digit"
_EXPECTED: Final = {
    "string_type": ("must be a string", "put the value in quotes"),
    "int_type": ("must be an integer", "write a whole number without quotes"),
    "bool_type": ("must be true or false", "write true or false without quotes"),
    "dict_type": ("must be an object", "write key: value pairs"),
    "model_type": ("must be an object", "write key: value pairs"),
    "list_type": ("must be a list", "write one item per line, each after a dash"),
}


def parse_manifest(document: object) -> KindModel:
    """The typed form of ``document``.

    Raises:
        ManifestError: it is not a well-formed object of one of the project's kinds; ``errors`` has every finding.
    """
    model = _model_of(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ManifestError(_field_errors(model, error)) from None


def errors_of(document: object) -> list[FieldError]:
    """All errors in the shape of ``document``; empty when it is well-formed."""
    try:
        parse_manifest(document)
    except ManifestError as error:
        return list(error.errors)
    return []


def to_wire(model: WireModel) -> dict[str, Any]:
    """The wire dict of ``model``: exactly the fields that were set, with their wire names."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _model_of(document: object) -> type[KindModel]:
    if not isinstance(document, Mapping):
        raise ManifestError([FieldError("", "must be an object", "start with apiVersion, kind, metadata and spec")])
    api_version, kind = document.get("apiVersion"), document.get("kind")
    errors = [
        FieldError(name, "is required" if value is None else "must be a string", remedy)
        for name, value, remedy in (
            ("apiVersion", api_version, "name group and version, for example bubustack.io/v1alpha1"),
            ("kind", kind, "name the kind, for example Story"),
        )
        if not isinstance(value, str)
    ]
    if errors:
        raise ManifestError(errors)
    model = named_kinds.model_for(str(api_version), str(kind))
    if model is None:
        raise ManifestError([_unknown_kind(str(api_version), str(kind))])
    return model


def _unknown_kind(api_version: str, name: str) -> FieldError:
    kind = named_kinds.kind_named(name)
    if kind is not None:
        versions = " or ".join(named_kinds.api_versions(kind))
        return FieldError("apiVersion", f"{name} does not exist in {api_version!r}", f"use {versions}")
    guess = closest(name, named_kinds.KIND_NAMES)
    remedy = f"did you mean {guess}?" if guess else f"use one of {', '.join(named_kinds.KIND_NAMES)}"
    return FieldError("kind", f"unknown kind {name!r}", remedy)


def _field_errors(model: type[WireModel], error: ValidationError) -> list[FieldError]:
    return [_field_error(model, details) for details in error.errors(include_url=False, include_context=True)]


def _field_error(model: type[WireModel], details: ErrorDetails) -> FieldError:
    location = details["loc"]
    path = fieldpath.render(location)
    if details["type"] == "extra_forbidden":
        parent = _model_at(model, location[:-1])
        remedy = _remedy_for_unknown(parent, str(location[-1]))
        return FieldError(path, "unknown field", remedy, is_unknown=True)
    message, remedy = _explained(details["type"], details.get("ctx", {}))
    if details["type"] == "missing":
        remedy = f"add {location[-1]}"
    return FieldError(path, message or details["msg"], remedy)


def _explained(type_: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Message and remedy for one error type of pydantic."""
    if type_ in _EXPECTED:
        return _EXPECTED[type_]
    match type_:
        case "missing":
            return "is required", ""
        case "literal_error" | "enum":
            return f"must be {context['expected']}", "use one of these values, in this spelling"
        case "string_pattern_mismatch":
            remedy = _LABEL_REMEDY if context["pattern"] == DNS_LABEL else ""
            return f"must match {context['pattern']}", remedy
        case "string_too_long":
            return f"must have at most {context['max_length']} characters", "shorten it"
        case "string_too_short":
            return "must not be empty", "give it a value, or leave the field out if it is optional"
        case "too_long":
            return f"must have at most {context['max_length']} items", "remove some"
        case "too_short":
            return f"must have at least {context['min_length']} items", "add some"
        case "greater_than_equal":
            return f"must be at least {context['ge']}", ""
        case "less_than_equal":
            return f"must be at most {context['le']}", ""
        case "value_error":
            message, _, remedy = str(context["error"]).partition("; ")
            return message, remedy
        case _:
            return "", ""


def _remedy_for_unknown(model: type[WireModel] | None, name: str) -> str:
    """The likely meaning of an unknown field: a similar name here, or the same name one level down."""
    if model is None:
        return "remove it"
    fields = dict(_fields(model))
    guess = closest(name, list(fields))
    if guess:
        return f"did you mean {guess}?"
    for parent, annotation in fields.items():
        child, _ = peeled(annotation)
        if isinstance(child, type) and issubclass(child, WireModel):
            nested = closest(name, [field for field, _ in _fields(child)])
            if nested:
                return f"did you mean {parent}.{nested}?"
    return f"remove it, or use one of {', '.join(sorted(fields))}"


def _fields(model: type[WireModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field.annotation


def _model_at(model: type[WireModel], location: Sequence[int | str]) -> type[WireModel] | None:
    """The model of the object at ``location``, walking fields, list items and map values."""
    current: Any = model
    for part in location:
        bare, _ = peeled(current)
        if isinstance(bare, type) and issubclass(bare, WireModel):
            current = dict(_fields(bare)).get(str(part))
        else:
            current = next(reversed(get_args(bare)), None)
    bare, _ = peeled(current)
    return bare if isinstance(bare, type) and issubclass(bare, WireModel) else None
