"""Inspection agrees with decoding about every packet, and a new address is what ``stamp`` writes. (inspection.py)"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import decode, encode, serialize
from bubu_wire.errors import MessageError
from bubu_wire.forwarding import Address, stamp
from bubu_wire.inspection import PACKET_MIME, Inspector
from bubu_wire.messages import (
    AudioFrame,
    BinaryFrame,
    DataRequest,
    DataResponse,
    StreamEnvelope,
    TransportDescriptor,
    VideoFrame,
)

texts = st.text(alphabet="aä-.\x00", max_size=4)
frames = st.one_of(
    st.none(),
    st.builds(BinaryFrame, st.binary(max_size=4), st.sampled_from(["", "a/b", PACKET_MIME, "ä", "x" * 256])),
    st.builds(AudioFrame, st.sampled_from([0, 8_000]), st.integers(0, 9), st.binary(max_size=4)),
    st.builds(VideoFrame, st.binary(max_size=4), texts, st.sampled_from([0, 9, 20_000])),
)
envelopes = st.one_of(
    st.none(),
    st.builds(StreamEnvelope, texts, st.integers(0, 300), st.sampled_from(["", "p", "ä", "p" * 129])),
    st.builds(StreamEnvelope, texts, st.integers(0, 3), texts, texts, st.integers(0, 2), st.integers(0, 2)),
    st.builds(StreamEnvelope, stream_id=texts, unknown=st.just(b"\x78\x01")),
)
metadata = st.dictionaries(
    st.sampled_from(["", "a", "ä", "bubu-heartbeat", "k" * 128, "k" * 129]),
    st.sampled_from(["", "true", "ä", "v" * 1_024, "v" * 1_025]),
    max_size=3,
)
numbers = st.sampled_from([0, 7, -1.5, 1.7e308, 2.0**-1074])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), texts, numbers, st.just("x" * 200)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
objects = st.one_of(st.none(), st.dictionaries(texts, values, max_size=2))
packets = st.builds(
    lambda **fields: serialize(DataRequest(**fields)),
    frame=frames,
    metadata=metadata,
    payload=objects,
    inputs=objects,
    transports=st.sampled_from([(), (TransportDescriptor("t"),)]),
    envelope=envelopes,
    unknown=st.sampled_from([b"", b"", b"\x78\x01"]),
)


def _damaged(packet: bytes, place: int, byte: int, cut: int) -> bytes:
    if not packet:
        return packet
    at = place % len(packet)
    return (packet[:at] + bytes((byte,)) + packet[at + 1 :])[: len(packet) - cut % 3]


anything = st.one_of(
    packets,
    st.builds(lambda one, other: one + other, packets, packets),
    st.builds(_damaged, packets, st.integers(0, 2_000), st.integers(0, 255), st.integers(0, 2)),
    st.binary(max_size=20),
)


def _decoded(packet: bytes) -> DataRequest | None:
    try:
        return decode(DataRequest, packet)
    except MessageError:
        return None


@given(st.lists(anything, min_size=1, max_size=5))
def test_a_packet_is_inspected_if_and_only_if_it_can_be_decoded(many: list[bytes]) -> None:
    inspector = Inspector()
    for packet in [*many, *many]:  # the second time from memory
        message = _decoded(packet)
        if message is None:
            with pytest.raises(MessageError):
                inspector.inspect(packet)
            continue
        found = inspector.inspect(packet)
        envelope = message.envelope or StreamEnvelope()
        bare = decode(DataRequest, found.body)
        assert bare.envelope is None
        assert (bare.frame, bare.metadata, bare.payload, bare.inputs) == (
            *(message.frame, message.metadata, message.payload, message.inputs),
        )
        assert found.partition == envelope.partition
        assert found.is_heartbeat == (message.metadata.get("bubu-heartbeat") == "true")
        assert found.pairs >= len(message.metadata)
        is_document = isinstance(message.frame, BinaryFrame) and message.frame.mime_type == PACKET_MIME
        assert (found.document is not None) == is_document
        assert found.chunk == (envelope if envelope.is_chunk or envelope.unknown else None)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_json_has_not_are_refused(value: float) -> None:
    packet = encode(DataRequest(BinaryFrame(b"x"), payload={"number": 1.0}))
    assert Inspector().inspect(packet).has_content

    with pytest.raises(MessageError, match="not a JSON value"):
        Inspector().inspect(packet.replace(struct.pack("<d", 1.0), struct.pack("<d", value)))


@pytest.mark.parametrize("depth", [1, 8, 9, 31, 32])
def test_a_struct_is_valid_to_its_full_depth_and_not_deeper(depth: int) -> None:
    payload: dict[str, Any] = {}
    for _ in range(depth):
        payload = {"inner": payload}
    if depth < 32:
        assert Inspector().inspect(encode(DataRequest(BinaryFrame(b"x"), payload=payload))).has_content
    else:
        with pytest.raises(MessageError, match="more than 32"):
            encode(DataRequest(BinaryFrame(b"x"), payload=payload))


@given(packets, st.integers(0, 2**64 - 1), st.sampled_from(["", "p", "ä"]))
def test_an_address_writes_what_stamp_writes(packet: bytes, sequence: int, partition: str) -> None:
    message = _decoded(packet)
    if message is None:
        return
    found = Inspector().inspect(packet)
    written = decode(DataResponse, Address("stream/1", {"a": "2"}).stamp(found.body, sequence, partition, found.chunk))

    if sequence:
        expected = decode(DataResponse, stamp(packet, "stream/1", sequence, partition=partition, metadata={"a": "2"}))
        assert written == expected
    else:
        envelope = written.envelope or StreamEnvelope()
        assert (envelope.sequence, envelope.partition) == (0, partition)
        assert envelope.stream_id == ("stream/1" if envelope.is_chunk else "")


@pytest.mark.parametrize("options", [{"stream_id": "s" * 129}, {"stream_id": "s", "metadata": {"": "x"}}])
def test_an_address_outside_the_bounds_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        Address(**options)


def test_what_is_remembered_of_metadata_is_bounded() -> None:
    inspector = Inspector()
    for number in range(10_000):
        inspector.inspect(encode(DataRequest(metadata={"id": str(number)})))

    assert len(inspector._known) <= 4_096
