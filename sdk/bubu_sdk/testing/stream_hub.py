"""A hub in memory, for one step: it speaks the protocol over bytes, and has neither sockets nor a clock.

It sends messages with numbers, at most ``window`` at once, and keeps them until their receipts come. What has no
receipt is sent again on the next connection. Outputs are collected and accepted, unless a test wants it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bubu_sdk.errors import Object
from bubu_sdk.streaming import packet_bytes
from bubu_sdk.streaming.chunks import Assembler, Part, Whole
from bubu_sdk.streaming.packets import Frame
from bubu_sdk.streaming.translation import content_of
from bubu_wire.codec import decode, encode
from bubu_wire.events import CallStarted, Event, MessagesReceived, PeerFinished
from bubu_wire.forwarding import stamp
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    ControlAction,
    ControlRequest,
    ControlResponse,
)
from bubu_wire.server import ServerConnection
from bubu_wire.status import OK, Status, StatusCode

STREAM: Final = "default/story-run/step"


@dataclass(frozen=True)
class StreamOutput:
    """A packet that the function has sent, as the hub reads it."""

    payload: Any
    """Plain JSON, or the bytes of a binary frame."""
    metadata: Mapping[str, str]
    kind: str
    message_id: str
    inputs: Object | None
    frame: Frame | None


@dataclass
class HubConnection:
    """The hub's end of one connection."""

    hub: StreamHub
    wire: ServerConnection = field(default_factory=lambda: ServerConnection([DATA_METHOD, CONTROL_METHOD]))
    data: int | None = None
    control: int | None = None
    packets: int = 0
    """Data packets of this connection, without heartbeats."""
    accepted: int = 0
    unaccepted: list[StreamOutput] = field(default_factory=list)
    """Outputs that the engram may send again."""
    under_way: set[int] = field(default_factory=set)
    """Sequences that were sent here and have no receipt."""
    assembler: Assembler = field(default_factory=Assembler)

    def receive(self, data: bytes) -> None:
        """Bytes from the engram; none is the end of the connection."""
        for event in self.wire.receive(data, 0.0) if data else self.wire.receive_eof():
            self._take(event)
        if self.wire.ended:
            self.hub.disconnected(self)
        else:
            self.hub.move(self)

    def data_to_send(self) -> bytes:
        """Bytes for the engram."""
        return self.wire.data_to_send()

    def send_directive(self, action: int = 0, custom: str = "", metadata: Mapping[str, str] | None = None) -> None:
        """Send a directive."""
        if self.control is not None:
            directive = ControlResponse(action, metadata or {}, custom_action=custom)
            self.wire.send_messages(self.control, [encode(directive)])

    def end_data(self, code: StatusCode, message: str = "") -> None:
        """End Data with a status."""
        if self.data is not None:
            self.wire.finish(self.data, Status(code, message))
            self.data = None

    def _take(self, event: Event) -> None:
        match event:
            case CallStarted():
                self._start(event)
            case MessagesReceived() if event.call == self.data:
                for message in event.messages:
                    self._take_packet(message)
                self.wire.consumed(event.call, len(event.messages))
            case MessagesReceived():
                for message in event.messages:
                    self.hub.hear(self, decode(ControlRequest, message))
                self.wire.consumed(event.call, len(event.messages))
            case PeerFinished():
                self.wire.finish(event.call, OK)
                if event.call == self.data:
                    self.data = None
                else:
                    self.control = None

    def _start(self, event: CallStarted) -> None:
        metadata = dict(event.metadata)
        if metadata.get(PROTOCOL_HEADER) != PROTOCOL_VERSION:
            self.wire.finish(event.call, Status(StatusCode.FAILED_PRECONDITION, f"{PROTOCOL_HEADER} must be 1.0.0"))
        elif event.path == DATA_METHOD:
            self.data = event.call
            self.wire.accept(event.call)
        else:
            self.control = event.call
            self.hub.bindings.append(str(metadata.get(BINDING_HEADER, "")))
            self.hub.greet(self)

    def _take_packet(self, data: bytes) -> None:
        read = packet_bytes.read(data)
        if read.metadata.get("bubu-heartbeat") == "true":
            self.hub.data_heartbeats += 1
            return
        self.packets += 1
        if read.packet is not None and read.packet.envelope is not None and read.packet.envelope.is_chunk:
            whole = self.assembler.add(read.packet, Part("", len(data)), 0.0)
            if not isinstance(whole, Whole):
                return
            read = packet_bytes.whole(whole.packet)
        content = content_of(read, data)
        assert content is not None, "an empty output"
        output = StreamOutput(
            content.payload, content.metadata, content.kind, content.message_id, content.inputs, content.frame
        )
        self.hub.outputs.append(output)
        (self.unaccepted if self.hub.accepts else self.hub.accepted).append(output)


class StreamHub:
    """What the hub knows; connections come and go."""

    def __init__(self, *, accepts: bool = True, window: int = 64, greets: bool = True) -> None:
        """``accepts``: offer ``upstream.accepts``. ``greets``: send ``connector.ready``."""
        self.accepts = accepts
        self.window = window
        self.greets = greets
        self.accepts_outputs = True
        """With ``accepts``: whether outputs are accepted as they come; else by ``accept``."""
        self.outputs: list[StreamOutput] = []
        """In order, also those that came again."""
        self.accepted: list[StreamOutput] = []
        """Those that were accepted, or that came while ``accepts`` is off."""
        self.receipts: list[int] = []
        """Sequences, in order, also those that came again."""
        self.refusals: list[Mapping[str, str]] = []
        """Metadata of what the engram cannot use."""
        self.acknowledgements: list[Mapping[str, str]] = []
        self.bindings: list[str] = []
        self.data_heartbeats = 0
        self.control_heartbeats = 0
        self.connections = 0
        self.connection: HubConnection | None = None
        self.retained: dict[int, bytes] = {}
        """Messages without a receipt."""
        self.delivered: dict[int, int] = {}
        """How often each message was sent."""
        self.changed: Callable[[], None] = lambda: None
        """Called after each change."""
        self._sequence = 0

    def connect(self) -> HubConnection:
        """A new connection replaces the former one."""
        self.connections += 1
        self.connection = HubConnection(self)
        return self.connection

    def send(self, packet: bytes, *, sequenced: bool = True) -> int:
        """Send an encoded packet to the function; returns its sequence, 0 without one."""
        if not sequenced:
            connection = self.connection
            if connection is not None and connection.data is not None:
                connection.wire.send_messages(connection.data, [packet])
            return 0
        self._sequence += 1
        self.retained[self._sequence] = stamp(packet, STREAM, self._sequence)
        if self.connection is not None:
            self.move(self.connection)
        return self._sequence

    def redeliver(self) -> None:
        """Send all messages without a receipt again, on the same connection."""
        if self.connection is not None:
            self.connection.under_way.clear()
            self.move(self.connection)

    def accept(self) -> None:
        """Accept all outputs that have come."""
        if self.connection is not None:
            self._accept(self.connection)

    def send_directive(self, action: int = 0, custom: str = "", metadata: Mapping[str, str] | None = None) -> None:
        """Send a directive."""
        if self.connection is not None:
            self.connection.send_directive(action, custom, metadata)

    # What connections do.

    def greet(self, connection: HubConnection) -> None:
        if self.greets:
            metadata = {"startup.capabilities": "none"} | ({"upstream.accepts": "1"} if self.accepts else {})
            connection.send_directive(ControlAction.CONNECTOR_READY, metadata=metadata)

    def move(self, connection: HubConnection) -> None:
        if connection is self.connection:
            if self.accepts and self.accepts_outputs:
                self._accept(connection)
            self._send_waiting(connection)
        self.changed()

    def disconnected(self, connection: HubConnection) -> None:
        if connection is self.connection:
            self.connection = None
        self.changed()

    def hear(self, connection: HubConnection, directive: ControlRequest) -> None:
        if directive.custom_action == "downstream.delivered":
            sequence = int(directive.metadata["sequence"])
            self.receipts.append(sequence)
            self.retained.pop(sequence, None)
            connection.under_way.discard(sequence)
        elif directive.action == ControlAction.HEARTBEAT:
            self.control_heartbeats += 1
            connection.send_directive(ControlAction.ACK, metadata={"handled": "true"})
        elif directive.action == ControlAction.ACK:
            self.acknowledgements.append(directive.metadata)
        elif directive.action == ControlAction.ERROR:
            self.refusals.append(directive.metadata)

    def _accept(self, connection: HubConnection) -> None:
        if connection.accepted < connection.packets:
            connection.accepted = connection.packets
            self.accepted += connection.unaccepted
            connection.unaccepted.clear()
            connection.send_directive(custom="upstream.accepted", metadata={"packets": str(connection.packets)})

    def _send_waiting(self, connection: HubConnection) -> None:
        if connection.data is None:
            return
        for sequence, packet in self.retained.items():
            if len(connection.under_way) >= self.window:
                return
            if sequence not in connection.under_way:
                connection.under_way.add(sequence)
                self.delivered[sequence] = self.delivered.get(sequence, 0) + 1
                connection.wire.send_messages(connection.data, [packet])
