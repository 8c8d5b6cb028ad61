"""Reads and writes the bytes of usual packets in one pass; ``bubu_wire.codec`` does all others.

A usual packet is a binary frame with metadata, payload and place. A process is to carry ten thousand of them in a
second, and the general codec takes most of that second. What is read or written here has the same meaning and the
same bounds as there; a packet with anything else in it is left to the codec. Source: Streaming contract 9.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk.errors import OutputError
from bubu_wire.codec import decode
from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_FRAME_BYTES, MAX_PAIRS, BinaryFrame, DataResponse, StreamEnvelope
from bubu_wire.structs import MAX_NESTING, encode_struct, merge_struct

NAME_BYTES: Final = 128
VALUE_BYTES: Final = 1024
MIME_BYTES: Final = 255
JSON_PACKET: Final = "application/vnd.bubu.packet+json"
_JSON_PACKET_BYTES: Final = JSON_PACKET.encode()
_EXACT: Final = 2**53
_LARGE: Final = 100_000
_FRAME, _METADATA, _PAYLOAD, _INPUTS, _PLACE = 0x1A, 0x22, 0x2A, 0x32, 0x42


class Unusual(Exception):  # noqa: N818 - no error: the other way is taken
    """The packet is not a usual one, or not a valid one."""


Span = tuple[int, int]


@dataclass(slots=True)
class Read:
    """A packet, and where the payload and the inputs are that were not decoded, because its frame may have them."""

    packet: DataResponse
    payload_at: Span | None = None
    inputs_at: Span | None = None


def read(data: bytes) -> Read:
    """The packet.

    Raises:
        MessageError: it is none, or outside the contract's bounds.
    """
    try:
        return _read_usual(data)
    except (Unusual, IndexError, UnicodeDecodeError):
        return Read(decode(DataResponse, data))


def object_at(data: bytes, span: Span) -> dict[str, Any]:
    """The payload or the inputs of ``data``.

    Raises:
        MessageError: they are malformed.
    """
    found: dict[str, Any] = {}
    merge_struct(found, data, *span)
    return found


def _read_usual(data: bytes) -> Read:
    frame: BinaryFrame | None = None
    place: StreamEnvelope | None = None
    metadata: dict[str, str] = {}
    structs: dict[int, Span] = {}
    pairs = position = 0
    end = len(data)
    while position < end:
        tag = data[position]
        size, at = _length(data, position + 1)
        position = at + size
        if position > end:
            raise Unusual
        if tag == _METADATA:
            pairs += 1
            _read_pair(data, at, position, metadata)
        elif tag == _FRAME and frame is None:
            frame = _read_frame(data, at, position)
        elif tag == _PLACE and place is None:
            place = _read_place(data, at, position)
        elif tag in (_PAYLOAD, _INPUTS) and tag not in structs:
            structs[tag] = (at, position)
        else:
            raise Unusual
    if pairs > MAX_PAIRS or frame is None:
        raise Unusual
    return Read(DataResponse(frame, metadata, None, None, (), place), structs.get(_PAYLOAD), structs.get(_INPUTS))


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A number and the position behind it."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    for at in range(position + 1, position + 5):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Unusual


def _read_pair(data: bytes, at: int, end: int, into: dict[str, str]) -> None:
    if data[at] != 0x0A:
        raise Unusual
    size, begin = _length(data, at + 1)
    middle = begin + size
    if not 0 < size <= NAME_BYTES or data[middle] != 0x12:
        raise Unusual
    length, value = _length(data, middle + 1)
    if value + length != end or length > VALUE_BYTES:
        raise Unusual
    into[str(data[begin:middle], "utf-8")] = str(data[value:end], "utf-8")


def _read_frame(data: bytes, position: int, end: int) -> BinaryFrame:
    payload, mime, timestamp, last = b"", "", 0, 0
    while position < end:
        tag = data[position]
        if tag <= last:
            raise Unusual
        last = tag
        value, position = _length(data, position + 1) if tag in (0x0A, 0x12) else _timestamp(data, position + 1, tag)
        if tag == 0x18:
            timestamp = value
            continue
        begin, position = position, position + value
        if tag == 0x0A:
            payload = data[begin:position]
        else:
            raw = data[begin:position]
            if len(raw) > MIME_BYTES:
                raise Unusual
            mime = JSON_PACKET if raw == _JSON_PACKET_BYTES else str(raw, "utf-8")
    if position != end or len(payload) > MAX_FRAME_BYTES:
        raise Unusual
    return BinaryFrame(payload, mime, timestamp)


def _timestamp(data: bytes, position: int, tag: int) -> tuple[int, int]:
    if tag != 0x18:
        raise Unusual
    return _number(data, position)


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


def _read_place(data: bytes, position: int, end: int) -> StreamEnvelope:
    stream, sequence, partition, last = "", 0, "", 0
    while position < end:
        tag = data[position]
        if tag <= last or tag not in (0x0A, 0x10, 0x1A):
            raise Unusual  # a chunk, or fields that we do not know
        last = tag
        if tag == 0x10:
            sequence, position = _number(data, position + 1)
            continue
        size, begin = _length(data, position + 1)
        position = begin + size
        if size > NAME_BYTES:
            raise Unusual
        if tag == 0x0A:
            stream = str(data[begin:position], "utf-8")
        else:
            partition = str(data[begin:position], "utf-8")
    if position != end:
        raise Unusual
    return StreamEnvelope(stream, sequence, partition)


# Writing.


def write_json(
    envelope: bytes, timestamp_ms: int, metadata: Mapping[str, str], payload: Any = None, inputs: Any = None
) -> bytes:
    """A DataRequest whose frame is a JSON packet; payload and inputs (plain JSON objects or None) are repeated.

    Raises:
        OutputError: metadata, payload or inputs are outside the contract's bounds; names the place.
    """
    frame = (
        b"\x0a" + _varint(len(envelope)) + envelope + b"\x12" + _varint(len(_JSON_PACKET_BYTES)) + _JSON_PACKET_BYTES
    )
    if timestamp_ms:
        frame += b"\x18" + _varint(timestamp_ms)
    parts = [b"\x1a" + _varint(len(frame)) + frame, *write_pairs(metadata)]
    for tag, value in ((b"\x2a", payload), (b"\x32", inputs)):
        if value is not None:
            content = _checked_struct(value) if len(envelope) > _LARGE else _struct(value, 1)
            parts.append(tag + _varint(len(content)) + content)
    return b"".join(parts)


def _checked_struct(value: Mapping[str, Any]) -> bytes:
    """Counts the values, too, which small packets cannot have too many of."""
    try:
        return encode_struct(value)
    except MessageError as error:
        raise OutputError(str(error)) from error


def write_pairs(metadata: Mapping[str, str], tag: bytes = b"\x22") -> list[bytes]:
    """The pairs of a map, field by field.

    Raises:
        OutputError: a pair is outside the contract's bounds; names it.
    """
    if len(metadata) > MAX_PAIRS:
        raise OutputError(f"metadata has {len(metadata)} pairs; at most {MAX_PAIRS} are allowed")
    found = []
    for name, value in metadata.items():
        try:
            key, text = name.encode(), value.encode()
        except (UnicodeEncodeError, AttributeError):
            raise OutputError(f"metadata {str(name)[:40]!r}: names and values must be strings of UTF-8") from None
        if not 0 < len(key) <= NAME_BYTES or name != name.strip():
            problem = f"a name must have 1 to {NAME_BYTES} bytes, and no blanks around it"
            raise OutputError(f"metadata {name[:40]!r}: {problem}")
        if len(text) > VALUE_BYTES:
            raise OutputError(f"metadata {name[:40]!r}: a value must have at most {VALUE_BYTES} bytes")
        pair = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(text)) + text
        found.append(tag + _varint(len(pair)) + pair)
    return found


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))


def _struct(value: Mapping[str, Any], depth: int) -> bytes:
    parts = []
    for name, member in value.items():
        key, content = _text(name), _value(member, depth)
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
        if not math.isfinite(value) or (isinstance(value, int) and abs(value) > _EXACT):
            raise OutputError(f"a packet cannot hold the number {value}; send it as a string")
        return b"\x11" + struct.pack("<d", value)
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
        raise OutputError("a text has half a surrogate pair, which UTF-8 cannot have") from None
