"""Reads objects of built-in kinds as a typed server does: checks types, and drops values that mean "absent".

In place: drops nulls and those empty values that a real server would not show again. Unknown fields are removed by
pruning, not here. Source: the Go types (protobuf/types.json); errors have the wording of ``encoding/json``.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from localcluster.server.protobuf import layout
from localcluster.server.protobuf.layout import Field
from localcluster.server.types import Object

_MAX_DEPTH: Final = 64
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/=")
_ACCEPTED: Final[dict[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "int": frozenset({int}),
    "bool": frozenset({bool}),
    "double": frozenset({int, float}),
    "bytes": frozenset({str}),
    "time": frozenset({str}),
    "microtime": frozenset({str}),
    "duration": frozenset({str}),
    "quantity": frozenset({str, int, float}),
    "intorstring": frozenset({int, str}),
    "strings": frozenset({list}),
}
"""The exact types that a value may have; a boolean does not count as an integer."""
_GO_NAMES: Final = {
    "string": "string",
    "int": "int64",
    "bool": "bool",
    "double": "float64",
    "bytes": "[]uint8",
    "time": "v1.Time",
    "microtime": "v1.MicroTime",
    "duration": "v1.Duration",
    "quantity": "resource.Quantity",
    "intorstring": "intstr.IntOrString",
    "strings": "[]string",
}


class WrongTypeError(ValueError):
    """A field holds a value of another type; the text names the field."""


class _MisplacedError(Exception):
    """As WrongTypeError, but the path is not known yet: each caller adds a name to ``names``.

    So paths cost nothing while there is no error.
    """

    def __init__(self, value: Any, field: Field, message: str, container: str = "") -> None:
        kind = container + _GO_NAMES.get(field.kind, field.kind.replace("core.", "v1."))
        self._beginning = (
            f"json: cannot unmarshal {_json_type(value)} into Go struct field {message.rpartition('.')[2]}"
        )
        self._wanted = f" of type {kind}"
        self.names: list[str] = []

    def __str__(self) -> str:
        return self._beginning + "".join(f".{name}" for name in reversed(self.names)) + self._wanted


@dataclass(frozen=True, slots=True)
class _Reader:
    """How to read the values of one field."""

    field: Field
    struct: str
    """The message that contains the field."""
    message: str
    """The message of its values; empty when they are scalars."""
    accepted: frozenset[type] | None
    check: Callable[[Any], None] | None
    """A further check of a scalar."""
    keeps_empty: bool

    @classmethod
    def of(cls, field: Field, struct: str) -> _Reader:
        checks = {"bytes": _check_base64, "time": _check_time, "microtime": _check_time}
        return cls(
            field=field,
            struct=struct,
            message=field.kind if field.is_message else "",
            accepted=_ACCEPTED.get(field.kind),
            check=checks.get(field.kind),
            keeps_empty=field.is_pointer or field.shows_empty or (field.is_message and not field.is_list),
        )


def conform(obj: Object) -> None:
    """Check and tidy an object of a built-in kind, in place; objects of other kinds stay unchanged.

    Raises:
        WrongTypeError: a value is of the wrong type.
    """
    message = layout.message_of(obj.get("apiVersion", ""), obj.get("kind", ""))
    if message is None:
        return
    try:
        _conform(obj, message, 0)
    except _MisplacedError as error:
        raise WrongTypeError(str(error)) from None


@functools.cache
def _readers(message: str) -> Mapping[str, _Reader]:
    return {name: _Reader.of(field, message) for name, field in layout.fields_by_name(message).items()}


def _conform(obj: Object, message: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise WrongTypeError("exceeded max depth")
    readers = _readers(message)
    unwanted: list[str] = []
    for name, value in obj.items():
        reader = readers.get(name)
        if reader is None:
            continue
        if value is not None:
            try:
                _read(value, reader, depth)
            except _MisplacedError as error:
                error.names.append(name)
                raise
        if not value and (value is None or not reader.keeps_empty):
            unwanted.append(name)
    for name in unwanted:
        del obj[name]


def _read(value: Any, reader: _Reader, depth: int) -> None:
    field = reader.field
    if field.is_list:
        if not isinstance(value, list):
            raise _MisplacedError(value, field, reader.struct, "[]")
        for item in value:
            _read_one(item, reader, depth)
    elif field.is_map:
        if not isinstance(value, dict):
            raise _MisplacedError(value, field, reader.struct, "map[string]")
        for key, item in value.items():
            if item is not None:
                _read_one(item, reader, depth)
            elif field.kind in ("string", "bytes"):
                value[key] = ""
    else:
        _read_one(value, reader, depth)


def _read_one(value: Any, reader: _Reader, depth: int) -> None:
    if reader.message:
        if not isinstance(value, dict):
            raise _MisplacedError(value, reader.field, reader.struct)
        _conform(value, reader.message, depth + 1)
        return
    if reader.accepted is None:
        return
    if type(value) not in reader.accepted:
        raise _MisplacedError(value, reader.field, reader.struct)
    if reader.check is not None:
        reader.check(value)


def _check_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        bad = next((index for index, character in enumerate(text) if character not in _BASE64), len(text))
        raise WrongTypeError(f"illegal base64 data at input byte {bad}") from None


def _check_time(text: str) -> None:
    if not _RFC_3339.fullmatch(text):
        layout_text = "2006-01-02T15:04:05Z07:00"
        raise WrongTypeError(f'parsing time "{text}" as "{layout_text}": cannot parse "{text}" as "2006"')
    try:
        datetime.fromisoformat(text[:19])
    except ValueError as error:
        raise WrongTypeError(f'parsing time "{text}": {error}') from None


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"
