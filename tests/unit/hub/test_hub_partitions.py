"""Partitions follow the keys of packets. (hub/partitions.py)"""

from __future__ import annotations

from typing import Any

import pytest

from bubu_wire.codec import decode, encode
from bubu_wire.messages import DataRequest, StreamEnvelope
from core.api.streaming import Streaming
from hub.envelope import PacketReading
from hub.packets import PacketChecker
from hub.partitions import fnv1a, partition_of
from hub.settings import settings_of
from tests.unit.hub.json_packets import json_packet

PAYLOAD = {"user": {"id": "user-1"}, "n": 7, "x": 1.5, "yes": True, "list": [1], "none": None}


def reading_of(partition: str = "", **metadata: Any) -> PacketReading:
    message = decode(DataRequest, json_packet(PAYLOAD, {"room": "r1"}, message_id="m-1", **metadata))
    envelope = StreamEnvelope(partition=partition) if partition else None
    return PacketReading(*PacketChecker().read(encode(DataRequest(**{**_fields(message), "envelope": envelope}))))


def _fields(message: DataRequest) -> dict[str, Any]:
    return {name: getattr(message, name) for name in ("frame", "metadata", "payload", "inputs")}


def found(settings: dict[str, Any], reading: PacketReading, inputs: dict[str, Any] | None = None) -> str:
    return partition_of(settings_of(Streaming.model_validate({"partitioning": settings})).partitioning, reading, inputs)


def test_the_example_of_the_contract() -> None:
    assert fnv1a("user-1") == 0xF5537974
    assert found({"mode": "hash", "key": "payload.user.id", "partitions": 8}, reading_of()) == "p4"
    assert found({"mode": "hash", "key": "payload.user.id"}, reading_of()) == "hf5537974"


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        ("payload.user.id", "user-1"),
        ("payload.n", "7"),
        ("payload.x", "1.5"),
        ("payload.yes", "true"),
        ("payload.user", ""),
        ("payload.list", ""),
        ("payload.none", ""),
        ("payload.user.id.deeper", ""),
        ("inputs.room", "r1"),
        ("envelope.messageId", "m-1"),
        ("envelope.partition", ""),
        ("metadata.a.b", "dotted"),
        ("a.b", "dotted"),
        (None, "k"),
    ],
)
def test_keys_are_looked_up_where_they_say(key: str | None, partition: str) -> None:
    metadata: Any = {"a.b": "dotted", "partition-key": "k"}
    settings = {"mode": "preserve"} | ({"key": key} if key else {})
    assert found(settings, reading_of(**metadata)) == partition


def test_a_partition_that_is_there_stays_if_it_should() -> None:
    key = {"key": "payload.user.id"}
    present = reading_of("own")
    assert found({}, present) == "own"
    assert found({"mode": "preserve", **key}, present) == "own"
    assert found({"mode": "hash", "sticky": True, **key}, present) == "own"
    assert found({"mode": "hash", **key}, present) == "hf5537974"
    assert found({"mode": "hash", "key": "payload.none"}, present) == ""


def test_evaluated_inputs_count_before_the_packets_own_and_long_keys_are_hashed() -> None:
    settings = {"mode": "preserve", "key": "inputs.room"}
    assert found(settings, reading_of(), {"room": "evaluated"}) == "evaluated"
    assert found(settings, reading_of(), {"room": "x" * 129}) == f"h{fnv1a('x' * 129):08x}"
    assert found(settings, reading_of(), {"room": 3.0}) == "3"
