"""Duplicates, packets that say nothing, packets that cannot be decoded, chunks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from bubu_sdk.streaming.chunks import CHUNK_BYTES, MAX_ASSEMBLIES, split, stream_id_of
from bubu_sdk.streaming.inbox import REMEMBERED, Inbox
from bubu_sdk.streaming.packet_bytes import JSON_PACKET
from bubu_sdk.streaming.packets import Binary
from bubu_wire.codec import encode, serialize
from bubu_wire.messages import AudioFrame, BinaryFrame, DataRequest, StreamEnvelope
from tests.unit.sdk.streaming.stream_line import Line, encoded


def connected() -> Line:
    line = Line()
    line.connect()
    line.move()
    return line


def at(data: bytes, sequence: int, stream: str = "s", partition: str = "") -> bytes:
    return data + encode(DataRequest(envelope=StreamEnvelope(stream, sequence, partition)))


def chunk(index: int, count: int, payload: bytes = b"part", **fields: object) -> bytes:
    place = StreamEnvelope("s", 10 + index, "", "c", index, count, len(payload))
    place = replace(place, **fields)  # type: ignore[arg-type]  # fields of the envelope
    return serialize(DataRequest(BinaryFrame(payload, "image/png"), envelope=place))


def test_a_message_that_is_done_is_acknowledged_again_and_not_delivered_again() -> None:
    line = connected()
    sequence = line.hub.send(encoded({"n": 1}))
    line.move()
    line.hub.redeliver()
    line.move()
    assert len(line.deliveries) == 1, "it is being worked on"
    delivery = line.take()
    line.client.finish(delivery)
    line.move()

    line.hub.retained[sequence] = at(encoded({"n": 1}), sequence, "default/story-run/step")
    line.hub.redeliver()
    line.move()

    assert line.deliveries == []
    assert line.hub.receipts == [sequence, sequence]


def test_receipts_say_what_was_delivered() -> None:
    line = connected()
    line.hub.send(encoded({"n": 1}))
    line.move()

    (part,) = line.deliveries[0].parts

    assert (part.stream_id, part.sequence) == ("default/story-run/step", 1)
    assert part.size_bytes > 50


@pytest.mark.parametrize("second", [at(encoded({}), 1, "t"), at(encoded({}), 2), at(encoded({}), 1, "s", "p")])
def test_stream_partition_and_sequence_make_a_message(second: bytes) -> None:
    intake = Inbox().receive([at(encoded({}), 1), second, at(encoded({}), 1)], 1, 0)

    assert len(intake.deliveries) == 2
    assert intake.consumed == 1


def test_without_a_sequence_the_id_of_the_message_counts() -> None:
    packet = encoded({}, **{"bubu.envelope.message_id": "m-1"})

    assert len(Inbox().receive([packet, packet, encoded({}), encoded({})], 1, 0).deliveries) == 3


def test_messages_are_remembered_until_4096_others_are_done() -> None:
    inbox = Inbox()
    packets = [at(encoded({}), number) for number in range(1, REMEMBERED + 2)]
    for delivery in inbox.receive(packets, 1, 0).deliveries:
        inbox.complete(delivery)

    again = inbox.receive([packets[0], packets[1]], 1, 0)

    assert [delivery.place.sequence for delivery in again.deliveries] == [1]
    assert [part.sequence for part in again.receipts] == [2]


def test_packets_that_say_nothing_are_consumed_and_acknowledged() -> None:
    silent = [
        encode(DataRequest(metadata={"bubu-heartbeat": "true"})),
        at(b"", 1),
        at(encode(DataRequest(metadata={"bubu.envelope.kind": "noop"})), 2),
    ]

    intake = Inbox().receive(silent, 1, 0)

    assert (intake.deliveries, intake.consumed) == ([], 3)
    assert [part.sequence for part in intake.receipts] == [1, 2]


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\xff\xff", "number is cut off"),
        (serialize(DataRequest(AudioFrame(1, 1, b"x"))), "sample_rate_hz"),
        (serialize(DataRequest(BinaryFrame(b"{", "application/vnd.bubu.packet+json"))), "Expecting property name"),
        (serialize(DataRequest(BinaryFrame(b"[]", "application/vnd.bubu.packet+json"))), "must be an object"),
        (
            serialize(DataRequest(BinaryFrame(b'{"payload":NaN}', "application/vnd.bubu.packet+json"))),
            "NaN is not a JSON value",
        ),
        (serialize(DataRequest(BinaryFrame(b'{"version":"v2"}', "application/vnd.bubu.packet+json"))), "v2"),
        (
            serialize(DataRequest(BinaryFrame(b'{"payload":{"t":"\\ud800"}}', "application/vnd.bubu.packet+json"))),
            "unpaired surrogate",
        ),
        (serialize(DataRequest(BinaryFrame(b"[" * 20_000, "application/vnd.bubu.packet+json"))), "recursion"),
    ],
)
def test_a_packet_that_cannot_be_decoded_is_refused_alone(packet: bytes, reason: str) -> None:
    intake = Inbox().receive([at(encoded({}), 1), packet, at(encoded({}), 2)], 1, 0)

    assert len(intake.deliveries) == 2
    (broken,) = intake.refusals
    assert reason in broken.reason


def test_a_refusal_reaches_the_hub_without_a_receipt() -> None:
    line = connected()
    bad = encode(DataRequest(BinaryFrame(b"{", "application/vnd.bubu.packet+json")))
    first, second = line.hub.send(bad), line.hub.send(encoded({"n": 2}))
    line.move()

    (refusal,) = line.hub.refusals
    assert (refusal["sequence"], refusal["stream_id"], refusal["reason"]) == (
        str(first),
        "default/story-run/step",
        "undecodable",
    )
    assert [delivery.place.sequence for delivery in line.deliveries] == [second]
    assert line.hub.receipts == []
    assert any("refused" in remark for remark in line.remarks)


def test_a_message_that_the_function_refuses_is_delivered_again() -> None:
    line = connected()
    line.hub.send(encoded({"n": "many"}))
    line.move()

    line.client.refuse(line.take(), "payload.n: expected an integer")
    line.client.put([], None)
    line.move()
    line.hub.redeliver()
    line.move()

    assert len(line.hub.refusals) == 1
    assert len(line.deliveries) == 1


# Chunks.


def test_chunks_become_one_message_and_each_has_a_receipt() -> None:
    inbox = Inbox()
    intake = inbox.receive([chunk(1, 2, b"two"), chunk(0, 2, b"one"), chunk(1, 2, b"two")], 1, 0)

    (delivery,) = intake.deliveries
    assert delivery.content.frame == Binary(b"onetwo", "image/png")
    assert delivery.content.payload == b"onetwo"
    assert {part.sequence for part in inbox.complete(delivery)} == {10, 11}
    assert intake.consumed == 3


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ([chunk(0, 2), chunk(1, 2, chunk_bytes=3)], "chunk_bytes is 3"),
        ([chunk(0, 2, total_bytes=9), chunk(1, 2, total_bytes=9)], "total_bytes is 9"),
        ([chunk(0, 2), chunk(1, 3)], "do not agree"),
        ([chunk(0, 2), chunk(0, 2, b"else", sequence=99)], "arrived twice"),
        ([chunk(0, 2), chunk(2, 2)], "chunk_index 2 of 2"),
    ],
)
def test_chunks_that_break_a_rule_are_refused_with_their_assembly(packets: list[bytes], reason: str) -> None:
    intake = Inbox().receive([*packets, at(encoded({}), 1)], 1, 0)

    assert reason in intake.refusals[0].reason
    assert len(intake.deliveries) == 1


def test_chunks_that_wait_too_long_are_given_up_and_may_come_again() -> None:
    inbox = Inbox()
    inbox.receive([chunk(0, 2)], 1, 0)
    assert inbox.next_expiry() == 0
    assert inbox.expire(119) == []
    (broken,) = inbox.expire(120)
    assert "two minutes" in broken.reason

    assert len(inbox.receive([chunk(0, 2), chunk(1, 2)], 1, 130).deliveries) == 1


def test_the_number_of_assemblies_is_bounded() -> None:
    inbox = Inbox()
    packets = [chunk(0, 2, chunk_id=f"c{number}", sequence=number) for number in range(1, MAX_ASSEMBLIES + 2)]

    (broken,) = inbox.receive(packets, 1, 0).refusals

    assert "256" in broken.reason


def test_a_large_output_arrives_in_chunks() -> None:
    request = DataRequest(BinaryFrame(bytes(range(256)) * 40_000, "image/png"), {"camera": "north"})
    chunks = list(split(request, "stream", "chunk"))
    assert len(chunks) == -(-256 * 40_000 // CHUNK_BYTES)

    (delivery,) = Inbox().receive(chunks, 1, 0).deliveries

    assert isinstance(request.frame, BinaryFrame)
    assert delivery.content.payload == request.frame.payload
    assert delivery.content.metadata == {"camera": "north"}


def test_an_output_above_64_mebibytes_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        list(split(DataRequest(BinaryFrame(bytes(64 * 1024 * 1024 + 1), "image/png")), "stream", "chunk"))


def test_stream_ids_have_at_most_128_bytes() -> None:
    assert stream_id_of("ns", "run", "step") == "ns/run/step"
    assert len(stream_id_of("ns", "run", "ü" * 100).encode()) <= 128


GIVEN: Final = {"by": 3.0, "deep": {"a": [1.0]}}


@pytest.mark.parametrize(
    ("packet", "own", "all_of_them"),
    [
        (DataRequest(BinaryFrame(b'{"payload":{"n":1}}', JSON_PACKET), inputs=GIVEN), None, GIVEN),
        (DataRequest(BinaryFrame(b'{"inputs":{"n":1}}', JSON_PACKET), inputs=GIVEN), {"n": 1}, {"n": 1}),
        (DataRequest(AudioFrame(8_000, 1, b"pcm"), inputs=GIVEN), None, GIVEN),
        (DataRequest(BinaryFrame(b"raw", "a/b"), inputs=GIVEN), None, GIVEN),
        (DataRequest(BinaryFrame(b'{"payload":{"n":1}}', JSON_PACKET)), None, None),
    ],
)
def test_the_with_that_a_packet_brings_is_no_data(packet: DataRequest, own: object, all_of_them: object) -> None:
    (delivery,) = Inbox(with_in_packets=True).receive([encode(packet)], 1, 0).deliveries
    assert (delivery.content.inputs, delivery.content.all_inputs) == (own, all_of_them)
    assert delivery.content.all_inputs == all_of_them

    (delivery,) = Inbox().receive([encode(packet)], 1, 0).deliveries
    assert delivery.content.inputs == delivery.content.all_inputs == all_of_them
