"""Packets that travel in parts: puts received chunks together, and splits what is too large to send at once.

Received chunks are bounded in size, number and time. What breaks a rule is refused with its whole assembly, and
nothing else is. Source: Streaming contract 11.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from bubu_wire.codec import encode
from bubu_wire.messages import BinaryFrame, DataRequest, DataResponse, StreamEnvelope

CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
MAX_CHUNKS: Final = 256
MAX_ASSEMBLIES: Final = 256
TTL_SECONDS: Final = 120.0
_STREAM_ID_BYTES: Final = 128


@dataclass(slots=True)
class Part:
    """What is remembered of a received packet: what makes it the same, and how to acknowledge it."""

    key: str
    size_bytes: int
    stream_id: str = ""
    sequence: int = 0
    """0 without one; then it is not acknowledged."""
    partition: str = ""


@dataclass(slots=True)
class _Assembly:
    first: DataResponse
    began: float
    parts: dict[int, tuple[bytes, Part]] = field(default_factory=dict)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """All chunks of a packet have come."""

    packet: DataResponse
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """An assembly that is given up, with the chunks that it had."""

    reason: str
    parts: tuple[Part, ...]


class Assembler:
    """The assemblies in progress. Together they hold at most 64 MiB."""

    def __init__(self) -> None:
        self._assemblies: dict[tuple[str, str, str], _Assembly] = {}
        self.held_bytes = 0

    def add(self, packet: DataResponse, part: Part, now: float) -> Whole | Broken | None:
        """Add a chunk; None while others are missing. ``packet.envelope`` is that of a chunk."""
        place = packet.envelope
        assert place is not None
        key = (place.stream_id, place.partition, place.chunk_id)
        assembly = self._assemblies.get(key)
        if assembly is not None and place.chunk_index in assembly.parts and _same(assembly, packet, place):
            return None
        problem = self._problem(packet, place, assembly)
        if problem is not None:
            return Broken(problem, (*self._remove(key), part))
        assert isinstance(packet.frame, BinaryFrame)
        if assembly is None:
            assembly = self._assemblies[key] = _Assembly(packet, now)
        payload = packet.frame.payload
        assembly.parts[place.chunk_index] = (payload, part)
        assembly.size_bytes += len(payload)
        self.held_bytes += len(payload)
        if len(assembly.parts) < place.chunk_count:
            return None
        if place.total_bytes and assembly.size_bytes != place.total_bytes:
            reason = f"the chunks have {assembly.size_bytes} bytes together; total_bytes is {place.total_bytes}"
            return Broken(reason, self._remove(key))
        return self._whole(assembly, self._remove(key))

    def expire(self, now: float) -> list[Broken]:
        """Give up what has been incomplete for two minutes."""
        late = [key for key, assembly in self._assemblies.items() if now - assembly.began >= TTL_SECONDS]
        return [Broken("other chunks have not arrived for two minutes", self._remove(key)) for key in late]

    def next_expiry(self) -> float | None:
        """When the oldest assembly expires."""
        return min((each.began for each in self._assemblies.values()), default=None) if self._assemblies else None

    def _problem(self, packet: DataResponse, place: StreamEnvelope, assembly: _Assembly | None) -> str | None:
        frame = packet.frame
        if not isinstance(frame, BinaryFrame):
            return "only binary frames can be in chunks"
        if place.chunk_bytes and place.chunk_bytes != len(frame.payload):
            return f"the chunk has {len(frame.payload)} bytes; chunk_bytes is {place.chunk_bytes}"
        if self.held_bytes + len(frame.payload) > MAX_TOTAL_BYTES:
            return f"chunks of more than {MAX_TOTAL_BYTES} bytes wait for others"
        if assembly is None:
            return None if len(self._assemblies) < MAX_ASSEMBLIES else f"{MAX_ASSEMBLIES} packets are incomplete"
        first = assembly.first.envelope
        assert first is not None
        if (place.chunk_count, place.total_bytes) != (first.chunk_count, first.total_bytes):
            return "the chunks do not agree on their number or size"
        return (
            f"chunk {place.chunk_index} has arrived twice, with other bytes"
            if place.chunk_index in assembly.parts
            else None
        )

    def _remove(self, key: tuple[str, str, str]) -> tuple[Part, ...]:
        assembly = self._assemblies.pop(key, None)
        if assembly is None:
            return ()
        self.held_bytes -= assembly.size_bytes
        return tuple(part for _, part in assembly.parts.values())

    @staticmethod
    def _whole(assembly: _Assembly, parts: tuple[Part, ...]) -> Whole:
        first = assembly.first
        assert isinstance(first.frame, BinaryFrame)
        assert first.envelope is not None
        payload = b"".join(assembly.parts[index][0] for index in sorted(assembly.parts))
        place = StreamEnvelope(first.envelope.stream_id, first.envelope.sequence, first.envelope.partition)
        return Whole(replace(first, frame=replace(first.frame, payload=payload), envelope=place), parts)


def _same(assembly: _Assembly, packet: DataResponse, place: StreamEnvelope) -> bool:
    """Whether a chunk is one that is here already: a hub without receipts sends all of a packet again."""
    held, _ = assembly.parts[place.chunk_index]
    return isinstance(packet.frame, BinaryFrame) and packet.frame.payload == held


def stream_id_of(namespace: str, story_run: str, step: str) -> str:
    """The stream of what a step sends in chunks; at most 128 bytes."""
    name = f"{namespace}/{story_run}/{step}"
    if len(name.encode()) <= _STREAM_ID_BYTES:
        return name
    import hashlib  # rarely needed

    return hashlib.sha256(name.encode()).hexdigest()


def split(request: DataRequest, stream_id: str, chunk_id: str) -> Iterator[bytes]:
    """The encoded packets of a request whose frame is larger than one packet.

    Raises:
        ValueError: it has more than 64 MiB.
    """
    frame = request.frame
    assert isinstance(frame, BinaryFrame)
    total = len(frame.payload)
    if total > MAX_TOTAL_BYTES:
        raise ValueError(f"an output of {total} bytes is too large; at most {MAX_TOTAL_BYTES} are sent")
    count = -(-total // CHUNK_BYTES)
    for index in range(count):
        payload = frame.payload[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        place = StreamEnvelope(
            stream_id=stream_id,
            chunk_id=chunk_id,
            chunk_index=index,
            chunk_count=count,
            chunk_bytes=len(payload),
            total_bytes=total,
        )
        yield encode(replace(request, frame=replace(frame, payload=payload), envelope=place))
