"""The protobuf wire format, to the extent that a syntax tree needs it.

The CEL library returns its trees as serialized ``cel.expr.CheckedExpr`` and accepts parts of them. These few lines
replace the protobuf runtime, which would be another native library in the operator.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Field: TypeAlias = tuple[int, "int | bytes"]

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_CONTINUES: Final = 0x80
_PAYLOAD: Final = 0x7F
_FIXED64_BYTES: Final = 8


def fields(message: bytes) -> list[Field]:
    """Number and raw value of every field: an ``int`` for a varint, ``bytes`` for everything else.

    Raises:
        ValueError: it is not a message of the kinds used here.
    """
    found: list[Field] = []
    position, end = 0, len(message)
    while position < end:
        key, position = message[position], position + 1
        if key >= _CONTINUES:
            key, position = _varint(message, position - 1)
        kind = key & 7
        if kind == _FIXED64:
            length = _FIXED64_BYTES
        else:  # nearly all numbers fit into one byte
            length, position = (message[position] if position < end else _CONTINUES), position + 1
            if length >= _CONTINUES:
                length, position = _varint(message, position - 1)
            if kind == _VARINT:
                found.append((key >> 3, length))
                continue
            if kind != _DELIMITED:
                raise ValueError(f"a field has wire type {kind}")
        found.append((key >> 3, message[position : position + length]))
        position += length
    return found


def delimited(number: int, payload: bytes) -> bytes:
    """One field that holds a string or a message."""
    return _encoded(number << 3 | _DELIMITED) + _encoded(len(payload)) + payload


def signed(number: int) -> int:
    """A varint read as int64."""
    return number - (1 << 64) if number >> 63 else number


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        number |= (byte & _PAYLOAD) << shift
        if byte < _CONTINUES:
            return number, position
        shift += 7
    raise ValueError("the message ends within a number")


def _encoded(number: int) -> bytes:
    digits = bytearray()
    while number >= _CONTINUES:
        digits.append(number & _PAYLOAD | _CONTINUES)
        number >>= 7
    digits.append(number)
    return bytes(digits)
