"""The messages of ``transport.v1`` that ``TransportConnectorService`` carries. Those of connectors have another module.

``codec.decode`` and ``codec.encode`` check the bounds. Lengths are bytes. ``unknown`` has encoded fields of a newer
peer, which are sent on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bubu_wire.codec import Kind, choice, field, unknown
from bubu_wire.records import Record
from bubu_wire.structs import JsonObject

PROTOCOL_VERSION: Final = "1.0.0"
PROTOCOL_HEADER: Final = "bubu-transport-protocol"
BINDING_HEADER: Final = "bubu.transport.binding"
PROCESS_HEADER: Final = "bubu-process"
"""An extension, on Control: what tells the process of a client from the next one of the same container."""
ACCEPTED_HEADER: Final = "bubu-accepted"
"""An extension, on Control: how many packets the process knows as accepted. It keeps all others."""
DATA_METHOD: Final = "/transport.v1.TransportConnectorService/Data"
CONTROL_METHOD: Final = "/transport.v1.TransportConnectorService/Control"
PROCESS_METHOD: Final = "/transport.v1.HubService/Process"

MAX_FRAME_BYTES: Final = 10 * 1024 * 1024
MAX_PAIRS: Final = 100
MAX_TRANSPORTS: Final = 10


class ControlAction(IntEnum):
    """What a directive asks. An action of one's own is in ``custom_action``, with UNSPECIFIED here."""

    UNSPECIFIED = 0
    NOOP = 1
    START = 2
    STOP = 3
    START_UPSTREAM = 4
    STOP_UPSTREAM = 5
    START_DOWNSTREAM = 6
    STOP_DOWNSTREAM = 7
    HEARTBEAT = 8
    CONNECTOR_READY = 9
    CONNECTOR_CAPABILITIES = 10
    HANDOFF_DRAINING = 11
    HANDOFF_CUTOVER = 12
    HANDOFF_READY = 13
    ACK = 14
    ERROR = 15
    CODEC_SELECT = 16


class FlowControlSignal(IntEnum):
    """Whether the peer may send."""

    UNSPECIFIED = 0
    PAUSE = 1
    RESUME = 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AudioFrame(Record):
    """Sound, encoded as ``codec`` says."""

    sample_rate_hz: int = field(2, Kind.INT32, least=8_000, most=192_000)
    channels: int = field(3, Kind.INT32, least=1, most=8)
    pcm: bytes = field(1, Kind.BYTES, most=MAX_FRAME_BYTES)
    codec: str = field(4, Kind.TEXT, most=32)
    timestamp_ms: int = field(5, Kind.UINT64)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VideoFrame(Record):
    """A picture; ``raw`` ones have width and height."""

    payload: bytes = field(1, Kind.BYTES, most=MAX_FRAME_BYTES)
    codec: str = field(2, Kind.TEXT, most=32)
    width: int = field(3, Kind.UINT32, most=16_384)
    height: int = field(4, Kind.UINT32, most=16_384)
    timestamp_ms: int = field(5, Kind.UINT64)
    raw: bool = field(6, Kind.BOOL)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BinaryFrame(Record):
    """Any bytes; JSON packets come in it, too."""

    payload: bytes = field(1, Kind.BYTES, most=MAX_FRAME_BYTES)
    mime_type: str = field(2, Kind.TEXT, most=255)
    timestamp_ms: int = field(3, Kind.UINT64)
    unknown: bytes = unknown()


Frame = AudioFrame | VideoFrame | BinaryFrame


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TransportConfig(Record):
    """Which Transport a descriptor means."""

    transport_ref: str = field(1, Kind.TEXT, most=253)
    mode_reason: str = field(2, Kind.TEXT, most=512)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TransportDescriptor(Record):
    """A transport of the Story."""

    name: str = field(1, Kind.TEXT, most=128)
    kind: str = field(2, Kind.TEXT, most=128)
    mode: str = field(3, Kind.TEXT, most=128)
    typed_config: TransportConfig | None = field(5, Kind.MESSAGE, of=TransportConfig)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StreamEnvelope(Record):
    """The place of a packet in its stream, and of a chunk in its packet."""

    stream_id: str = field(1, Kind.TEXT, most=128)
    sequence: int = field(2, Kind.UINT64)
    partition: str = field(3, Kind.TEXT, most=128)
    chunk_id: str = field(4, Kind.TEXT, most=128)
    chunk_index: int = field(5, Kind.UINT32)
    chunk_count: int = field(6, Kind.UINT32, most=256)
    chunk_bytes: int = field(7, Kind.UINT32, most=MAX_FRAME_BYTES)
    total_bytes: int = field(8, Kind.UINT32, most=64 * 1024 * 1024)
    unknown: bytes = unknown()

    @property
    def is_chunk(self) -> bool:
        return bool(self.chunk_count or self.chunk_id or self.chunk_index or self.chunk_bytes or self.total_bytes)

    def broken_rule(self) -> str | None:
        if not self.chunk_count:
            return "chunk fields without chunk_count" if self.is_chunk else None
        if not (self.chunk_id and self.stream_id):
            return "a chunk needs chunk_id and stream_id"
        if self.chunk_index >= self.chunk_count:
            return f"chunk_index {self.chunk_index} of {self.chunk_count} chunks; it counts from 0"
        return None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DataRequest(Record):
    """A packet from an engram."""

    frame: Frame | None = choice((1, AudioFrame), (2, VideoFrame), (3, BinaryFrame))
    metadata: Mapping[str, str] = field(4, Kind.MAP, most=MAX_PAIRS)
    payload: JsonObject | None = field(5, Kind.STRUCT)
    inputs: JsonObject | None = field(6, Kind.STRUCT)
    transports: tuple[TransportDescriptor, ...] = field(7, Kind.MESSAGE, of=TransportDescriptor, count=MAX_TRANSPORTS)
    envelope: StreamEnvelope | None = field(8, Kind.MESSAGE, of=StreamEnvelope)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DataResponse(Record):
    """A packet to an engram. The fields are those of ``DataRequest``, so bytes of one are bytes of the other."""

    frame: Frame | None = choice((1, AudioFrame), (2, VideoFrame), (3, BinaryFrame))
    metadata: Mapping[str, str] = field(4, Kind.MAP, most=MAX_PAIRS)
    payload: JsonObject | None = field(5, Kind.STRUCT)
    inputs: JsonObject | None = field(6, Kind.STRUCT)
    transports: tuple[TransportDescriptor, ...] = field(7, Kind.MESSAGE, of=TransportDescriptor, count=MAX_TRANSPORTS)
    envelope: StreamEnvelope | None = field(8, Kind.MESSAGE, of=StreamEnvelope)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PartitionAck(Record):
    """Packets of one partition up to ``ack`` are done."""

    partition: str = field(1, Kind.TEXT, most=128)
    ack: int = field(2, Kind.UINT64)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FlowControl(Record):
    """Acknowledgements and credits."""

    ack: int = field(1, Kind.UINT64)
    credits_messages: int = field(2, Kind.UINT32)
    credits_bytes: int = field(3, Kind.UINT32)
    partition_acks: tuple[PartitionAck, ...] = field(6, Kind.MESSAGE, of=PartitionAck, count=256)
    signal: int = field(7, Kind.ENUM, of=FlowControlSignal)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ControlError(Record):
    """What went wrong with a directive."""

    code: int = field(1, Kind.INT32)
    message: str = field(2, Kind.TEXT, most=2048)
    details: Mapping[str, str] = field(3, Kind.MAP, most=50)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ControlRequest(Record):
    """A directive from an engram."""

    action: int = field(1, Kind.ENUM, of=ControlAction)
    metadata: Mapping[str, str] = field(2, Kind.MAP, most=MAX_PAIRS)
    flow: FlowControl | None = field(3, Kind.MESSAGE, of=FlowControl)
    custom_action: str = field(4, Kind.TEXT, most=128)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ControlResponse(Record):
    """A directive to an engram."""

    action: int = field(1, Kind.ENUM, of=ControlAction)
    metadata: Mapping[str, str] = field(2, Kind.MAP, most=MAX_PAIRS)
    flow: FlowControl | None = field(3, Kind.MESSAGE, of=FlowControl)
    custom_action: str = field(4, Kind.TEXT, most=128)
    error: ControlError | None = field(5, Kind.MESSAGE, of=ControlError)
    unknown: bytes = unknown()
