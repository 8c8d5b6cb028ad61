"""The messages of ``transport.v1`` that only connectors and hubs exchange (``HubService``), and what configures them.

Engrams never see them, so their processes do not load them. See ``messages``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bubu_wire.codec import Kind, choice, field, unknown
from bubu_wire.messages import (
    MAX_PAIRS,
    MAX_TRANSPORTS,
    AudioFrame,
    BinaryFrame,
    FlowControl,
    Frame,
    StreamEnvelope,
    TransportDescriptor,
    VideoFrame,
)
from bubu_wire.records import Record
from bubu_wire.structs import JsonObject


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DataPacket(Record):
    """A packet between connector and hub: the same fields under other numbers."""

    metadata: Mapping[str, str] = field(1, Kind.MAP, most=MAX_PAIRS)
    payload: JsonObject | None = field(2, Kind.STRUCT)
    inputs: JsonObject | None = field(3, Kind.STRUCT)
    transports: tuple[TransportDescriptor, ...] = field(4, Kind.MESSAGE, of=TransportDescriptor, count=MAX_TRANSPORTS)
    frame: Frame | None = choice((5, AudioFrame), (6, VideoFrame), (7, BinaryFrame))
    envelope: StreamEnvelope | None = field(8, Kind.MESSAGE, of=StreamEnvelope)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProcessRequest(Record):
    """From a connector to the hub."""

    packet: DataPacket | None = field(1, Kind.MESSAGE, of=DataPacket)
    flow: FlowControl | None = field(2, Kind.MESSAGE, of=FlowControl)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProcessResponse(Record):
    """From the hub to a connector."""

    packet: DataPacket | None = field(1, Kind.MESSAGE, of=DataPacket)
    flow: FlowControl | None = field(2, Kind.MESSAGE, of=FlowControl)
    unknown: bytes = unknown()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BindingInfo(Record):
    """How a step is bound to its transport."""

    transport_ref: str = field(1, Kind.TEXT, most=128)
    driver: str = field(2, Kind.TEXT, most=128)
    endpoint: str = field(3, Kind.TEXT, most=2048)
    audio_codecs: tuple[str, ...] = field(4, Kind.TEXT, count=32, most=64)
    video_codecs: tuple[str, ...] = field(5, Kind.TEXT, count=32, most=64)
    payload: bytes = field(6, Kind.BYTES, most=1024 * 1024)
    binary_types: tuple[str, ...] = field(7, Kind.TEXT, count=32, most=255)
    protocol_version: str = field(8, Kind.TEXT, most=128)
    unknown: bytes = unknown()
