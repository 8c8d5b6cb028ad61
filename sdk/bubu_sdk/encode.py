"""Converts the return value of the user's function to plain JSON.

Dataclasses, pydantic models, enums, instants (RFC 3339), durations (Go format), UUIDs and paths have an obvious JSON
form. Any other type is refused with its path; nothing is silently converted to ``str``.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from bubu_contract import durations
from bubu_sdk.artifact import Artifact
from bubu_sdk.errors import Object, OutputError


def output_object(value: Any) -> Object:
    """The output of a step; ``None`` becomes the empty object.

    Raises:
        OutputError: the value is not an object, or a part of it cannot be written as JSON; names the path.
    """
    if value is None:
        return {}
    plain = to_json(value, "output")
    if not isinstance(plain, dict):
        raise OutputError(f"the engram returned {type(value).__name__}; return a dict, a dataclass, a model or None")
    return plain


def to_json(value: Any, path: str) -> Any:
    """``value`` as dicts, lists and scalars.

    Raises:
        OutputError: a part of it cannot be written as JSON; names the path.
    """
    kind: Any = type(value)
    if kind is str or kind is int:  # most values; a stream converts thousands in a second
        return value
    if isinstance(value, enum.Enum):
        return to_json(value.value, path)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OutputError(f"{path}: {value!r} cannot be written as JSON; return None or a string instead")
        return value
    if isinstance(value, Mapping):
        return {_key(key, path): to_json(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((to_json(item, path) for item in value), key=repr)
    if isinstance(value, Artifact):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: to_json(getattr(value, name), f"{path}.{name}") for name, key in _keys(kind)}
    if hasattr(value, "model_dump"):
        return to_json(value.model_dump(mode="json", by_alias=True), path)
    return _text_form(value, path)


@functools.lru_cache(maxsize=256)
def _keys(kind: Any) -> tuple[tuple[str, str], ...]:
    """The fields of a dataclass, each with its key."""
    return tuple((field.name, str(field.metadata.get("key", field.name))) for field in dataclasses.fields(kind))


def _text_form(value: Any, path: str) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise OutputError(f"{path}: a datetime without a time zone is ambiguous; use datetime.now(UTC)")
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return durations.format_duration(value)
    if isinstance(value, PurePath) or type(value).__name__ in ("UUID", "date", "time"):
        return str(value)
    hint = "; encode it, for example with base64" if isinstance(value, (bytes, bytearray)) else ""
    raise OutputError(f"{path}: {type(value).__name__} cannot be written as JSON{hint}")


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise OutputError(f"{path}: the key {key!r} is {type(key).__name__}; JSON keys must be strings")
    return str(key)
