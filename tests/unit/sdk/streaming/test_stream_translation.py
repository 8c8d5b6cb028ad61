"""Packets and their bytes: the quick way has the meaning of the general one, and outputs are as the contract says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bubu_sdk import EngramError
from bubu_sdk.contract import Identity
from bubu_sdk.errors import OutputError
from bubu_sdk.streaming import packet_bytes
from bubu_sdk.streaming.chunks import Part
from bubu_sdk.streaming.directives import encoded_receipt
from bubu_sdk.streaming.inbox import Inbox
from bubu_sdk.streaming.outputs import Outputs
from bubu_sdk.streaming.packet_bytes import Read
from bubu_sdk.streaming.packets import Audio, Binary, Packet, Video
from bubu_sdk.streaming.translation import content_of, packet_of, request_of
from bubu_wire.codec import decode, encode, serialize
from bubu_wire.errors import MessageError
from bubu_wire.messages import (
    AudioFrame,
    BinaryFrame,
    ControlRequest,
    DataRequest,
    DataResponse,
    StreamEnvelope,
    VideoFrame,
)

JSON_PACKET = "application/vnd.bubu.packet+json"
TEXTS = st.text(max_size=20)
PAIRS = st.dictionaries(st.text(min_size=1, max_size=8).filter(str.strip).map(str.strip), TEXTS, max_size=4)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


def objects_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(TEXTS, inner, max_size=3)


VALUES = st.recursive(SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=3) | objects_of(inner), max_leaves=8)


OBJECTS = objects_of(VALUES)
FRAMES = (
    st.builds(
        BinaryFrame, st.binary(max_size=40), st.sampled_from(["", "image/png", JSON_PACKET]), st.integers(0, 2**62)
    )
    | st.builds(AudioFrame, st.integers(8000, 9000), st.integers(1, 8), st.binary(max_size=9), st.just("opus"))
    | st.builds(VideoFrame, st.binary(max_size=9), st.just("h264"))
    | st.none()
)
PLACES = st.none() | st.builds(
    StreamEnvelope, TEXTS, st.integers(0, 2**63 - 1), TEXTS, st.just(""), st.just(0), st.just(0)
)
PACKETS = st.builds(DataResponse, FRAMES, PAIRS, st.none() | OBJECTS, st.none() | OBJECTS, st.just(()), PLACES)


@settings(deadline=None)
@given(PACKETS)
def test_reading_is_what_the_codec_does(packet: DataResponse) -> None:
    data = encode(packet)

    read = packet_bytes.read(data)

    assert seen(read, data) == seen(packet_bytes.whole(decode(DataResponse, data)), data)


def seen(read: Read, data: bytes) -> list[Any]:
    """All that is read, but for frames other than binary ones, which the codec decodes."""
    place = (read.stream_id, read.sequence, read.partition)
    frame = (read.mime_type, read.body, read.timestamp_ms)
    structs = (packet_bytes.payload_of(read, data), packet_bytes.inputs_of(read, data))
    return [place, frame, dict(read.metadata), structs]


@settings(deadline=None)
@given(PACKETS, st.data())
def test_damaged_bytes_are_read_or_refused_as_the_codec_does(packet: DataResponse, draw: st.DataObject) -> None:
    data = bytearray(encode(packet) or b"\x00")
    data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    raw = bytes(data)
    try:
        known = seen(packet_bytes.whole(decode(DataResponse, raw)), raw)
    except MessageError:
        known = []
    try:
        found = seen(packet_bytes.read(raw), raw)
    except MessageError:
        found = []

    assert found == known


@settings(deadline=None)
@given(OBJECTS, PAIRS)
def test_writing_is_what_the_codec_reads(payload: dict[str, Any], metadata: dict[str, str]) -> None:
    request = request_of(Packet(payload, metadata=metadata, message_id="m"), {}, 5)

    assert isinstance(request, bytes)
    known = decode(DataResponse, request)
    assert known.payload == json.loads(json.dumps(payload))
    assert {**metadata, "bubu.envelope.message_id": "m", "bubu.envelope.kind": "data"}.items() <= known.metadata.items()
    content = content_of(packet_bytes.read(request), request)
    assert content is not None
    assert (content.payload, content.message_id, content.timestamp_ms) == (payload, "m", 5)


@pytest.mark.parametrize("partition", ["", "p3"])
def test_receipts_are_what_the_codec_writes(partition: str) -> None:
    part = Part("k", 400, "ns/run/step", 7, partition)

    metadata = {"stream_id": "ns/run/step", "sequence": "7", "size_bytes": "400"}
    metadata |= {"partition": partition} if partition else {}
    assert decode(ControlRequest, encoded_receipt(part)) == ControlRequest(
        metadata=metadata, custom_action="downstream.delivered"
    )


@dataclass
class Word:
    text: str


@pytest.mark.parametrize(
    ("value", "frame", "payload"),
    [
        ({"a": 1}, None, {"a": 1}),
        (Word("hi"), None, {"text": "hi"}),
        (b"bytes", Binary(b"bytes"), b"bytes"),
        (Binary(b"x", "image/png"), Binary(b"x", "image/png"), b"x"),
        (Audio(b"x", 16_000, 1, "pcm16", 9), Audio(b"x", 16_000, 1, "pcm16", 9), None),
        (Packet({"text": "hi"}, Audio(b"x", 16_000)), Audio(b"x", 16_000), {"text": "hi"}),
        (Video(b"x", "h264", 10, 20), Video(b"x", "h264", 10, 20), None),
    ],
)
def test_what_is_yielded_arrives(value: Any, frame: Any, payload: Any) -> None:
    packet = packet_of(value)
    assert packet is not None
    request = request_of(packet, {"type": "chat.message.v1"}, 5)
    assert isinstance(request, bytes)

    content = content_of(packet_bytes.read(request), request)

    assert content is not None
    assert (content.frame, content.payload, content.kind) == (frame, payload, "data")
    assert content.metadata["type"] == "chat.message.v1"


def test_an_error_is_a_message_of_kind_error() -> None:
    packet = packet_of(EngramError("no such voice", code="VOICE"))
    assert packet is not None
    request = request_of(packet, {}, 5)
    assert isinstance(request, bytes)

    content = content_of(packet_bytes.read(request), request)

    assert content is not None
    assert content.kind == "error"
    assert content.payload["code"] == "VOICE"
    assert content.payload["version"] == "v1"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("text", "not a JSON object"),
        ({"n": 10**400}, "send it as a string"),
        ({"n": object()}, "payload.n"),
        ({"t": "\ud800"}, "surrogates not allowed"),
        (Packet({}, kind="a b"), "kind"),
        (Packet({}, kind="heartbeat"), "reserved"),
        (Packet({}, metadata={" a": ""}), "blanks"),
        (Packet({}, metadata={"a": "x" * 1025}), "1024 bytes"),
        (Packet(), "needs a payload"),
        (Packet({"a": 1}, Binary(b"x")), "cannot have a payload"),
        (Binary(b""), "must not be empty"),
        (Binary(b"x", "png"), "MIME"),
        (Audio(b"x", 1), "sample_rate_hz"),
        (Video(b"x"), "codec"),
        (Video(b"x", raw=True), "width"),
    ],
)
def test_what_cannot_be_sent_says_why(value: Any, reason: str) -> None:
    packet = packet_of(value)
    assert packet is not None

    with pytest.raises(OutputError, match=reason):
        request_of(packet, {}, 5)


def test_large_integers_stay_exact() -> None:
    packet = packet_of({"n": 2**60 + 1})
    assert packet is not None
    request = request_of(packet, {}, 5)
    assert isinstance(request, bytes)

    content = content_of(packet_bytes.read(request), request)

    assert content is not None
    assert content.payload == {"n": 2**60 + 1}
    assert decode(DataResponse, request).payload == {"n": float(2**60)}


def test_an_output_of_too_many_values_says_so() -> None:
    with pytest.raises(OutputError, match="at most 100000 values"):
        request_of(Packet({"n": [0] * 100_001}), {}, 5)


def test_what_a_message_brings_cannot_break_its_answer() -> None:
    metadata = {"participant": "p" * 5000, "baggage": "b", "bubu.join.key": "j" * 5000}
    body = json.dumps({"payload": {}, "messageId": "m" * 5000, "metadata": metadata}).encode()
    packet = serialize(DataRequest(BinaryFrame(body, JSON_PACKET)))
    (delivery,) = Inbox().receive([packet], 1, 0).deliveries

    (answer,) = Outputs(Identity(step="s"), lambda: 5).packets_of({"n": 1}, delivery, 1)

    found = decode(DataResponse, answer).metadata
    assert "participant" not in found
    assert found["baggage"] == "b"
    assert len(found["bubu.join.key"]) == len(found["bubu.envelope.message_id"]) == 64


def test_inputs_in_the_struct_fill_what_the_json_packet_lacks() -> None:
    body = json.dumps({"payload": {"a": 1}, "metadata": {"x": "1", "y": "1"}}).encode()
    data = serialize(DataRequest(BinaryFrame(body, JSON_PACKET), {"y": "2"}, payload={"a": 2.0}, inputs={"b": 3.0}))

    content = content_of(packet_bytes.read(data), data)

    assert content is not None
    assert (content.payload, content.inputs, content.metadata) == ({"a": 1}, {"b": 3.0}, {"x": "1", "y": "2"})
