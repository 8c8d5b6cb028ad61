"""The JSON Schema of a type, for the EngramTemplates and Stories that Python files describe.

A schema says what ``decode`` reads without a conversion: ``int`` is an integer, although the text ``"5"`` is read, too.
It names a key as its field does, although ``decode`` reads other spellings, too.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from bubu_sdk import encode
from bubu_sdk.artifact import Artifact
from bubu_sdk.errors import EngramError, Object

_PLAIN: Final[Mapping[Any, Object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    timedelta: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string"},
    UUID: {"type": "string"},
    Artifact: {"type": "object"},
}
_ANYTHING: Final = (Any, object)


@dataclasses.dataclass(frozen=True)
class ModelField:
    """One field of a model: a dataclass, a TypedDict or a pydantic model."""

    key: str
    """Its key in JSON."""
    hint: Any
    required: bool
    default: Any = None
    """``None`` also if there is none, or if it is made anew each time."""


def schema_of(hint: Any) -> Object:
    """The JSON Schema of a type; empty for what it cannot describe."""
    return _schema(hint, ())


def inputs_schema(hints: Collection[Any]) -> Object:
    """The JSON Schema of one object from which all ``hints`` are read; empty if none of them is a model.

    It forbids keys that no model reads, so a misspelt input is refused before anything runs. Objects inside it stay
    open: they may be the outputs of other steps, or events, of which a model describes the part that it needs. With a
    plain dict, or a model that takes further keys, the object is open, too.
    """
    schemas = [schema_of(hint) for hint in hints]
    models = [schema for schema in schemas if "properties" in schema]
    if not models:
        return schemas[0] if len(schemas) == 1 and fields_of(*hints) is not None else {}
    whole = models[0] if len(models) == 1 else _together(models)
    if len(models) < len(hints) or any(schema.get("additionalProperties", False) is not False for schema in models):
        return {"additionalProperties": True, **whole}
    return {**whole, "additionalProperties": False}


def _together(schemas: Collection[Object]) -> Object:
    required = sorted({name for schema in schemas for name in schema.get("required", ())})
    properties = {name: child for schema in schemas for name, child in schema["properties"].items()}
    definitions = {name: child for schema in schemas for name, child in schema.get("$defs", {}).items()}
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": properties,
        **({"$defs": definitions} if definitions else {}),
    }


def fields_of(hint: Any) -> Mapping[str, ModelField] | None:
    """The fields of a model by their names in Python; ``None`` if the type is no model.

    Raises:
        NameError: an annotation contains a name that does not exist.
    """
    target = bare(hint)
    if not isinstance(target, type):
        return None
    if dataclasses.is_dataclass(target) or typing.is_typeddict(target) or hasattr(target, "model_fields"):
        return _fields(target)
    return None


def bare(hint: Any) -> Any:
    """The type without ``Annotated``, ``Required`` and the like, and without ``None``."""
    origin = typing.get_origin(hint)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.Final):
        return bare(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        others = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return bare(others[0]) if len(others) == 1 else hint
    return hint


def item_of(hint: Any) -> Any:
    """The type of the items of a list, or of the values of a dict; ``Any`` if that is unknown."""
    target = bare(hint)
    arguments = typing.get_args(target)
    origin = typing.get_origin(target)
    if not isinstance(origin, type) or not arguments:
        return Any
    if issubclass(origin, Mapping):
        return arguments[1] if len(arguments) == 2 else Any
    return arguments[0] if issubclass(origin, Collection) else Any


def unknown_keys(data: Any, hint: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and message of each key that no field of the models in ``hint`` reads; suggests the nearest one."""
    target = bare(hint)
    fields = fields_of(target)
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from unknown_keys(item, item_of(target), f"{path}[{index}]")
    elif isinstance(data, Mapping) and fields is None:
        for key, item in data.items():
            yield from unknown_keys(item, item_of(target), f"{path}.{key}")
    elif isinstance(data, Mapping) and fields is not None:
        known = {_folded(name): field for key, field in fields.items() for name in (key, field.key)}
        for key, item in data.items():
            field = known.get(_folded(key))
            if field is None:
                yield f"{path}.{key}", f"is not a known field{nearest(key, [one.key for one in fields.values()])}"
            else:
                yield from unknown_keys(item, field.hint, f"{path}.{key}")


def nearest(name: str, known: Collection[str]) -> str:
    """What to append to a message about an unknown name: the nearest known one, or all."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known names: {', '.join(known)}" if known else ""


def _folded(name: str) -> str:
    """Keys that ``decode`` takes for the same field are equal."""
    return name.replace("_", "").lower()


def _schema(hint: Any, above: tuple[Any, ...]) -> Object:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        described = [extra for extra in arguments[1:] if isinstance(extra, str)]
        return {**_schema(arguments[0], above), **({"description": described[0]} if described else {})}
    if origin in (typing.Required, typing.NotRequired, typing.Final):
        return _schema(arguments[0], above)
    if hint in _ANYTHING:
        return {}
    if origin in (typing.Union, types.UnionType):
        return _union([_schema(choice, above) for choice in arguments])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if isinstance(origin or hint, type):
        return _of_class(origin or hint, arguments, (*above, hint))
    return {}


def _of_class(target: Any, arguments: tuple[Any, ...], above: tuple[Any, ...]) -> Object:
    if target in _PLAIN:
        return dict(_PLAIN[target])
    if issubclass(target, enum.Enum):
        return {"enum": [member.value for member in target]}
    if issubclass(target, PurePath):
        return {"type": ["string", "object"]}  # a path, or the artifact that becomes a file
    if hasattr(target, "model_json_schema"):
        return dict(target.model_json_schema())
    if target in above[:-1]:
        return {"type": "object"}  # it contains itself
    fields = fields_of(target)
    if fields is not None:
        return _object(fields, above)
    if issubclass(target, Mapping):
        inner = _schema(arguments[1], above) if len(arguments) == 2 else {}
        return {"type": "object", **({"additionalProperties": inner} if inner else {})}
    if issubclass(target, Collection):
        same = len(arguments) == 1 or (len(arguments) == 2 and arguments[1] is Ellipsis)
        inner = _schema(arguments[0], above) if same else {}
        return {"type": "array", **({"items": inner} if inner else {})}
    return {}


def _object(fields: Mapping[str, ModelField], above: tuple[Any, ...]) -> Object:
    properties: Object = {}
    for field in fields.values():
        described = _schema(field.hint, above)
        if field.default is not None:
            described = {**described, **_default(field.default)}
        properties[field.key] = described
    required = [field.key for field in fields.values() if field.required]
    return {"type": "object", **({"required": required} if required else {}), "properties": properties}


def _default(value: Any) -> Object:
    try:
        return {"default": encode.to_json(value, "default")}
    except EngramError:
        return {}  # the class fills it in, in its own way


def _union(choices: list[Object]) -> Object:
    names = [choice.get("type") for choice in choices]
    if all(set(choice) == {"type"} and isinstance(choice["type"], str) for choice in choices):
        return {"type": names}
    return {"anyOf": choices} if all(choices) else {}


@functools.lru_cache(maxsize=256)
def _fields(target: Any) -> Mapping[str, ModelField]:
    if hasattr(target, "model_fields"):
        return {
            name: ModelField(str(info.alias or name), info.annotation, info.is_required())
            for name, info in target.model_fields.items()
        }
    hints = typing.get_type_hints(target, include_extras=True)
    if typing.is_typeddict(target):
        optional = {key for key in hints if typing.get_origin(hints[key]) is typing.NotRequired}
        optional |= {key for key in target.__optional_keys__ if typing.get_origin(hints[key]) is not typing.Required}
        return {key: ModelField(key, hint, key not in optional) for key, hint in hints.items()}
    return {
        item.name: ModelField(
            str(item.metadata.get("key", item.name)),
            hints[item.name],
            item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING,
            None if item.default is dataclasses.MISSING else item.default,
        )
        for item in dataclasses.fields(target)
        if item.init
    }
