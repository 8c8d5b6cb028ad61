"""``google.protobuf.Struct`` as a dict of JSON values.

Numbers are always floats after decoding, as in every protobuf library. A value of no kind is None.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bubu_wire.errors import MessageError
from bubu_wire.protobuf import (
    FIXED64,
    LENGTH,
    VARINT,
    key,
    read_key,
    read_length,
    read_varint,
    skip,
    varint,
    with_length,
)

JsonObject = Mapping[str, Any]

MAX_NESTING: Final = 32
"""Objects and lists in each other. Protobuf libraries allow 100 messages in each other, which are 33 objects."""
MAX_VALUES: Final = 100_000
"""Values of one Struct, at all depths: each takes many times its two bytes."""
_EXACT: Final = 2**53
_NULL, _NUMBER, _TEXT, _BOOL, _STRUCT, _LIST = range(1, 7)


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_VALUES

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise MessageError(f"a Struct has more than {MAX_VALUES} values; send large data by reference")


def merge_struct(into: dict[str, Any], data: bytes, position: int, end: int) -> None:
    """Decode a Struct over ``into``, as protobuf merges a field that comes twice.

    Raises:
        MessageError: not a Struct, or beyond ``MAX_NESTING`` or ``MAX_VALUES``, or a number is not finite.
    """
    _merge_struct(into, data, position, end, 1, _Budget())


def encode_struct(value: JsonObject) -> bytes:
    """Keys are sorted, so equal objects have equal bytes.

    Raises:
        MessageError: something is no JSON value, is nested too deeply, or is an integer that a float cannot hold.
    """
    return _encode_struct(value, 1, _Budget())


def _text(data: bytes, position: int, end: int) -> str:
    try:
        return str(data[position:end], "utf-8")
    except UnicodeDecodeError:
        raise MessageError(f"byte {position}: text that is not UTF-8") from None


def _deeper(depth: int) -> int:
    if depth >= MAX_NESTING:
        raise MessageError(f"a Struct has more than {MAX_NESTING} objects and lists in each other")
    return depth + 1


def _merge_struct(into: dict[str, Any], data: bytes, position: int, end: int, depth: int, budget: _Budget) -> None:
    while position < end:
        number, kind, position = read_key(data, position, end)
        if number != 1 or kind != LENGTH:
            position = skip(data, position, end, number, kind)
            continue
        begin, position = read_length(data, position, end)
        budget.spend()
        name, value = _entry(data, begin, position, depth, budget)
        into[name] = value


def _entry(data: bytes, position: int, end: int, depth: int, budget: _Budget) -> tuple[str, Any]:
    name, value = "", None
    while position < end:
        number, kind, position = read_key(data, position, end)
        if number in (1, 2) and kind == LENGTH:
            begin, position = read_length(data, position, end)
            if number == 1:
                name = _text(data, begin, position)
            else:
                value = _merge_value(value, data, begin, position, depth, budget)
        else:
            position = skip(data, position, end, number, kind)
    return name, value


def _merge_value(value: Any, data: bytes, position: int, end: int, depth: int, budget: _Budget) -> Any:
    while position < end:
        number, kind, position = read_key(data, position, end)
        if number in (_NULL, _BOOL) and kind == VARINT:
            raw, position = read_varint(data, position, end)
            value = None if number == _NULL else raw != 0
        elif number == _NUMBER and kind == FIXED64:
            after = skip(data, position, end, number, kind)
            (value,) = struct.unpack_from("<d", data, position)
            if not math.isfinite(value):
                raise MessageError(f"byte {position}: the number {value} is not a JSON value")
            position = after
        elif number in (_TEXT, _STRUCT, _LIST) and kind == LENGTH:
            begin, position = read_length(data, position, end)
            if number == _TEXT:
                value = _text(data, begin, position)
            elif number == _STRUCT:
                value = value if isinstance(value, dict) else {}
                _merge_struct(value, data, begin, position, _deeper(depth), budget)
            else:
                value = value if isinstance(value, list) else []
                _merge_list(value, data, begin, position, _deeper(depth), budget)
        else:
            position = skip(data, position, end, number, kind)
    return value


def _merge_list(into: list[Any], data: bytes, position: int, end: int, depth: int, budget: _Budget) -> None:
    while position < end:
        number, kind, position = read_key(data, position, end)
        if number == 1 and kind == LENGTH:
            begin, position = read_length(data, position, end)
            budget.spend()
            into.append(_merge_value(None, data, begin, position, depth, budget))
        else:
            position = skip(data, position, end, number, kind)


def _encode_struct(value: JsonObject, depth: int, budget: _Budget) -> bytes:
    out = bytearray()
    for name, member in sorted(value.items(), key=lambda item: _encode_text(item[0])):
        budget.spend()
        encoded = with_length(2, _encode_value(member, depth, budget))
        out += with_length(1, with_length(1, _encode_text(name)) + encoded)
    return bytes(out)


def _encode_text(text: Any) -> bytes:
    if not isinstance(text, str):
        raise MessageError(f"a name in a Struct is {type(text).__name__}; it must be a string")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MessageError("a string in a Struct has an unpaired surrogate, which UTF-8 cannot encode") from None


def _encode_value(value: Any, depth: int, budget: _Budget) -> bytes:
    if value is None:
        return key(_NULL, VARINT) + varint(0)
    if isinstance(value, bool):
        return key(_BOOL, VARINT) + varint(int(value))
    if isinstance(value, int | float):
        if not math.isfinite(value) or (isinstance(value, int) and abs(value) > _EXACT):
            raise MessageError(f"a Struct cannot hold the number {value}; send it as a string")
        return key(_NUMBER, FIXED64) + struct.pack("<d", value)
    if isinstance(value, str):
        return with_length(_TEXT, _encode_text(value))
    if isinstance(value, Mapping):
        return with_length(_STRUCT, _encode_struct(value, _deeper(depth), budget))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        inner, out = _deeper(depth), bytearray()
        for item in value:
            budget.spend()
            out += with_length(1, _encode_value(item, inner, budget))
        return with_length(_LIST, bytes(out))
    raise MessageError(f"a Struct cannot hold a {type(value).__name__}; JSON values only")
