"""The content of a packet, decoded only as far as needed, and the packet with other inputs.

A receiver reads inputs from the JSON of the frame first, so they are replaced there; those in the Struct, if there are
any, are replaced, too. Frames of sound, pictures and other bytes stay as they are: their inputs are in the Struct. What
is the same for each packet is only put into the Struct, beside the frame. Nothing else of a packet changes, and only
needed parts are decoded. Pure. Source: streaming contract 9 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from bubu_wire.codec import MAX_MESSAGE_BYTES, decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.inspection import PACKET_MIME, Inspected
from bubu_wire.messages import MAX_FRAME_BYTES, BinaryFrame, DataRequest, DataResponse
from bubu_wire.protobuf import LENGTH, read_key, read_length, skip, varint, with_length
from bubu_wire.structs import encode_struct, merge_struct

Json = Any
JOIN_KEY: Final = "bubu.join.key"
MESSAGE_ID: Final = "bubu.envelope.message_id"

_BINARY, _METADATA, _PAYLOAD, _INPUTS = 3, 4, 5, 6
_FRAMES: Final = (1, 2, 3)
_FRAME_NAMES: Final = {1: "audio", 2: "video", 3: "binary"}
_MEDIA: Final = {1: 4, 2: 2, 3: 2}
"""In each frame, the field that says what its bytes are."""
_inspected: Final = partial(tuple.__new__, Inspected)
_Field = tuple[int, int, int, int]
"""Number of the field, where it begins, where its value begins, and where it ends."""


class FrameSize(NamedTuple):
    """How large a frame is."""

    kind: str
    """``audio``, ``video`` or ``binary``."""
    media: str
    """Codec or MIME type."""
    size: int


class PacketReading:
    """A valid packet. Its parts are read once, when they are asked for."""

    __slots__ = ("_content", "_found", "_inputs", "_metadata", "_payload", "forwards", "is_rejected", "packet")

    def __init__(self, packet: Inspected, content: Mapping[str, Json] | None = None) -> None:
        """``content`` is the JSON of the packet's frame, if it was decoded already."""
        self.packet = packet
        self.forwards = 0
        """How many Engrams have received it."""
        self.is_rejected: bool | None = None
        """Whether it breaks the output schema of its step; None while it is unknown."""
        self._content = content
        self._found: list[_Field] | None = None
        self._metadata: dict[str, str] | None = None
        self._payload: dict[str, Json] | None = None
        self._inputs: dict[str, Json] | None = None

    @property
    def content(self) -> Mapping[str, Json]:
        """The JSON of the frame; empty if there is none.

        Raises:
            MessageError: it is not a JSON object.
        """
        if self._content is None:
            document = self.packet.document
            try:
                found = orjson.loads(document) if document is not None else {}
            except orjson.JSONDecodeError as error:
                raise MessageError(f"the packet's frame is not JSON: {error}") from None
            if not isinstance(found, dict):
                raise MessageError("the packet's frame must be a JSON object")
            self._content = found
        return self._content

    @property
    def metadata(self) -> dict[str, str]:
        if self._metadata is None:
            body = self.packet.body
            pairs = (_pair(body, begin, end) for number, _, begin, end in self._fields() if number == _METADATA)
            self._metadata = dict(pairs)
        return self._metadata

    @property
    def payload(self) -> dict[str, Json]:
        """What it carries, if that is an object; else empty."""
        if self._payload is None:
            self._payload = self._object("payload", _PAYLOAD)
        return self._payload

    @property
    def inputs(self) -> dict[str, Json]:
        """The inputs that its sender has given it."""
        if self._inputs is None:
            self._inputs = self._object("inputs", _INPUTS)
        return self._inputs

    @property
    def outputs(self) -> dict[str, Json]:
        """What its step says with it: ``steps.<name>`` in expressions."""
        return {**self.inputs, **self.payload} if self.inputs else self.payload

    @property
    def frame(self) -> FrameSize | None:
        """The frame of sound, pictures or other bytes; None if there is none."""
        body = self.packet.body
        for number, _, begin, end in self._fields():
            if number in _FRAMES:
                size, media = 0, ""
                for inner, _, at, after in _fields(body, begin, end):
                    if inner == 1:
                        size = after - at
                    elif inner == _MEDIA[number]:
                        media = body[at:after].decode()
                return FrameSize(_FRAME_NAMES[number], media, size)
        return None

    @property
    def struct_bytes(self) -> int:
        """The size of payload and inputs beside the JSON."""
        return sum(end - begin for number, _, begin, end in self._fields() if number in (_PAYLOAD, _INPUTS))

    @property
    def group(self) -> str:
        """What it has in common with other packets of the same origin; empty if it does not say."""
        return self.metadata.get(JOIN_KEY) or self.metadata.get(MESSAGE_ID, "")

    def variables(self, *, with_metadata: bool = True) -> dict[str, Json]:
        """``packet`` in expressions."""
        return {**self.payload, "metadata": self.metadata} if with_metadata else self.payload

    def with_inputs(self, inputs: Mapping[str, Json], encoded: bytes) -> PacketReading:
        """The packet with these inputs instead of its own; ``encoded`` is their JSON.

        Raises:
            MessageError: it would be too large, or a packet without JSON cannot hold one of the values.
        """
        return PacketReading(self.packet_with_inputs(inputs, encoded))

    def packet_with_inputs(self, inputs: Mapping[str, Json], encoded: bytes) -> Inspected:
        """As ``with_inputs``, for somebody who does not read it."""
        packet = self.packet
        if packet.frame_end and packet.document is not None and not packet.may_have_inputs:
            document = _document(packet.document, self.content, encoded)
            body = _with_document(packet.body, packet.frame_end, len(packet.document), document)
            if body is not None:
                return _inspected(
                    (body, packet.partition, packet.chunk, False, True, True, document, packet.pairs, 0, False)
                )
        return self._with_inputs(inputs, encoded)

    def packet_beside(self, inputs: bytes) -> Inspected:
        """The packet with ``inputs``, the field of a Struct, instead of that which it has; its frame stays.

        Raises:
            MessageError: it would be too large.
        """
        packet = self.packet
        body = packet.body
        if packet.may_have_inputs:
            body = b"".join(body[begin:end] for number, begin, _, end in self._fields() if number != _INPUTS)
        body += inputs
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageError(f"with its inputs the packet has {len(body)} bytes; at most {MAX_MESSAGE_BYTES}")
        partition, chunk, document, pairs = packet.partition, packet.chunk, packet.document, packet.pairs
        return _inspected(
            (body, partition, chunk, False, packet.has_frame, True, document, pairs, packet.frame_end, True)
        )

    def _with_inputs(self, inputs: Mapping[str, Json], encoded: bytes) -> Inspected:
        body = self.packet.body
        kept: list[bytes] = []
        document, has_struct, frames = self.packet.document, False, 0
        for number, begin, at, end in self._fields():
            if number == _INPUTS:
                has_struct = True
            elif number == _BINARY and document is not None:
                document = _document(document, self.content, encoded)
                frame = with_length(1, document) + _without_payload(body, at, end)
                kept += (b"\x1a", varint(len(frame)), frame)
                frames += 1
            else:
                kept.append(body[begin:end])
                frames += number in _FRAMES
        if frames > 1:
            return self._decoded_with_inputs(inputs, encoded)
        if has_struct or document is None:
            kept.append(_struct(inputs, is_needed=document is None))
        return self.packet._replace(body=b"".join(kept), document=document, frame_end=0)

    def with_payload(self, payload: Mapping[str, Json]) -> PacketReading:
        """A packet that carries only ``payload``, with the metadata of this one.

        Raises:
            MessageError: it would be too large.
        """
        packet = self.packet
        content = {"version": "v1", "kind": "data", "payload": payload}
        if group := self.metadata.get(MESSAGE_ID):
            content["messageId"] = group
        document = orjson.dumps(content)
        body = encode(DataRequest(BinaryFrame(document, PACKET_MIME), self.metadata))
        partition, pairs = packet.partition, len(self.metadata)
        return PacketReading(Inspected(body, partition, None, False, True, True, document, pairs), content)

    def with_metadata(self, name: str, text: str) -> PacketReading:
        """The packet with one more pair of metadata; a pair of that name no longer counts."""
        packet = self.packet
        body = packet.body + encode(DataResponse(metadata={name: text}))
        return PacketReading(packet._replace(body=body, pairs=packet.pairs + 1), self._content)

    def _fields(self) -> list[_Field]:
        if self._found is None:
            self._found = _fields(self.packet.body, 0, len(self.packet.body))
        return self._found

    def _object(self, name: str, field: int) -> dict[str, Json]:
        found = self.content.get(name)
        if isinstance(found, dict):
            return found
        merged: dict[str, Json] = {}
        if found is None:
            for number, _, begin, end in self._fields():
                if number == field:
                    merge_struct(merged, self.packet.body, begin, end)
        return merged

    def _decoded_with_inputs(self, inputs: Mapping[str, Json], encoded: bytes) -> Inspected:
        """The long way, for a packet with several frames, which is one of them for every reader."""
        packet = self.packet
        message = decode(DataRequest, packet.body)
        frame, document = message.frame, packet.document
        struct: Mapping[str, Json] | None = dict(inputs)
        if document is not None and isinstance(frame, BinaryFrame):
            document = _document(document, self.content, encoded)
            frame, struct = replace(frame, payload=document), None
        body = encode(replace(message, frame=frame, inputs=struct))
        return packet._replace(body=body, document=document, frame_end=0)


def _fields(data: bytes, position: int, end: int) -> list[_Field]:
    """The fields with a length; others, which are unknown ones, have the number 0."""
    found = []
    while position < end:
        begin = position
        tag = data[position]
        if tag < 0x80 and tag & 7 == LENGTH and (size := data[position + 1]) < 0x80:
            position += 2
            found.append((tag >> 3, begin, position, position := position + size))
            continue
        number, kind, position = read_key(data, position, end)
        if kind == LENGTH:
            at, position = read_length(data, position, end)
            found.append((number, begin, at, position))
        else:
            position = skip(data, position, end, number, kind)
            found.append((0, begin, begin, position))
    return found


def _pair(data: bytes, position: int, end: int) -> tuple[str, str]:
    name = text = ""
    for number, _, begin, after in _fields(data, position, end):
        if number == 1:
            name = data[begin:after].decode()
        elif number == 2:
            text = data[begin:after].decode()
    return name, text


def _document(document: bytes, content: Mapping[str, Json], inputs: bytes) -> bytes:
    """The JSON of a packet with other inputs. What has none is not written anew, so its numbers stay as they are."""
    if "inputs" in content:
        made = orjson.dumps({**content, "inputs": orjson.Fragment(inputs)})
    else:
        end = document.rindex(b"}")
        made = b"".join((document[:end], b',"inputs":' if content else b'"inputs":', inputs, b"}"))
    if len(made) > MAX_FRAME_BYTES:
        raise MessageError(f"with its inputs the packet has {len(made)} bytes; at most {MAX_FRAME_BYTES}")
    return made


def _with_document(body: bytes, end: int, old: int, new: bytes) -> bytes | None:
    """``body`` with another payload in its first field, a BinaryFrame; None if the payload is not first in that, or if
    its length is not written in the shortest form.

    Args:
        end: where the field ends.
        old: bytes of the payload that it has.
    """
    begin = 2
    while body[begin - 1] >= 0x80:
        begin += 1
    head = b"\x0a" + varint(old)
    if not body.startswith(head, begin):
        return None
    rest = begin + len(head) + old
    size = varint(len(new))
    frame = varint(1 + len(size) + len(new) + end - rest)
    return b"".join((b"\x1a", frame, b"\x0a", size, new, body[rest:]))


def _without_payload(data: bytes, position: int, end: int) -> bytes:
    """A BinaryFrame but for its payload."""
    return b"".join(data[begin:after] for number, begin, _, after in _fields(data, position, end) if number != 1)


def inputs_field(inputs: Mapping[str, Json]) -> bytes:
    """The field of a packet with the Struct of its inputs.

    Raises:
        MessageError: a Struct cannot hold one of the values.
    """
    return with_length(_INPUTS, encode_struct(inputs))


def _struct(inputs: Mapping[str, Json], *, is_needed: bool) -> bytes:
    """The Struct of inputs; nothing if it cannot hold them and the JSON has them."""
    try:
        return inputs_field(inputs)
    except MessageError:
        if is_needed:
            raise
        return b""
