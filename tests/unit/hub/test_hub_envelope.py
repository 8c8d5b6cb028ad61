"""Packets are read as far as somebody asks, and other inputs change nothing else. (hub/envelope.py)"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_FRAME_BYTES, AudioFrame, BinaryFrame, DataRequest, TransportDescriptor
from bubu_wire.protobuf import varint
from hub.envelope import PacketReading
from hub.packets import PacketChecker
from tests.unit.hub.json_packets import json_packet, received

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just(1.5)
OBJECTS = st.dictionaries(
    st.text(max_size=6),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner)),
    max_size=3,
)


def reading_of(packet: bytes) -> PacketReading:
    return PacketReading(*PacketChecker().read(packet))


def with_inputs(packet: bytes, inputs: dict[str, Any]) -> bytes:
    return reading_of(packet).with_inputs(inputs, orjson.dumps(inputs)).packet.body


@given(OBJECTS, OBJECTS | st.none(), OBJECTS, st.booleans())
def test_a_receiver_sees_the_new_inputs_and_all_else_as_it_was(
    payload: dict[str, Any], old: dict[str, Any] | None, new: dict[str, Any], structs: bool
) -> None:
    packet = json_packet(payload, old, message_id="m-1", with_structs=structs, type="chat")
    changed = with_inputs(packet, new)
    before, after = decode(DataRequest, packet), decode(DataRequest, changed)

    assert received(changed) == (payload, new)
    assert (after.metadata, after.payload, after.transports) == (before.metadata, before.payload, before.transports)
    assert after.inputs is None if before.inputs is None else after.inputs == new
    assert isinstance(after.frame, BinaryFrame)
    assert isinstance(before.frame, BinaryFrame)
    assert (after.frame.mime_type, after.frame.timestamp_ms) == (before.frame.mime_type, before.frame.timestamp_ms)
    expected = {**orjson.loads(before.frame.payload), "inputs": new}
    assert orjson.loads(after.frame.payload) == expected


def test_what_was_not_changed_is_not_written_anew() -> None:
    document = b'{ "payload": {"n": 12345678901234567890123, "x": 1.50} }\n'
    packet = encode(DataRequest(BinaryFrame(document, "application/vnd.bubu.packet+json")))
    after = decode(DataRequest, with_inputs(packet, {"a": 1}))

    assert isinstance(after.frame, BinaryFrame)
    assert after.frame.payload == b'{ "payload": {"n": 12345678901234567890123, "x": 1.50} ,"inputs":{"a":1}}'
    empty = encode(DataRequest(BinaryFrame(b"{}", "application/vnd.bubu.packet+json")))
    assert received(with_inputs(empty, {"a": 1}))[1] == {"a": 1}


def test_sound_and_other_bytes_keep_their_frame_and_have_their_inputs_in_the_struct() -> None:
    transports = (TransportDescriptor("voice", "livekit", "hot"),)
    for frame in (AudioFrame(8_000, 1, b"pcm", "pcm16", 5), BinaryFrame(b"raw", "text/plain")):
        packet = encode(DataRequest(frame, {"type": "x"}, {"p": 1}, {"old": 1}, transports))
        after = decode(DataRequest, with_inputs(packet, {"a": "b"}))
        assert after == DataRequest(frame, {"type": "x"}, {"p": 1}, {"a": "b"}, transports)
        with pytest.raises(MessageError, match="cannot hold the number"):
            with_inputs(packet, {"a": 2**60})


def test_integers_that_a_struct_cannot_hold_are_in_the_json_alone() -> None:
    after = with_inputs(json_packet({"a": 1}, {"old": 1}), {"n": 2**60})

    assert received(after)[1] == {"n": 2**60}
    assert decode(DataRequest, after).inputs is None


def test_a_packet_whose_frame_comes_twice_is_changed_all_the_same() -> None:
    packet = json_packet({"a": 1})
    doubled = encode(DataRequest(BinaryFrame(b"other", "text/plain"))) + packet
    assert received(with_inputs(doubled, {"x": 1})) == ({"a": 1}, {"x": 1})


@pytest.mark.parametrize("others", [[b"x"], [b"x" * 300], [b"x", b""], [b"{}"]], ids=str)
def test_a_frame_whose_payload_comes_several_times_has_the_last_one_for_every_reader(others: list[bytes]) -> None:
    """Fields may come again in any message: the last one counts."""
    document = orjson.dumps({"version": "v1", "kind": "data", "payload": {"a": 1}})
    mime = b"application/vnd.bubu.packet+json"
    frame = b"".join(b"\x0a" + with_length_of(each) for each in [*others, document]) + b"\x12" + with_length_of(mime)
    packet = b"\x1a" + with_length_of(frame)
    assert received(packet) == ({"a": 1}, None)
    assert received(with_inputs(packet, {"x": 1})) == ({"a": 1}, {"x": 1})


@pytest.mark.parametrize("size", [20, 127, 128, 300])
def test_a_length_that_is_written_longer_than_needed_is_a_length(size: int) -> None:
    """A valid message of any library that reserves room for a length before it knows it."""
    document = orjson.dumps({"version": "v1", "kind": "data", "payload": {"a": "x" * size}})
    padded = bytes([len(document) & 0x7F | 0x80, len(document) >> 7 | 0x80, 0])
    frame = b"\x0a" + padded + document + b"\x12" + with_length_of(b"application/vnd.bubu.packet+json")
    packet = b"\x1a" + with_length_of(frame)
    assert received(packet) == ({"a": "x" * size}, None)
    assert received(with_inputs(packet, {"x": 1})) == ({"a": "x" * size}, {"x": 1})


def with_length_of(data: bytes) -> bytes:
    return varint(len(data)) + data


def test_what_a_packet_says_is_read_from_json_before_structs() -> None:
    reading = reading_of(json_packet({"a": 1, "b": 2}, {"b": 3, "c": 4}, message_id="m", user="u"))
    assert (reading.payload, reading.inputs) == ({"a": 1, "b": 2}, {"b": 3, "c": 4})
    assert reading.outputs == {"a": 1, "b": 2, "c": 4}  # the payload has precedence
    assert reading.variables()["metadata"] == {"user": "u", "bubu.envelope.message_id": "m"}
    assert reading.group == "m"
    assert reading.with_metadata("bubu.join.key", "k").group == "k"

    audio = reading_of(encode(DataRequest(AudioFrame(8_000, 1, b"pcm"), {}, {"text": "hi"})))
    assert (audio.payload, audio.content, audio.group) == ({"text": "hi"}, {}, "")
    framed = reading_of(encode(DataRequest(payload={"text": "hi"})))
    assert framed.payload == {"text": "hi"}
    assert reading_of(json_packet([1, 2], with_structs=False)).outputs == {}


def test_a_new_payload_keeps_the_metadata() -> None:
    made = reading_of(json_packet({"a": 1}, message_id="m", user="u")).with_payload({"b": 2})
    checked, content = PacketChecker().read(made.packet.body)

    assert content == {"version": "v1", "kind": "data", "messageId": "m", "payload": {"b": 2}}
    assert made.metadata == {"user": "u", "bubu.envelope.message_id": "m"}
    assert checked[:8] == made.packet[:8]


def test_packets_that_would_be_too_large_are_refused() -> None:
    packet = json_packet({"a": "x" * (MAX_FRAME_BYTES - 100)}, with_structs=False)
    with pytest.raises(MessageError, match="with its inputs"):
        with_inputs(packet, {"a": "y" * 200})
