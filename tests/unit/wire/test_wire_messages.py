"""The messages of ``transport.v1``: bounds, unknown fields, merging, forwarding. (codec.py, forwarding.py)"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire import connector_messages
from bubu_wire import messages as transport
from bubu_wire.codec import MAX_MESSAGE_BYTES, decode, encode, parse
from bubu_wire.connector_messages import BindingInfo, DataPacket, ProcessRequest
from bubu_wire.errors import MessageError
from bubu_wire.forwarding import data_of_packet, envelope_of, packet_of_data, stamp
from bubu_wire.messages import (
    AudioFrame,
    BinaryFrame,
    ControlAction,
    ControlError,
    ControlRequest,
    ControlResponse,
    DataRequest,
    DataResponse,
    FlowControl,
    FlowControlSignal,
    PartitionAck,
    StreamEnvelope,
    TransportConfig,
    TransportDescriptor,
    VideoFrame,
)
from bubu_wire.protobuf import with_length
from bubu_wire.records import Record
from bubu_wire.structs import MAX_NESTING, MAX_VALUES

EVERYTHING = DataRequest(
    frame=BinaryFrame(b"\x00\xff", "application/json", 17),
    metadata={"b": "2", "a": "1"},
    payload={"text": "ä", "list": [1.5, None, True, {"deep": []}]},
    inputs={},
    transports=(TransportDescriptor("main", "nats", "hot", TransportConfig("t", "streaming-default")),),
    envelope=StreamEnvelope("s", 2**64 - 1, "p"),
)


@pytest.mark.parametrize(
    "message",
    [
        EVERYTHING,
        DataResponse(frame=AudioFrame(48_000, 2, b"pcm", "pcm16", 5)),
        DataPacket(frame=VideoFrame(b"v", "vp8", 640, 480, 9, raw=True)),
        ProcessRequest(DataPacket(), FlowControl(3, 4, 5, (PartitionAck("p", 6),), FlowControlSignal.PAUSE)),
        ControlRequest(ControlAction.ACK, {"handled": "true"}, FlowControl(), "downstream.delivered"),
        ControlResponse(99, error=ControlError(7, "no", {"why": "so"})),
        BindingInfo("t", "d", "e", ("opus", ""), (), b"{}", ("a/b",), "1.0.0"),
        DataRequest(),
    ],
)
def test_what_is_encoded_is_decoded_again(message: Any) -> None:
    assert decode(type(message), encode(message)) == message


def test_equal_messages_have_equal_bytes() -> None:
    reordered = dataclasses.replace(EVERYTHING, metadata={"a": "1", "b": "2"})

    assert encode(reordered) == encode(EVERYTHING)
    assert encode(DataRequest(inputs={})) == b"\x32\x00"
    assert encode(DataRequest()) == b""


def test_unknown_fields_are_kept_and_written_behind_the_known_ones() -> None:
    new = b"\xa2\x06\x02hi" + b"\xa8\x06\x05" + b"\xb3\x06\x08\x01\xb4\x06"  # text, a number, a group
    wrong_type = b"\x1a\x01x"  # field 3 of a BinaryFrame is a number
    frame = with_length(3, wrong_type + b"\x0a\x01z" + new)

    message = decode(DataRequest, new + frame)
    assert message.unknown == new
    assert message.frame == BinaryFrame(b"z", unknown=wrong_type + new)
    assert encode(message) == with_length(3, b"\x0a\x01z" + wrong_type + new) + new


def test_repeated_fields_are_merged_and_the_last_frame_counts() -> None:
    twice = with_length(8, b"\x0a\x01a\x1a\x01p") + with_length(8, b"\x0a\x01b")
    frames = with_length(1, b"\x10\x01") + with_length(3, b"\x0a\x01x") + with_length(3, b"\x18\x07")
    message = parse(DataRequest, frames + twice)

    assert message.envelope == StreamEnvelope("b", partition="p")
    assert message.frame == BinaryFrame(b"x", timestamp_ms=7)


def test_an_action_that_is_not_known_stays_a_number() -> None:
    assert decode(ControlRequest, b"\x08\x63").action == 99
    assert decode(ControlRequest, b"\x08\x0e").action is ControlAction.ACK


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (DataRequest(frame=AudioFrame(100, 1)), "AudioFrame.sample_rate_hz: 100; must be between 8000 and 192000"),
        (DataRequest(frame=AudioFrame(8000, 9)), "AudioFrame.channels"),
        (DataRequest(frame=VideoFrame(width=16_385)), "VideoFrame.width"),
        (DataRequest(frame=BinaryFrame(mime_type="x" * 256)), "BinaryFrame.mime_type: 256 bytes; at most 255"),
        (DataRequest(frame=BinaryFrame(bytes(10 * 1024 * 1024 + 1))), "BinaryFrame.payload"),
        (DataRequest(metadata={f"k{n}": "" for n in range(101)}), "101 pairs; at most 100"),
        (DataRequest(metadata={"k" * 129: ""}), "129 bytes; at most 128"),
        (DataRequest(metadata={"k": "ä" * 513}), "1026 bytes; at most 1024"),
        (DataRequest(metadata={"": "x"}), "a name must not be empty"),
        (DataRequest(transports=(TransportDescriptor(),) * 11), "11 values; at most 10"),
        (DataRequest(envelope=StreamEnvelope("s" * 129)), "StreamEnvelope.stream_id"),
        (DataRequest(envelope=StreamEnvelope(chunk_id="c")), "without chunk_count"),
        (DataRequest(envelope=StreamEnvelope("s", chunk_count=2)), "needs chunk_id and stream_id"),
        (DataRequest(envelope=StreamEnvelope("s", chunk_id="c", chunk_index=2, chunk_count=2)), "counts from 0"),
        (DataRequest(envelope=StreamEnvelope(sequence=-1)), "StreamEnvelope.sequence"),
        (DataRequest(payload={"n": float("nan")}), "nan"),
        (DataRequest(payload={"n": 2**53 + 1}), "send it as a string"),
        (DataRequest(payload={"n": b"bytes"}), "JSON values only"),
        (DataRequest(payload={"n": "\ud800"}), "surrogate"),
        (DataRequest(metadata={"n": "\ud800"}), "surrogate"),
        (ControlResponse(error=ControlError(-1)), "ControlError.code"),
        (ControlRequest(custom_action="x" * 129), "ControlRequest.custom_action"),
        (ControlRequest(metadata={"a": 1}), "must be a string, not int"),  # type: ignore[dict-item]
        (DataRequest(frame=b"raw"), "must be one of AudioFrame, VideoFrame, BinaryFrame, not bytes"),  # type: ignore[arg-type]
    ],
)
def test_messages_outside_their_bounds_are_refused_with_the_name_of_the_field(message: Any, text: str) -> None:
    with pytest.raises(MessageError, match=text.replace("(", r"\(")):
        encode(message)


def test_received_messages_outside_their_bounds_are_refused_too() -> None:
    with pytest.raises(MessageError, match="sample_rate_hz"):
        decode(DataRequest, with_length(1, b"\x0a\x01x"))
    with pytest.raises(MessageError, match="more than 100 pairs"):
        decode(DataRequest, b"".join(with_length(4, with_length(1, str(n).encode())) for n in range(101)))
    with pytest.raises(MessageError, match="more than 10 values"):
        decode(DataRequest, with_length(7, b"") * 11)
    with pytest.raises(MessageError, match=f"at most {MAX_MESSAGE_BYTES}"):
        decode(DataRequest, bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    "bad",
    [
        *(b"\x1a", b"\x1a\x05x", b"\x22\x03\x0a\x01\xff", b"\x00", b"\x07", b"\x0c", b"\x1b", b"\x1b\x24"),
        *(b"\xff" * 11, b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0d\x01", b"\x09\x01"),
        b"\x1b" * 200,
    ],
)
def test_bytes_that_are_no_message_are_refused(bad: bytes) -> None:
    with pytest.raises(MessageError, match="DataRequest"):
        decode(DataRequest, bad)


def test_structs_are_bounded_in_nesting_and_number() -> None:
    nested: Any = 1.0
    for _ in range(MAX_NESTING - 1):
        nested = [nested]
    fits = DataRequest(payload={"x": nested})
    assert decode(DataRequest, encode(fits)) == fits
    with pytest.raises(MessageError, match=f"more than {MAX_NESTING} objects"):
        encode(DataRequest(payload={"x": [nested]}))
    with pytest.raises(MessageError, match=f"more than {MAX_VALUES} values"):
        encode(DataRequest(payload={"x": [None] * MAX_VALUES}))

    deep = b""
    for _ in range(MAX_NESTING + 1):
        deep = with_length(1, with_length(2, with_length(5, deep)))
    with pytest.raises(MessageError, match=f"more than {MAX_NESTING} objects"):
        decode(DataRequest, with_length(5, deep))
    many = with_length(1, with_length(2, with_length(6, with_length(1, b"") * (MAX_VALUES + 1))))
    with pytest.raises(MessageError, match=f"more than {MAX_VALUES} values"):
        decode(DataRequest, with_length(5, many))


def test_a_packet_is_stamped_without_decoding() -> None:
    packet = encode(EVERYTHING)
    stamped = stamp(packet, "new", 7, metadata={"b": "over", "c": "3"})

    assert decode(DataResponse, stamped) == DataResponse(
        frame=EVERYTHING.frame,
        metadata={"a": "1", "b": "over", "c": "3"},
        payload=EVERYTHING.payload,
        inputs={},
        transports=EVERYTHING.transports,
        envelope=StreamEnvelope("new", 7),
    )
    assert envelope_of(packet) == EVERYTHING.envelope
    assert envelope_of(stamped) == StreamEnvelope("new", 7)
    assert envelope_of(encode(DataRequest(metadata={"a": "b"}))) is None


@given(st.text(max_size=12), st.integers(0, 2**64 - 1), st.text(max_size=12))
def test_the_quick_encoding_of_a_place_is_that_of_the_codec(stream_id: str, sequence: int, partition: str) -> None:
    envelope = StreamEnvelope(stream_id, sequence, partition)

    assert stamp(b"", stream_id, sequence, partition=partition) == encode(DataRequest(envelope=envelope))


def test_a_packet_without_envelope_is_only_appended_to() -> None:
    packet = encode(dataclasses.replace(EVERYTHING, envelope=None))

    assert stamp(packet, "s", 1).startswith(packet)


def test_the_envelope_of_a_chunk_keeps_its_chunk_fields() -> None:
    chunk = StreamEnvelope("old", 5, "p", "c", 1, 3, 100, 300)
    stamped = stamp(encode(DataRequest(envelope=chunk)), "new", 9, partition="q")

    assert envelope_of(stamped) == dataclasses.replace(chunk, stream_id="new", sequence=9, partition="q")


def test_an_envelope_in_parts_is_read_as_one() -> None:
    parts = with_length(8, b"\x0a\x01a") + with_length(4, b"") + with_length(8, b"\x10\x05")

    assert envelope_of(parts) == StreamEnvelope("a", 5)
    assert envelope_of(stamp(parts, "b", 6)) == StreamEnvelope("b", 6)


def test_a_stamp_does_not_make_a_packet_too_large_for_its_receiver() -> None:
    full = encode(DataRequest(metadata={f"k{number}": "" for number in range(100)}))

    assert decode(DataResponse, stamp(full, "s", 1, metadata={"k7": "over"})).metadata["k7"] == "over"
    with pytest.raises(MessageError, match="more than 100 pairs"):
        stamp(full, "s", 1, metadata={"new": "x"})
    with pytest.raises(MessageError, match="stream_id"):
        stamp(full, "s" * 129, 1)
    with pytest.raises(MessageError, match="sequence"):
        stamp(full, "s", 2**64)
    with pytest.raises(MessageError):
        stamp(b"\x1a\x05x", "s", 1)


def test_data_and_packet_are_renumbered_without_decoding() -> None:
    data = encode(EVERYTHING) + b"\xa2\x06\x02hi"
    packet = packet_of_data(data)

    decoded = decode(DataPacket, packet)
    assert (decoded.frame, decoded.envelope, decoded.unknown) == (
        EVERYTHING.frame,
        EVERYTHING.envelope,
        b"\xa2\x06\x02hi",
    )
    assert (decoded.metadata, decoded.payload) == (EVERYTHING.metadata, EVERYTHING.payload)
    assert data_of_packet(packet) == data


def test_every_message_can_be_compared_and_not_changed() -> None:
    known = {**vars(transport), **vars(connector_messages)}.values()
    classes = [each for each in known if dataclasses.is_dataclass(each) and isinstance(each, type)]

    assert len(classes) == 17
    assert all(each.__dataclass_params__.frozen for each in classes)  # type: ignore[attr-defined]
    assert all(issubclass(each, Record) for each in classes)


def test_a_record_is_compared_hashed_and_shown_as_a_dataclass_is() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class PartitionAck:
        partition: str = ""
        ack: int = 0
        unknown: bytes = b""

    for arguments in ((), ("p", 7), ("p", 7, b"x")):
        ours, usual = transport.PartitionAck(*arguments), PartitionAck(*arguments)
        assert ours == transport.PartitionAck(*arguments)
        assert ours != transport.PartitionAck("other")
        assert ours != usual
        assert hash(ours) == hash(usual)
        assert repr(ours) == repr(usual).replace(PartitionAck.__qualname__, "PartitionAck")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ours.ack = 1  # type: ignore[misc]
