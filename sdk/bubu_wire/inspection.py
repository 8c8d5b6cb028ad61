"""Checks an encoded packet, and reads what is needed to forward it, without decoding the rest.

A packet that breaks a bound of the contract would end the session of its receiver, so a hub checks before it sends. The
usual packet takes a short way here, which accepts only what it is sure of; ``decode`` decides about everything else.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from bubu_wire.codec import decode
from bubu_wire.errors import MessageError
from bubu_wire.forwarding import without_envelope
from bubu_wire.messages import (
    MAX_FRAME_BYTES,
    MAX_PAIRS,
    AudioFrame,
    BinaryFrame,
    DataRequest,
    StreamEnvelope,
    VideoFrame,
)
from bubu_wire.protobuf import read_length, read_varint, with_length
from bubu_wire.structs import merge_struct

HEARTBEAT_KEY: Final = "bubu-heartbeat"
PACKET_MIME: Final = "application/vnd.bubu.packet+json"

_FRAMES: Final = {0x0A: AudioFrame, 0x12: VideoFrame}
_BINARY, _METADATA, _PAYLOAD, _INPUTS, _ENVELOPE = 0x1A, 0x22, 0x2A, 0x32, 0x42
_HEARTBEAT: Final = HEARTBEAT_KEY.encode()
_PACKET_MIME_FIELD: Final = with_length(2, PACKET_MIME.encode())
_LARGEST_KNOWN: Final = 256
_MOST_KNOWN: Final = 4_096
_LARGEST_PLAIN: Final = 4_096
"""Bytes of a Struct that is checked the short way."""
_DEEPEST_PLAIN: Final = 8
"""Objects in each other, in such a Struct."""
_NUMBER_BYTES: Final = 8
"""Of a number, beside its last: more than 63 bits are not sure to fit."""


class Inspected(NamedTuple):
    """A valid packet, ready to be given another place."""

    body: bytes
    """The packet without its envelope."""
    partition: str
    chunk: StreamEnvelope | None
    """The envelope of a chunk, or one with fields that we do not know."""
    is_heartbeat: bool
    has_frame: bool
    has_content: bool
    """Whether there is a frame, a payload, inputs or transports."""
    document: bytes | None
    """The JSON of a packet in a frame of type ``PACKET_MIME``; not checked here."""
    pairs: int
    """Metadata pairs; at most, if names come twice."""
    frame_end: int = 0
    """Where a BinaryFrame ends that is the first field of ``body``; 0 if it is not known to be that."""
    may_have_inputs: bool = True
    """False if there are surely no inputs in a Struct."""


_inspected: Final = partial(tuple.__new__, Inspected)
"""``Inspected`` from a tuple of all its fields: this is done for each packet, and the class itself takes longer."""


class _UnusualError(Exception):
    """The short way does not know."""


class Inspector:
    """Inspects packets. It remembers which short metadata pairs it has seen, because those of a stream repeat."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def inspect(self, packet: bytes) -> Inspected:
        """What ``packet``, an encoded DataRequest or DataResponse, is.

        Raises:
            MessageError: it is none, or outside the contract's bounds. The text names the field.
        """
        try:
            found = self._usual(packet)
        except (IndexError, MessageError, _UnusualError):
            found = None
        return found if found is not None else _any(packet)

    def _usual(self, packet: bytes) -> Inspected | None:
        """The same for a packet of the usual form; None, or an error, if it is not surely valid."""
        position, end, pairs, seen = 0, len(packet), 0, 0
        begin_of_envelope = end_of_envelope = frame_end = 0
        partition, document = "", None
        known = self._known
        while position < end:
            tag, size, begin = packet[position], packet[position + 1], position + 2
            if size >= 0x80:
                high = packet[begin]
                if high < 0x80:
                    size, begin = size & 0x7F | high << 7, begin + 1
                else:
                    size, begin = read_varint(packet, position + 1, end)
            after = begin + size
            if after > end:
                return None
            if tag == _METADATA:
                pair = packet[begin:after]
                if pair not in known and not self._is_pair(pair):
                    return None
                pairs += 1
            elif tag == _BINARY and not seen & 7:
                seen |= 4
                document = _binary(packet, begin, after)
                if not position:
                    frame_end = after
            elif tag == _ENVELOPE and not seen & 8:
                seen |= 8
                begin_of_envelope, end_of_envelope = position, after
                partition = _partition(packet, begin, after)
            elif tag in (_PAYLOAD, _INPUTS) and not seen & (16 if tag == _PAYLOAD else 32):
                seen |= 16 if tag == _PAYLOAD else 32
                if not _is_plain_struct(packet, begin, after, 0):
                    merge_struct({}, packet, begin, after)
            elif tag in _FRAMES and not seen & 7:
                seen |= 1
                decode(_FRAMES[tag], packet[begin:after])
            else:
                return None
            position = after
        if pairs > MAX_PAIRS:
            return None
        if not end_of_envelope:
            body = packet
        elif end_of_envelope == end:
            body = packet[:begin_of_envelope]
        else:
            body = packet[:begin_of_envelope] + packet[end_of_envelope:]
        has_frame, has_content, has_inputs = bool(seen & 7), bool(seen & ~8), bool(seen & 32)
        return _inspected(
            (body, partition, None, False, has_frame, has_content, document, pairs, frame_end, has_inputs)
        )

    def _is_pair(self, pair: bytes) -> bool:
        """Whether an entry of the metadata is valid, and none that decides what the packet is."""
        size = pair[1]
        after = 2 + size
        if pair[0] != 0x0A or not 0 < size < 0x80 or pair[after] != 0x12:
            return False
        begin, end = read_length(pair, after + 1, len(pair))
        name = pair[2:after]
        if (
            end != len(pair)
            or end - begin > 1024
            or name == _HEARTBEAT
            or not (_is_text(name) and _is_text(pair[begin:]))
        ):
            return False
        if len(pair) <= _LARGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(pair)
        return True


def _any(packet: bytes) -> Inspected:
    """The long way, which is always right."""
    message = decode(DataRequest, packet)
    envelope, frame = message.envelope, message.frame
    chunk = envelope if envelope is not None and (envelope.is_chunk or envelope.unknown) else None
    document = frame.payload if isinstance(frame, BinaryFrame) and frame.mime_type == PACKET_MIME else None
    return Inspected(
        body=without_envelope(packet),
        partition=envelope.partition if envelope is not None else "",
        chunk=chunk,
        is_heartbeat=message.metadata.get(HEARTBEAT_KEY) == "true",
        has_frame=frame is not None,
        has_content=frame is not None
        or message.payload is not None
        or message.inputs is not None
        or bool(message.transports),
        document=document,
        pairs=len(message.metadata),
    )


def _binary(packet: bytes, position: int, end: int) -> bytes | None:
    """The payload of a BinaryFrame if it is a JSON packet; ``_UnusualError`` if the frame is not surely valid.

    Its fields are expected in the order of their numbers, as protobuf libraries write them.
    """
    begin = behind = position
    is_document = False
    if position < end and packet[position] == 0x0A:
        size, begin = packet[position + 1], position + 2
        if size >= 0x80:
            high = packet[begin]
            if high < 0x80:
                size, begin = size & 0x7F | high << 7, begin + 1
            else:
                size, begin = read_varint(packet, position + 1, end)
        if size > MAX_FRAME_BYTES:
            raise _UnusualError
        behind = position = begin + size
    if packet.startswith(_PACKET_MIME_FIELD, position):
        position += len(_PACKET_MIME_FIELD)
        is_document = True
    elif position < end and packet[position] == 0x12:
        size = packet[position + 1]
        begin_of_mime = position + 2
        position = begin_of_mime + size
        if size >= 0x80 or not packet[begin_of_mime:position].isascii():
            raise _UnusualError
    if position < end and packet[position] == 0x18:
        first = position = position + 1
        while packet[position] >= 0x80:
            position += 1
        if position - first > _NUMBER_BYTES:
            raise _UnusualError
        position += 1
    if position != end:
        raise _UnusualError
    return packet[begin:behind] if is_document else None


def _is_plain_struct(packet: bytes, position: int, end: int, depth: int) -> bool:
    """Whether a value is surely a valid Struct: small, with names and texts of ASCII, as most are."""
    if end - position > _LARGEST_PLAIN or depth > _DEEPEST_PLAIN:
        return False
    while position < end:
        size, at = packet[position + 1], position + 2
        if size >= 0x80:
            size, at = size & 0x7F | packet[at] << 7, at + 1
        after = at + size
        text = at + 2 + packet[at + 1]  # behind the name
        size, value = packet[text + 1], text + 2
        if size >= 0x80:
            size, value = size & 0x7F | packet[value] << 7, value + 1
        if (
            after > end
            or value + size != after
            or packet[position] != 0x0A
            or packet[at] != 0x0A
            or packet[at + 1] >= 0x80
            or packet[text] != 0x12
            or not packet[at + 2 : text].isascii()
            or not _is_plain_value(packet, value, after, depth)
        ):
            return False
        position = after
    return True


def _is_plain_value(packet: bytes, position: int, end: int, depth: int) -> bool:
    """Whether it is surely a valid Value."""
    size = end - position
    if size < 2:
        return False
    tag = packet[position]
    if tag == 0x11:  # a number, and with these bits set one that is not finite
        return size == 9 and not (packet[end - 1] & 0x7F == 0x7F and packet[end - 2] >= 0xF0)
    if tag in (0x20, 0x08):
        return size == 2 and packet[end - 1] <= (tag == 0x20)
    inner, begin = packet[position + 1], position + 2
    if inner >= 0x80:
        inner, begin = inner & 0x7F | packet[begin] << 7, begin + 1
    if begin + inner != end:
        return False
    if tag == 0x1A:
        return packet[begin:end].isascii()
    return tag == 0x2A and _is_plain_struct(packet, begin, end, depth + 1)


def _partition(packet: bytes, position: int, end: int) -> str:
    """The partition in an envelope without chunk fields; ``_UnusualError`` if it is not surely one.

    As in ``_binary``, in the order of the numbers.
    """
    if position < end and packet[position] == 0x0A:
        begin = position + 2
        position = begin + packet[position + 1]
        if position - begin >= 0x80 or not packet[begin:position].isascii():
            raise _UnusualError
    if position < end and packet[position] == 0x10:
        first = position = position + 1
        while packet[position] >= 0x80:
            position += 1
        if position - first > _NUMBER_BYTES:
            raise _UnusualError
        position += 1
    if position == end:
        return ""
    begin = position + 2
    text = packet[begin:end]
    if packet[position] != 0x1A or packet[position + 1] != end - begin or len(text) >= 0x80 or not text.isascii():
        raise _UnusualError
    return text.decode("ascii")


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
