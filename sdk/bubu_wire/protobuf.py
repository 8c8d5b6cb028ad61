"""The encoding of protobuf, as far as ``transport.v1`` uses it: keys, varints, lengths, and what may be skipped."""

from __future__ import annotations

from typing import Final

from bubu_wire.errors import MessageError

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)
MAX_GROUP_DEPTH: Final = 32
_WORD: Final = 0xFFFF_FFFF_FFFF_FFFF
_LARGEST_KEY: Final = 0xFFFF_FFFF
_VARINT_BYTES: Final = 10


def read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The number and the position behind it.

    Raises:
        MessageError: the data ends, or the number has more than 64 bits.
    """
    if position < end and (byte := data[position]) < 0x80:
        return byte, position + 1
    value = shift = 0
    for at in range(position, min(position + _VARINT_BYTES, end)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _WORD:
                break
            return value, at + 1
        shift += 7
    raise MessageError(f"byte {position}: a number is cut off or has more than 64 bits")


def read_key(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Field number, wire type, and the position behind the key."""
    if position < end and 8 <= (byte := data[position]) < 0x80:
        return byte >> 3, byte & 7, position + 1
    key, after = read_varint(data, position, end)
    if key > _LARGEST_KEY or key < 8 or after - position > 5:
        raise MessageError(f"byte {position}: no field has the key {key}")
    return key >> 3, key & 7, after


def read_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Begin and end of a value that has a length."""
    size, begin = read_varint(data, position, end)
    if size > end - begin:
        raise MessageError(f"byte {position}: a value of {size} bytes is cut off")
    return begin, begin + size


def skip(data: bytes, position: int, end: int, number: int, kind: int, depth: int = 0) -> int:
    """The position behind the value of an unknown field, or of a known one with another wire type."""
    if kind == VARINT:
        return read_varint(data, position, end)[1]
    if kind == LENGTH:
        return read_length(data, position, end)[1]
    if kind in (FIXED64, FIXED32):
        after = position + (8 if kind == FIXED64 else 4)
        if after > end:
            raise MessageError(f"byte {position}: a number is cut off")
        return after
    if kind == GROUP and depth < MAX_GROUP_DEPTH:
        while True:
            inner, inner_kind, position = read_key(data, position, end)
            if inner_kind == END_GROUP:
                if inner != number:
                    raise MessageError(f"byte {position}: the group {number} ends as {inner}")
                return position
            position = skip(data, position, end, inner, inner_kind, depth + 1)
    raise MessageError(f"byte {position}: the field {number} has a wire type that is unknown or out of place")


def varint(value: int) -> bytes:
    """``value`` (0 to 2**64 - 1) in the least bytes."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def with_length(number: int, value: bytes) -> bytes:
    """A field with a length: text, bytes or a message."""
    return key(number, LENGTH) + varint(len(value)) + value
