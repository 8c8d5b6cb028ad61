"""What packets are told apart by: the partition, by which ``per_partition`` numbers them, and the participant.

Pure. Source: streaming contract 12 and 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from itertools import islice
from typing import Any, Final

import orjson

from bubu_wire.inspection import Inspected
from hub.envelope import PacketReading
from hub.lanes import lane_of
from hub.settings import KeySource, LaneKind, PartitionKey, PartitionMode, PartitionSettings

MAX_NAME_BYTES: Final = 128
MAX_LOOKED_AT: Final = 256
"""Waiting packets among which the next participant is looked for."""
PARTICIPANT: Final = ("participant", "participant.id")
"""Metadata whose first value is the participant of a packet."""

_MEDIA: Final = frozenset({LaneKind.AUDIO, LaneKind.VIDEO})
_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFF_FFFF


def partition_of(settings: PartitionSettings, reading: PacketReading, inputs: Mapping[str, Any] | None) -> str:
    """The partition of a packet; empty for none.

    Args:
        inputs: those that were evaluated for the step; None: the packet's own.
    """
    present, mode = reading.packet.partition, settings.mode
    if mode is PartitionMode.NONE or (present and (settings.sticky or mode is PartitionMode.PRESERVE)):
        return present
    value = _value(settings.key, reading, inputs)
    if not value:
        return ""
    if mode is PartitionMode.PRESERVE and len(value.encode()) <= MAX_NAME_BYTES:
        return value
    number = fnv1a(value)
    if mode is PartitionMode.HASH and settings.partitions:
        return f"p{number % settings.partitions}"
    return f"h{number:08x}"


def turn_of(packet: Inspected, by_participant: bool) -> str | None:
    """What a packet takes turns with: the packets of its participant, which may be empty, or all (empty).

    None for sound and film, whose frames are no work by themselves.
    """
    if lane_of(packet) in _MEDIA:
        return None
    if not by_participant:
        return ""
    metadata = PacketReading(packet).metadata
    return next((text for name in PARTICIPANT if (text := metadata.get(name))), "")


def whose_turn(waiting: Iterable[str | None], busy: Set[str | None]) -> int | None:
    """The place of the first of ``waiting`` that waits for none of ``busy``; None if all do, as far as is looked."""
    ahead = enumerate(islice(waiting, MAX_LOOKED_AT))
    return next((place for place, turn in ahead if turn is None or turn not in busy), None)


def fnv1a(text: str) -> int:
    """The hash FNV-1a of the UTF-8 of ``text``, with 32 bits."""
    value = _OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _PRIME & _MASK
    return value


def _value(key: PartitionKey, reading: PacketReading, inputs: Mapping[str, Any] | None) -> str:
    match key.source:
        case KeySource.METADATA:
            return next((text for name in key.path if (text := reading.metadata.get(name))), "")
        case KeySource.PARTITION:
            return reading.packet.partition
        case KeySource.PAYLOAD:
            return _text(_at(reading.payload, key.path))
        case KeySource.INPUTS:
            return _text(_at(reading.inputs if inputs is None else inputs, key.path))


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def _text(value: Any) -> str:
    """Objects and lists are no keys: two that are equal may be written differently."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Mapping | list):
        return ""
    return orjson.dumps(int(value) if isinstance(value, float) and value.is_integer() else value).decode()
