"""Chunks: a packet that its producer has cut into parts becomes one again, before it is sent on.

A receiver acknowledges the whole, and never its parts, so parts cannot be delivered one by one. The whole has to fit
into one frame. Parts come in any order; a part that comes again replaces itself. Pure. Source: streaming contract 12.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_FRAME_BYTES, BinaryFrame, DataRequest, StreamEnvelope

MAX_ASSEMBLIES: Final = 64
"""Incomplete packets of one producer. The oldest goes for a new one."""
MAX_BYTES: Final = 2 * MAX_FRAME_BYTES
"""Of all its incomplete packets together."""
MAX_SECONDS: Final = 120.0
"""From the first part of a packet to the last."""

_Key = tuple[str, str, str]


@dataclass(slots=True)
class _Assembly:
    count: int
    total: int
    """Bytes of the whole; 0 if the producer does not say."""
    begun_at: float
    parts: dict[int, bytes] = field(default_factory=dict)
    first: DataRequest | None = None
    """The part with index 0: its metadata is that of the whole."""
    size: int = 0
    whole: bytes | None = None
    """The packet, once all parts are there."""


@dataclass(slots=True)
class ChunkAssembler:
    """The incomplete packets of one producer. ``lost`` counts the parts that were given up."""

    lost: int = 0
    size: int = 0
    """Bytes that are held."""
    _open: dict[_Key, _Assembly] = field(default_factory=dict)
    """The oldest first."""

    @property
    def held(self) -> int:
        """Parts that wait for others."""
        return sum(len(assembly.parts) for assembly in self._open.values())

    def add(self, packet: bytes, now: float) -> bytes | None:
        """The encoded DataRequest that ``packet``, one of its parts, completes; None if parts are missing.

        A completed packet stays until ``done``, so that its last part can be added again later.

        Raises:
            MessageError: the part contradicts itself or others, or the whole does not fit into a frame. The other parts
                of the packet are given up, too.
        """
        message = decode(DataRequest, packet)
        place = message.envelope
        assert place is not None, "a chunk has an envelope"
        key = _key(place)
        self._expire(now)
        try:
            assembly = self._add(key, message, place, now)
        except MessageError:
            self._give_up(key)
            raise
        if len(assembly.parts) < assembly.count or assembly.first is None:
            self._bound(key)
            return None
        if assembly.whole is None:
            payload = b"".join(assembly.parts[index] for index in range(assembly.count))
            if assembly.total and assembly.total != len(payload):
                self._give_up(key)
                raise MessageError(f"total_bytes is {assembly.total}, and the chunks have {len(payload)} bytes")
            assembly.whole = encode(_whole(assembly.first, payload))
        return assembly.whole

    def done(self, place: StreamEnvelope) -> None:
        """The whole packet that ``place`` belongs to was sent on or refused."""
        assembly = self._open.pop(_key(place), None)
        if assembly is not None:
            self.size -= assembly.size

    def _add(self, key: _Key, message: DataRequest, place: StreamEnvelope, now: float) -> _Assembly:
        frame = message.frame
        if not isinstance(frame, BinaryFrame):
            raise MessageError("a chunk must be a BinaryFrame")
        if place.chunk_bytes and place.chunk_bytes != len(frame.payload):
            raise MessageError(f"chunk_bytes is {place.chunk_bytes}, and the chunk has {len(frame.payload)} bytes")
        assembly = self._open.get(key)
        if assembly is None:
            assembly = self._open[key] = _Assembly(place.chunk_count, place.total_bytes, now)
        if (assembly.count, assembly.total) != (place.chunk_count, place.total_bytes):
            raise MessageError("chunk_count and total_bytes must be the same in all chunks of a packet")
        former = assembly.parts.get(place.chunk_index)
        if former == frame.payload:
            return assembly
        assembly.whole = None
        change = len(frame.payload) - len(former or b"")
        assembly.parts[place.chunk_index] = frame.payload
        assembly.size += change
        self.size += change
        if place.chunk_index == 0:
            assembly.first = message
        if max(assembly.size, assembly.total) > MAX_FRAME_BYTES:
            raise MessageError(f"the chunks of a packet have more than {MAX_FRAME_BYTES} bytes; send less")
        return assembly

    def _bound(self, newest: _Key) -> None:
        """Give up the oldest packets while there are too many, or they are too large."""
        while len(self._open) > MAX_ASSEMBLIES or self.size > MAX_BYTES:
            self._give_up(next(key for key in self._open if key != newest))

    def _expire(self, now: float) -> None:
        while self._open and (key := next(iter(self._open))) and self._open[key].begun_at + MAX_SECONDS <= now:
            self._give_up(key)

    def _give_up(self, key: _Key) -> None:
        assembly = self._open.pop(key, None)
        if assembly is not None:
            self.size -= assembly.size
            self.lost += len(assembly.parts)


def _key(place: StreamEnvelope) -> _Key:
    return place.stream_id, place.partition, place.chunk_id


def _whole(first: DataRequest, payload: bytes) -> DataRequest:
    assert isinstance(first.frame, BinaryFrame)
    assert first.envelope is not None
    place = StreamEnvelope(partition=first.envelope.partition) if first.envelope.partition else None
    return replace(first, frame=replace(first.frame, payload=payload), envelope=place)
