"""Objects of built-in kinds as a typed server reads them: values of the right type, nothing that is as good as absent.

In place: nulls and empty values a real server would not show again are dropped. What is unknown is left to pruning.
Source: the Go types (protobuf/types.json); errors are worded like ``encoding/json``'s.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from datetime import datetime
from typing import Any, Final

from localcluster.server.protobuf import layout
from localcluster.server.protobuf.layout import Field
from localcluster.server.types import Object

_MAX_DEPTH: Final = 64
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/=")
_EXPECTED: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "int": (int,),
    "bool": (bool,),
    "double": (int, float),
    "bytes": (str,),
    "time": (str,),
    "microtime": (str,),
    "duration": (str,),
    "quantity": (str, int, float),
    "intorstring": (int, str),
    "strings": (list,),
}
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


def conform(obj: Object) -> None:
    """Check and tidy an object of a built-in kind, in place; other kinds pass untouched.

    Raises:
        WrongTypeError: a value is of the wrong type.
    """
    message = layout.message_of(obj.get("apiVersion", ""), obj.get("kind", ""))
    if message is not None:
        _conform(obj, message, "", 0)


def _conform(obj: Object, message: str, path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise WrongTypeError("exceeded max depth")
    fields = layout.fields_by_name(message)
    unwanted: list[str] = []
    for name, value in obj.items():
        field = fields.get(name)
        if field is None:
            continue
        here = f"{path}.{name}"
        if value is not None:
            _check(value, field, message, here, depth)
        if value is None or not (field.keeps(value) or (field.is_message and not field.is_list)):
            unwanted.append(name)
    for name in unwanted:
        del obj[name]


def _check(value: Any, field: Field, message: str, path: str, depth: int) -> None:
    if field.is_list:
        if not isinstance(value, list):
            raise _wrong(value, field, message, path, "[]")
        for item in value:
            _check_one(item, field, message, path, depth)
    elif field.is_map:
        if not isinstance(value, dict):
            raise _wrong(value, field, message, path, "map[string]")
        for key in [key for key, item in value.items() if item is None]:
            value[key] = "" if field.kind in ("string", "bytes") else value[key]
        for item in value.values():
            if item is not None:
                _check_one(item, field, message, path, depth)
    else:
        _check_one(value, field, message, path, depth)


def _check_one(value: Any, field: Field, message: str, path: str, depth: int) -> None:
    if field.is_message:
        if not isinstance(value, dict):
            raise _wrong(value, field, message, path)
        _conform(value, field.kind, path, depth + 1)
        return
    expected = _EXPECTED.get(field.kind)
    if expected is None:
        return
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise _wrong(value, field, message, path)
    if field.kind == "bytes" and isinstance(value, str):
        _check_base64(value)
    elif field.kind in ("time", "microtime") and isinstance(value, str):
        _check_time(value)


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


def _wrong(value: Any, field: Field, message: str, path: str, container: str = "") -> WrongTypeError:
    kind = container + _GO_NAMES.get(field.kind, field.kind.replace("core.", "v1."))
    struct = message.rpartition(".")[2]
    return WrongTypeError(
        f"json: cannot unmarshal {_json_type(value)} into Go struct field {struct}{path} of type {kind}"
    )


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
