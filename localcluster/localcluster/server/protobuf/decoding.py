"""Turns protobuf request bodies of built-in kinds into JSON objects, the form with which all other modules work.

Typed Go clients (kubectl's ``create`` and ``auth`` commands among them) send the built-in kinds in this form and do not
fall back. They accept JSON answers, so nothing is ever encoded. Layouts come from ``types.json`` (see generate.py).
Source: apimachinery's protobuf serializer; Protocol Buffers encoding.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from localcluster.clock import to_micro_time, to_time
from localcluster.server.protobuf import layout

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 64


class ProtobufError(ValueError):
    """The body is not a protobuf object of a known kind."""


def decode(raw: bytes) -> dict[str, Any]:
    """The object in a Kubernetes protobuf envelope.

    Raises:
        ProtobufError: the envelope or the object is malformed, or its kind is not built in.
    """
    if not raw.startswith(_MAGIC):
        raise ProtobufError("the body does not begin with the Kubernetes protobuf prefix")
    try:
        envelope = dict(_fields(raw[len(_MAGIC) :]))
        type_meta = dict(_fields(_bytes(envelope.get(1, b""))))
        api_version, kind = _text(type_meta.get(1, b"")), _text(type_meta.get(2, b""))
        message = layout.message_of(api_version, kind)
        if message is None:
            raise ProtobufError(f'no kind "{kind}" is known in version "{api_version}"; send it as JSON')
        obj = _message(_bytes(envelope.get(2, b"")), message, 0)
    except (IndexError, struct.error, UnicodeDecodeError, orjson.JSONDecodeError, OverflowError) as error:
        raise ProtobufError(f"the body ends early or is malformed: {error}") from error
    return {"kind": kind, "apiVersion": api_version, **obj}


def _message(raw: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ProtobufError("messages are nested too deeply")
    fields = layout.fields_by_number(name)
    obj: dict[str, Any] = {}
    for number, wire in _fields(raw):
        field = fields.get(number)
        if field is None:
            continue  # a field of a newer Kubernetes
        if not field.name:
            obj |= _message(_bytes(wire), field.kind, depth + 1)
        elif field.is_list:
            obj.setdefault(field.name, []).extend(_repeated(wire, field.kind, depth))
        elif field.is_map:
            key, value = _entry(_bytes(wire), field.kind, depth)
            obj.setdefault(field.name, {})[key] = value
        else:
            value = _value(wire, field.kind, depth)
            if field.keeps(value):
                obj[field.name] = value
    return obj


def _repeated(wire: int | bytes, kind: str, depth: int) -> list[Any]:
    if kind == "int" and isinstance(wire, bytes):  # packed
        values, at = [], 0
        while at < len(wire):
            number, at = _varint(wire, at)
            values.append(_signed(number))
        return values
    return [_value(wire, kind, depth)]


def _entry(raw: bytes, kind: str, depth: int) -> tuple[str, Any]:
    fields = dict(_fields(raw))
    empty: int | bytes = 0 if kind in ("int", "bool") else b""
    return _text(fields.get(1, b"")), _value(fields.get(2, empty), kind, depth)


def _value(wire: int | bytes, kind: str, depth: int) -> Any:
    convert = _CONVERSIONS.get(kind)
    return convert(wire) if convert is not None else _message(_bytes(wire), kind, depth + 1)


def _time(wire: int | bytes) -> str | None:
    instant = _instant(wire)
    return None if instant is None else to_time(instant)


def _micro_time(wire: int | bytes) -> str | None:
    instant = _instant(wire)
    return None if instant is None else to_micro_time(instant)


def _instant(wire: int | bytes) -> datetime | None:
    fields = dict(_fields(_bytes(wire)))
    seconds, nanos = _signed(_int(fields.get(1, 0))), _signed(_int(fields.get(2, 0)))
    if not fields or seconds < -62_000_000_000:  # Go's zero time
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _duration(wire: int | bytes) -> str:
    nanos = _signed(_int(dict(_fields(_bytes(wire))).get(1, 0)))
    return f"{nanos / 1e9:g}s"


def _quantity(wire: int | bytes) -> str:
    return _text(dict(_fields(_bytes(wire))).get(1, b"")) or "0"


def _int_or_string(wire: int | bytes) -> int | str:
    fields = dict(_fields(_bytes(wire)))
    return _text(fields.get(3, b"")) if fields.get(1) else _signed(_int(fields.get(2, 0)))


def _raw_json(wire: int | bytes) -> Any:
    raw = _bytes(dict(_fields(_bytes(wire))).get(1, b""))
    return orjson.loads(raw) if raw else None


def _strings(wire: int | bytes) -> list[str]:
    return [_text(item) for _, item in _fields(_bytes(wire))]


def _double(wire: int | bytes) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", _int(wire)))[0]
    return value


def _text(wire: int | bytes) -> str:
    return _bytes(wire).decode()


_CONVERSIONS: Final[dict[str, Callable[[int | bytes], Any]]] = {
    "string": _text,
    "int": lambda wire: _signed(_int(wire)),
    "bool": lambda wire: bool(_int(wire)),
    "double": _double,
    "bytes": lambda wire: base64.b64encode(_bytes(wire)).decode(),
    "time": _time,
    "microtime": _micro_time,
    "duration": _duration,
    "quantity": _quantity,
    "intorstring": _int_or_string,
    "rawjson": _raw_json,
    "strings": _strings,
}


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """``field number, wire value`` of each field of a message, in the order of the message."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        match wire_type:
            case 0:
                value, at = _varint(raw, at)
            case 1:
                value, at = int.from_bytes(_slice(raw, at, 8), "little"), at + 8
            case 2:
                length, at = _varint(raw, at)
                value, at = _slice(raw, at, length), at + length
            case 5:
                value, at = int.from_bytes(_slice(raw, at, 4), "little"), at + 4
            case _:
                raise ProtobufError(f"wire type {wire_type} is not used by Kubernetes")
        yield number, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = raw[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ProtobufError("a number is longer than 64 bits")


def _slice(raw: bytes, at: int, length: int) -> bytes:
    if at + length > len(raw):
        raise ProtobufError("the body ends within a field")
    return raw[at : at + length]


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _int(wire: int | bytes) -> int:
    if isinstance(wire, bytes):
        raise ProtobufError("a number was expected")
    return wire


def _bytes(wire: int | bytes) -> bytes:
    if isinstance(wire, int):
        raise ProtobufError("bytes were expected")
    return wire
