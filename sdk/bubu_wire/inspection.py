"""Checks an encoded packet, and reads what is needed to forward it, without decoding the rest.

A packet that breaks a bound of the contract would end the session of its receiver, so a hub checks before it sends. The
usual packet takes a short way here, which accepts only what it is sure of; ``decode`` decides about everything else.
"""

from __future__ import annotations

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
from bubu_wire.protobuf import read_length, read_varint
from bubu_wire.structs import merge_struct

HEARTBEAT_KEY: Final = "bubu-heartbeat"
PACKET_MIME: Final = "application/vnd.bubu.packet+json"

_FRAMES: Final = {0x0A: AudioFrame, 0x12: VideoFrame}
_BINARY, _METADATA, _PAYLOAD, _INPUTS, _ENVELOPE = 0x1A, 0x22, 0x2A, 0x32, 0x42
_HEARTBEAT: Final = HEARTBEAT_KEY.encode()
_PACKET_MIME: Final = PACKET_MIME.encode()
_LARGEST_KNOWN: Final = 256
_MOST_KNOWN: Final = 4_096
_LARGEST_PLAIN: Final = 4_096
"""Bytes of a Struct that is checked the short way."""


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
        partition, document, content = "", None, False
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
                if pair not in self._known and not self._is_pair(pair):
                    return None
                pairs += 1
            elif tag == _BINARY and not seen & 7:
                seen |= 4
                content = True
                document = _binary(packet, begin, after)
                if not position:
                    frame_end = after
            elif tag == _ENVELOPE and not seen & 8:
                seen |= 8
                begin_of_envelope, end_of_envelope = position, after
                partition = _partition(packet, begin, after)
            elif tag in (_PAYLOAD, _INPUTS) and not seen & (16 if tag == _PAYLOAD else 32):
                seen |= 16 if tag == _PAYLOAD else 32
                content = True
                if not _is_plain_struct(packet, begin, after):
                    merge_struct({}, packet, begin, after)
            elif tag in _FRAMES and not seen & 7:
                seen |= 1
                content = True
                decode(_FRAMES[tag], packet[begin:after])
            else:
                return None
            position = after
        if pairs > MAX_PAIRS:
            return None
        body = packet[:begin_of_envelope] + packet[end_of_envelope:] if end_of_envelope else packet
        has_inputs = bool(seen & 32)
        return Inspected(body, partition, None, False, bool(seen & 7), content, document, pairs, frame_end, has_inputs)

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
    """The payload of a BinaryFrame if it is a JSON packet; ``_UnusualError`` if the frame is not surely valid."""
    payload = (0, 0)
    is_document = False
    seen = 0
    while position < end:
        tag = packet[position]
        if tag == 0x18 and not seen & 4:
            seen |= 4
            position = _behind_number(packet, position + 1)
            continue
        size, begin = packet[position + 1], position + 2
        if size >= 0x80:
            high = packet[begin]
            if high < 0x80:
                size, begin = size & 0x7F | high << 7, begin + 1
            else:
                size, begin = read_varint(packet, position + 1, end)
        position = begin + size
        if tag == 0x0A and not seen & 1 and size <= MAX_FRAME_BYTES:
            seen |= 1
            payload = (begin, position)
        elif tag == 0x12 and not seen & 2:
            seen |= 2
            mime = packet[begin:position]
            if size > 255 or not mime.isascii():
                raise _UnusualError
            is_document = mime == _PACKET_MIME
        else:
            raise _UnusualError
    if position != end:
        raise _UnusualError
    return packet[slice(*payload)] if is_document else None


def _is_plain_struct(packet: bytes, position: int, end: int) -> bool:
    """Whether a value is surely a valid Struct: of few short texts and bools, as most are."""
    if end - position > _LARGEST_PLAIN:
        return False
    while position < end:
        after = position + 2 + packet[position + 1]
        text = position + 4 + packet[position + 3]  # behind the name
        value = text + 2
        if (
            after > end
            or value + 2 > after
            or packet[position] != 0x0A
            or packet[position + 1] >= 0x80
            or packet[position + 2] != 0x0A
            or packet[text] != 0x12
            or value + packet[text + 1] != after
            or not packet[position + 4 : text].isascii()
        ):
            return False
        tag = packet[value]
        if tag == 0x1A:
            if value + 2 + packet[value + 1] != after or not packet[value + 2 : after].isascii():
                return False
        elif tag != 0x20 or value + 2 != after or packet[value + 1] > 1:
            return False
        position = after
    return True


def _partition(packet: bytes, position: int, end: int) -> str:
    """The partition in an envelope without chunk fields; ``_UnusualError`` if it is not surely one."""
    partition = ""
    while position < end:
        tag, size = packet[position], packet[position + 1]
        if tag == 0x10:
            position = _behind_number(packet, position + 1)
            continue
        if tag not in (0x0A, 0x1A) or size >= 0x80:
            raise _UnusualError
        begin, position = position + 2, position + 2 + size
        text = packet[begin:position]
        if not text.isascii():
            raise _UnusualError
        if tag == 0x1A:
            partition = text.decode("ascii")
    if position != end:
        raise _UnusualError
    return partition


def _behind_number(packet: bytes, position: int) -> int:
    """The position behind a number of less than 64 bits; ``_UnusualError`` if it is larger."""
    begin = position
    while packet[position] >= 0x80:
        position += 1
    if position - begin > 8:
        raise _UnusualError
    return position + 1


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
