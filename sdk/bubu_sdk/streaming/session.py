"""One connection to the hub: two calls on it, Data and Control, from the handshake to the end. No I/O.

Bytes go into ``receive``, events come out, and ``data_to_send`` has what is to be written, as in ``bubu_wire``; the
owner says the time. Source: Streaming contract 9, 11.4.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bubu_sdk.streaming.chunks import Part
from bubu_sdk.streaming.directives import answer_to, encoded_receipt, refusal
from bubu_sdk.streaming.settings import Pace
from bubu_sdk.streaming.translation import HEARTBEAT
from bubu_wire.client import ClientConnection
from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError, WireError
from bubu_wire.events import CallEnded, ConnectionEnded, Event, MessagesReceived
from bubu_wire.framing import PREFIX_BYTES
from bubu_wire.messages import (
    ACCEPTED_HEADER,
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROCESS_HEADER,
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    ControlAction,
    ControlRequest,
    ControlResponse,
    DataRequest,
)
from bubu_wire.records import Record
from bubu_wire.status import Status, StatusCode

CAPABILITIES: Final = "startup.capabilities"
ACCEPTS: Final = "upstream.accepts"
ACCEPTED: Final = "upstream.accepted"
PROCESS: Final = secrets.token_hex(8)
"""Tells this process from the one that its container starts after it: the hub knows who connects again."""
FINISH_SECONDS: Final = 5.0
"""The longest wait for the hub to end its side, after everything was sent and accepted."""
FINAL_CODES: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.FAILED_PRECONDITION,
    }
)
"""No other connection will do better."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ready(Record):
    """The handshake is over. ``accepts``: the hub says which packets it has accepted."""

    accepts: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PacketsReceived(Record):
    """Packets of Data, in order. Say ``consumed`` when they are done with."""

    packets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Accepted(Record):
    """The hub has accepted the first ``total`` packets of this connection."""

    total: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Remark(Record):
    """Something for the log."""

    text: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SessionEnded(Record):
    """The last event. ``final``: another connection will not help. ``finished``: the hub has taken everything."""

    reason: str
    final: bool = False
    finished: bool = False


SessionEvent = Ready | PacketsReceived | Accepted | Remark | SessionEnded


class Session:
    """One connection. Use it until ``SessionEnded``, then send what ``data_to_send`` still has, and close."""

    def __init__(
        self,
        authority: str,
        binding: str,
        pace: Pace,
        now: float,
        *,
        unix_ms: int = 0,
        secure: bool = False,
        accepted: int = 0,
    ) -> None:
        """Begin at ``now``, which is ``unix_ms`` by the clock on the wall; ``accepted`` packets need no connection."""
        self._pace = pace
        self._unix_ms = unix_ms
        self._wire = ClientConnection(
            authority, scheme="https" if secure else "http", user_agent="bubu-sdk-python-streaming"
        )
        protocol = (PROTOCOL_HEADER, PROTOCOL_VERSION)
        process = (PROCESS_HEADER, PROCESS), (ACCEPTED_HEADER, str(accepted))
        self._data = self._wire.open_call(DATA_METHOD, (protocol,))
        self._control = self._wire.open_call(CONTROL_METHOD, (protocol, (BINDING_HEADER, binding), *process))
        self.ready = self.accepts = self.ended = False
        self._greeted = self._needs_capabilities = self._finished = False
        self._finish_by = float("inf")
        self._opened: set[int] = {self._data, self._control}
        self._began = self._heard = self._data_sent = self._control_sent = now
        self._queued = self._handed = 0
        """Bytes of Data that were queued, and those that ``data_to_send`` has returned."""
        self._ends: deque[int] = deque()
        """Where each packet ends, in these bytes."""
        self.written_packets = 0
        self._failure: SessionEnded | None = None

    # What is received.

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """What ``data`` from the hub means; empty data is the end of the connection."""
        self._heard = now
        found = self._wire.receive(data, now) if data else self._wire.receive_eof()
        events: list[SessionEvent] = []
        for event in found:
            if self.ended:
                break
            self._take(event, now, events)
        self._end_on_failure(events)
        return events

    def lost(self, reason: str) -> list[SessionEvent]:
        """The transport has failed."""
        events: list[SessionEvent] = []
        self._end(SessionEnded(reason, finished=self._finished and not self._opened), events)
        return events

    def tick(self, now: float) -> list[SessionEvent]:
        """Send heartbeats that are due, and end what has taken too long."""
        events: list[SessionEvent] = []
        pace = self._pace
        if self.ended:
            return events
        if not self.ready and now >= self._began + pace.message_seconds:
            text = f"the hub has not sent connector.ready within {pace.message_seconds:g} s (BUBU_GRPC_MESSAGE_TIMEOUT)"
            self._end(SessionEnded(text, final=True), events)
            return events
        if pace.hang_seconds and now >= self._heard + pace.hang_seconds:
            text = f"the hub has been silent for {pace.hang_seconds:g} s (BUBU_GRPC_HANG_TIMEOUT)"
            self._end(SessionEnded(text), events)
            return events
        if now >= self._finish_by:
            self._end(SessionEnded("the hub has not ended its side", finished=True), events)
            return events
        if self.ready and not self._finished:
            if now >= self._data_sent + pace.data_heartbeat_seconds:
                self._beat(now)
            if now >= self._control_sent + pace.control_heartbeat_seconds:
                self._control_sent = now
                stamp = {"ts": str(self._unix_ms + int((now - self._began) * 1000))}
                self._send_control(encode(ControlRequest(ControlAction.HEARTBEAT, stamp)))
        self._end_on_failure(events)
        return events

    def next_tick(self) -> float:
        """When ``tick`` has something to do, at the latest."""
        pace, times = self._pace, [self._finish_by]
        if not self.ready:
            times.append(self._began + pace.message_seconds)
        elif not self._finished:
            times += (
                self._data_sent + pace.data_heartbeat_seconds,
                self._control_sent + pace.control_heartbeat_seconds,
            )
        if pace.hang_seconds:
            times.append(self._heard + pace.hang_seconds)
        return min(times)

    # What is sent.

    def backlog(self) -> int:
        """Bytes of packets that wait for the hub's window."""
        return self._wire.backlog(self._data)

    def send(self, packets: Iterable[bytes], now: float) -> None:
        """Queue packets of Data. Only when ``ready``."""
        packets = tuple(packets)
        for packet in packets:
            self._queued += PREFIX_BYTES + len(packet)
            self._ends.append(self._queued)
        self._data_sent = now
        try:
            self._wire.send_messages(self._data, packets)
        except WireError as error:
            self._failure = self._failure or SessionEnded(f"packets cannot be sent: {error}")

    def send_receipts(self, parts: Iterable[Part]) -> None:
        """Queue receipts. Only when ``ready``."""
        self._send_control(*map(encoded_receipt, parts))

    def send_refusal(self, reason: str, parts: Iterable[Part]) -> None:
        """Tell the hub that packets cannot be used. They have no receipt."""
        self._send_control(*(refusal(reason, part) for part in parts))

    def consumed(self, count: int) -> None:
        """``count`` packets are done with; the hub may send as many more."""
        if count and not self.ended:
            self._wire.consumed(self._data, count)

    def finish(self, now: float) -> None:
        """There is nothing more to send: end both calls. ``SessionEnded`` follows when the hub has ended them, too."""
        if self._finished or self.ended:
            return
        self._finished, self._finish_by = True, now + FINISH_SECONDS
        for call in (self._data, self._control):
            if call in self._opened:
                try:
                    self._wire.finish(call)
                except WireError as error:
                    self._failure = self._failure or SessionEnded(f"the calls cannot be finished: {error}")

    def data_to_send(self) -> bytes:
        """What to write now; empty if there is nothing. Say ``written`` when all of it is written."""
        data = self._wire.data_to_send()
        if not self.ended and self._data in self._opened:
            self._handed = self._queued - self._wire.backlog(self._data)
        return data

    def written(self) -> None:
        """What ``data_to_send`` has returned so far is written to the socket."""
        while self._ends and self._ends[0] <= self._handed:
            self._ends.popleft()
            self.written_packets += 1

    def control_is_sent(self) -> bool:
        """Whether all of Control has left."""
        return self._wire.backlog(self._control) == 0

    # Inside.

    def _beat(self, now: float) -> None:
        self._data_sent = now
        if self._wire.backlog(self._data) == 0:  # else packets will be seen, sooner than a heartbeat behind them
            beat = encode(DataRequest(metadata={HEARTBEAT: "true"}))
            self._queued += PREFIX_BYTES + len(beat)
            try:
                self._wire.send_messages(self._data, (beat,))
            except WireError as error:
                self._failure = self._failure or SessionEnded(f"a heartbeat cannot be sent: {error}")

    def _send_control(self, *messages: bytes) -> None:
        if not messages or self.ended or self._control not in self._opened:
            return
        try:
            self._wire.send_messages(self._control, messages)
        except WireError as error:
            self._failure = self._failure or SessionEnded(f"the hub does not read Control: {error}")

    def _take(self, event: Event, now: float, events: list[SessionEvent]) -> None:
        match event:
            case MessagesReceived() if event.call == self._data:
                events.append(PacketsReceived(event.messages))
            case MessagesReceived():
                for message in event.messages:
                    self._hear(message, now, events)
                self._wire.consumed(self._control, len(event.messages))
            case CallEnded():
                self._opened.discard(event.call)
                name = "Data" if event.call == self._data else "Control"
                self._call_ended(name, event.status, events)
            case ConnectionEnded():
                self._end(SessionEnded(event.reason, finished=self._finished and not self._opened), events)
            case _:
                pass  # answers to calls, and a hub that leaves but still serves these two

    def _call_ended(self, name: str, status: Status, events: list[SessionEvent]) -> None:
        if self._finished and status.code is StatusCode.OK:
            if not self._opened:
                self._end(SessionEnded("everything is sent", finished=True), events)
            return
        text = f"the hub has ended {name}: {status.code.name} {status.message}".rstrip()
        self._end(SessionEnded(text, final=status.code in FINAL_CODES), events)

    def _hear(self, message: bytes, now: float, events: list[SessionEvent]) -> None:
        if self.ended:
            return
        try:
            directive = decode(ControlResponse, message)
        except MessageError as error:
            events.append(Remark(f"a directive of the hub cannot be decoded and is ignored: {error}"))
            return
        if directive.custom_action == ACCEPTED:
            self._hear_accepted(directive.metadata.get("packets", ""), events)
            return
        if directive.action == ControlAction.ERROR and not directive.custom_action:
            text = directive.error.message if directive.error is not None else directive.metadata.get("message", "")
            events.append(Remark(f"the hub reports: {text}"))
        if (answer := answer_to(directive)) is not None:
            self._send_control(answer)
        if directive.custom_action:
            return
        if directive.action == ControlAction.CONNECTOR_READY and not self._greeted:
            self._greet(directive.metadata, now, events)
        elif directive.action == ControlAction.CONNECTOR_CAPABILITIES and self._needs_capabilities:
            self._needs_capabilities = False
            self._become_ready(now, events)

    def _greet(self, metadata: Mapping[str, str], now: float, events: list[SessionEvent]) -> None:
        self._greeted = True
        capabilities = metadata.get(CAPABILITIES, "")
        if capabilities not in ("none", "required"):
            text = f"connector.ready has {CAPABILITIES} {capabilities[:40]!r}; it must be 'none' or 'required'"
            self._end(SessionEnded(text, final=True), events)
            return
        self.accepts = metadata.get(ACCEPTS) == "1"
        self._needs_capabilities = capabilities == "required"
        if not self._needs_capabilities:
            self._become_ready(now, events)

    def _become_ready(self, now: float, events: list[SessionEvent]) -> None:
        self.ready = True
        self._data_sent = self._control_sent = now
        events.append(Ready(self.accepts))

    def _hear_accepted(self, text: str, events: list[SessionEvent]) -> None:
        if text.isascii() and text.isdigit() and len(text) < 20:
            events.append(Accepted(int(text)))
        else:
            events.append(Remark(f"{ACCEPTED} has packets {text[:40]!r}, which is not a number; it is ignored"))

    def _end_on_failure(self, events: list[SessionEvent]) -> None:
        if self._failure is not None:
            self._end(self._failure, events)

    def _end(self, ending: SessionEnded, events: list[SessionEvent]) -> None:
        if not self.ended:
            self.ended = True
            self.ready = False
            events.append(ending)
            self._wire.close()
