"""Lanes: how much of each kind of packet may wait for a step. Pure. Source: streaming contract 4 and 13."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bubu_wire.inspection import Inspected
from bubu_wire.protobuf import read_key, skip
from hub.settings import LaneKind, LaneSettings

_KIND_OF_FRAME: Final = {1: LaneKind.AUDIO, 2: LaneKind.VIDEO, 3: LaneKind.BINARY}


@dataclass(slots=True)
class LaneLoad:
    """What waits in one lane."""

    settings: LaneSettings
    messages: int = 0
    size: int = 0

    def has_room(self, size: int) -> bool:
        return self.messages < self.settings.max_messages and self.size + size <= self.settings.max_bytes


class LaneTable:
    """The lanes of one step. Packets of a kind without lane are not counted."""

    def __init__(self, lanes: Iterable[LaneSettings]) -> None:
        self._loads = {lane.kind: LaneLoad(lane) for lane in lanes}

    def load(self, kind: LaneKind) -> LaneLoad | None:
        return self._loads.get(kind)

    def change(self, kind: LaneKind, messages: int, size: int) -> None:
        """So much more waits, or less."""
        if (load := self._loads.get(kind)) is not None:
            load.messages += messages
            load.size += size

    def clear(self) -> None:
        for load in self._loads.values():
            load.messages = load.size = 0


def lane_of(packet: Inspected) -> LaneKind:
    """The kind of a valid packet: by its frame, and ``payload`` for JSON."""
    if packet.document is not None:
        return LaneKind.PAYLOAD
    position, end = 0, len(packet.body)
    while position < end:
        number, kind, position = read_key(packet.body, position, end)
        if number in _KIND_OF_FRAME:
            return _KIND_OF_FRAME[number]
        position = skip(packet.body, position, end, number, kind)
    return LaneKind.PAYLOAD
