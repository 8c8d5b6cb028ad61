"""Reads and writes the bytes of usual packets in one pass; ``bubu_wire.codec`` does all others.

A usual packet is a binary frame with metadata, payload and place. A process is to carry ten thousand of them in a
second, and the general codec takes most of that second. What is read or written here has the same meaning and the
same bounds as there; a packet with anything else in it is left to the codec. Source: Streaming contract 9.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk.errors import OutputError
from bubu_wire.codec import decode
from bubu_wire.messages import MAX_FRAME_BYTES, MAX_PAIRS, BinaryFrame, DataResponse
from bubu_wire.structs import MAX_NESTING, MAX_VALUES, JsonObject, merge_struct

NAME_BYTES: Final = 128
VALUE_BYTES: Final = 1024
MIME_BYTES: Final = 255
JSON_PACKET: Final = "application/vnd.bubu.packet+json"
_LARGE: Final = 100_000
_FRAME, _METADATA, _PAYLOAD, _INPUTS, _PLACE = 0x1A, 0x22, 0x2A, 0x32, 0x42
_USUAL: Final = {_FRAME: 1, _PAYLOAD: 2, _INPUTS: 4, _PLACE: 8}
"""Keys of the fields that may come once, each with its bit."""


class Unusual(Exception):  # noqa: N818 - no error: the other way is taken
    """The packet is not a usual one, or not a valid one."""


Span = tuple[int, int]


@dataclass(slots=True)
class Read:
    """A packet. A usual one is here in parts, any other one is whole in ``packet``."""

    metadata: Mapping[str, str]
    stream_id: str = ""
    sequence: int = 0
    partition: str = ""
    mime_type: str = ""
    """Of the binary frame, as ``body`` and ``timestamp_ms``."""
    body: bytes = b""
    timestamp_ms: int = 0
    payload_at: Span | None = None
    """Where payload and inputs are. They are not decoded, because a JSON packet has them, too."""
    inputs_at: Span | None = None
    packet: DataResponse | None = None


def read(data: bytes) -> Read:
    """The packet.

    Raises:
        MessageError: it is none, or outside the contract's bounds.
    """
    try:
        return _read_usual(data)
    except (Unusual, IndexError, UnicodeDecodeError):
        return whole(decode(DataResponse, data))


def whole(packet: DataResponse) -> Read:
    """A packet that is decoded already."""
    place, frame = packet.envelope, packet.frame
    found = Read(packet.metadata, packet=packet)
    if place is not None:
        found.stream_id, found.sequence, found.partition = place.stream_id, place.sequence, place.partition
    if isinstance(frame, BinaryFrame):
        found.mime_type, found.body, found.timestamp_ms = frame.mime_type, frame.payload, frame.timestamp_ms
    return found


def payload_of(found: Read, data: bytes) -> JsonObject | None:
    """The payload in the Struct of ``data``, which ``found`` was read from.

    Raises:
        MessageError: it is malformed.
    """
    if found.payload_at is None:
        return None if found.packet is None else found.packet.payload
    return _object_at(data, found.payload_at)


def inputs_of(found: Read, data: bytes) -> JsonObject | None:
    """The inputs in the Struct of ``data``. Raises as ``payload_of`` does."""
    if found.inputs_at is None:
        return None if found.packet is None else found.packet.inputs
    return _object_at(data, found.inputs_at)


def unread_inputs_of(found: Read, data: bytes) -> bytes | JsonObject | None:
    """As ``inputs_of``, but a Struct that nobody may ask for is not decoded."""
    if found.inputs_at is None:
        return None if found.packet is None else found.packet.inputs
    return data[slice(*found.inputs_at)]


def _object_at(data: bytes, span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merge_struct(found, data, *span)
    return found


def _read_usual(data: bytes) -> Read:
    metadata: dict[str, str] = {}
    found = Read(metadata)
    pairs = position = seen = 0
    end = len(data)
    while position < end:
        tag, size, at = data[position], data[position + 1], position + 2
        if size >= 0x80:
            high = data[at]
            if high < 0x80:
                size, at = size & 0x7F | high << 7, at + 1
            else:
                size, at = _length(data, position + 1)
        position = at + size
        if position > end:
            raise Unusual
        if tag == _METADATA:
            pairs += 1
            _read_pair(data, at, position, metadata)
            continue
        if tag not in _USUAL or seen & (bit := _USUAL[tag]):
            raise Unusual
        seen |= bit
        if tag == _FRAME:
            _read_frame(data, at, position, found)
        elif tag == _PLACE:
            _read_place(data, at, position, found)
        elif tag == _PAYLOAD:
            found.payload_at = (at, position)
        else:
            found.inputs_at = (at, position)
    if pairs > MAX_PAIRS or not seen & _USUAL[_FRAME]:
        raise Unusual
    return found


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A number of up to 35 bits, and the position behind it."""
    value = shift = 0
    for at in range(position, position + 5):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Unusual


def _number(data: bytes, position: int) -> tuple[int, int]:
    """As ``_length``, of up to 63 bits."""
    value = shift = 0
    for at in range(position, position + 9):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Unusual


def _read_pair(data: bytes, at: int, end: int, into: dict[str, str]) -> None:
    size, begin = data[at + 1], at + 2
    middle = begin + size
    if data[at] != 0x0A or not 0 < size < 0x80 or data[middle] != 0x12:
        raise Unusual
    size, value = data[middle + 1], middle + 2
    if size >= 0x80:
        size, value = _length(data, middle + 1)
    if value + size != end or size > VALUE_BYTES:
        raise Unusual
    into[data[begin:middle].decode()] = data[value:end].decode()


def _read_frame(data: bytes, position: int, end: int, into: Read) -> None:
    last = 0
    while position < end:
        tag = data[position]
        if tag <= last:
            raise Unusual
        last = tag
        if tag == 0x18:
            into.timestamp_ms, position = _number(data, position + 1)
            continue
        size, begin = data[position + 1], position + 2
        if size >= 0x80:
            high = data[begin]
            if high < 0x80:
                size, begin = size & 0x7F | high << 7, begin + 1
            else:
                size, begin = _length(data, position + 1)
        position = begin + size
        if tag == 0x0A and size <= MAX_FRAME_BYTES:
            into.body = data[begin:position]
        elif tag == 0x12 and size <= MIME_BYTES:
            into.mime_type = data[begin:position].decode()
        else:
            raise Unusual
    if position != end:
        raise Unusual


def _read_place(data: bytes, position: int, end: int, into: Read) -> None:
    last = 0
    while position < end:
        tag = data[position]
        if tag <= last:
            raise Unusual
        last = tag
        if tag == 0x10:
            into.sequence, position = _number(data, position + 1)
            continue
        size, begin = data[position + 1], position + 2
        position = begin + size
        if size >= 0x80:
            raise Unusual
        if tag == 0x0A:
            into.stream_id = data[begin:position].decode()
        elif tag == 0x1A:
            into.partition = data[begin:position].decode()
        else:
            raise Unusual  # a chunk, or fields that we do not know
    if position != end:
        raise Unusual


# Writing.


def write_json(
    envelope: bytes, timestamp_ms: int, metadata: Mapping[str, str], payload: Any = None, inputs: Any = None
) -> bytes:
    """A DataRequest whose frame is a JSON packet; payload and inputs (plain JSON objects or None) are repeated.

    Raises:
        OutputError: metadata, payload or inputs are outside the contract's bounds; names the place.
    """
    frame = b"\x0a" + _varint(len(envelope)) + envelope + _JSON_MIME
    if timestamp_ms:
        frame += b"\x18" + _varint(timestamp_ms)
    parts = [b"\x1a" + _varint(len(frame)) + frame, *write_pairs(metadata)]
    for tag, value in ((b"\x2a", payload), (b"\x32", inputs)):
        if value is not None:
            if len(envelope) > _LARGE and _count(value) > MAX_VALUES:
                raise OutputError(f"a packet holds at most {MAX_VALUES} values; send large data as a Binary frame")
            content = _struct(value, 1)
            parts.append(tag + _varint(len(content)) + content)
    return b"".join(parts)


def _count(value: Any) -> int:
    """How many values there are in ``value``: readers bound them."""
    if isinstance(value, Mapping):
        return sum(1 + _count(member) for member in value.values())
    if isinstance(value, (list, tuple)):
        return sum(1 + _count(item) for item in value)
    return 0


def write_pairs(metadata: Mapping[str, str]) -> list[bytes]:
    """The pairs of the metadata, field by field.

    Raises:
        OutputError: a pair is outside the contract's bounds; names it.
    """
    if len(metadata) > MAX_PAIRS:
        raise OutputError(f"metadata has {len(metadata)} pairs; at most {MAX_PAIRS} are allowed")
    found = []
    for name, value in metadata.items():
        key = _name(name)
        try:
            text = value.encode()
        except (UnicodeEncodeError, AttributeError):
            raise OutputError(f"metadata {name[:40]!r}: the value must be a string of UTF-8") from None
        if len(text) > VALUE_BYTES:
            raise OutputError(f"metadata {name[:40]!r}: a value must have at most {VALUE_BYTES} bytes")
        if (total := len(key) + len(text) + 1) < 0x80:
            found.append(b"\x22" + _SMALL[total] + key + _SMALL[len(text)] + text)
        else:
            size = _varint(len(text))
            found.append(b"\x22" + _varint(len(key) + len(size) + len(text)) + key + size + text)
    return found


@functools.lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    """The beginning of a pair, up to the size of its value."""
    try:
        key = name.encode()
    except (UnicodeEncodeError, AttributeError):
        raise OutputError(f"metadata {str(name)[:40]!r}: names must be strings of UTF-8") from None
    if not 0 < len(key) <= NAME_BYTES or name != name.strip():
        problem = f"a name must have 1 to {NAME_BYTES} bytes, and no blanks around it"
        raise OutputError(f"metadata {name[:40]!r}: {problem}")
    return b"\x0a" + _varint(len(key)) + key + b"\x12"


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    if value < 0x4000:
        return _SMALL_HIGH[value & 0x7F] + _SMALL[value >> 7]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))
_SMALL_HIGH: Final = tuple(bytes((value | 0x80,)) for value in range(0x80))
"""The lower half of a number of two bytes."""
_JSON_MIME: Final = b"\x12" + _varint(len(JSON_PACKET)) + JSON_PACKET.encode()


def _struct(value: Mapping[str, Any], depth: int) -> bytes:
    parts = []
    for name, member in value.items():
        key, content = _text(name), _value(member, depth)
        if (total := len(key) + len(content) + 4) < 0x80:  # then the sizes have one byte each
            parts.append(
                b"\x0a" + _SMALL[total] + b"\x0a" + _SMALL[len(key)] + key + b"\x12" + _SMALL[len(content)] + content
            )
        else:
            entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(content)) + content
            parts.append(b"\x0a" + _varint(len(entry)) + entry)
    return b"".join(parts)


def _value(value: Any, depth: int) -> bytes:
    if isinstance(value, str):
        text = _text(value)
        return b"\x1a" + _varint(len(text)) + text
    if value is None:
        return b"\x08\x00"
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, (int, float)):
        try:
            return b"\x11" + struct.pack("<d", value)  # a large integer is exact in the JSON packet only
        except (OverflowError, struct.error):
            raise OutputError("a packet cannot hold an integer of more than 308 digits; send it as a string") from None
    if depth >= MAX_NESTING:
        raise OutputError(f"a packet has more than {MAX_NESTING} objects and lists in each other")
    if isinstance(value, Mapping):
        content = _struct(value, depth + 1)
        return b"\x2a" + _varint(len(content)) + content
    parts = []
    for item in value:
        content = _value(item, depth + 1)
        parts.append(b"\x0a" + _varint(len(content)) + content)
    content = b"".join(parts)
    return b"\x32" + _varint(len(content)) + content


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise OutputError("a string has an unpaired surrogate, which UTF-8 cannot encode") from None
