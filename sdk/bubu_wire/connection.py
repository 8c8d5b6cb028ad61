"""One HTTP/2 connection with the calls on it: what server and client have in common.

The owner passes received bytes to ``receive``, and after every use sends what ``data_to_send`` returns, until that is
empty. Times are seconds of a clock that never goes back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings

from bubu_wire.call import Call
from bubu_wire.errors import BacklogError, UnknownCallError, UsageError
from bubu_wire.events import CallEnded, ConnectionEnded, Event, MessagesReceived, PeerLeaving, PingAnswered
from bubu_wire.framing import PREFIX_BYTES, Deframer
from bubu_wire.limits import FRAME_BYTES, Limits
from bubu_wire.screen import DATA, GOAWAY, HEADER_BYTES, PREFACE, Frame, Screen, Violation
from bubu_wire.status import Status, StatusCode

WRITE_BYTES: Final = 256 * 1024
"""What ``data_to_send`` returns at most, give or take a frame."""
_REASON_BYTES: Final = 200
_SMALLEST_GOAWAY: Final = HEADER_BYTES + 8
_LAST_STREAM: Final = 2**31 - 1
_WINDOW: Final = "_inbound_flow_control_window_manager"
_WINDOW_OF_STREAM: Final = "_inbound_window_manager"


class _Chunk(NamedTuple):
    """The content of DATA frames of one call, one behind the other, for which its windows have room."""

    call: Call
    data: bytes


class _Engine(H2Connection):
    """h2 with smaller memory of the past, and without its answer to one call too many, which ends the connection."""

    MAX_CLOSED_STREAMS = 1024

    @property
    def open_inbound_streams(self) -> int:
        _ = super().open_inbound_streams  # forgets the streams that have ended
        return 0

    def can_count(self, stream: int) -> bool:
        """Whether ``count`` knows how this version of h2 counts."""
        return hasattr(self, _WINDOW) and hasattr(self.streams.get(stream), _WINDOW_OF_STREAM)

    def count(self, stream: int, size: int) -> None:
        """Take ``size`` bytes of the windows of a stream and of the connection, which have as many.

        That is all that h2 does for a DATA frame which ends nothing, of an open stream without a content length.
        Through ``receive_data`` it takes as long as everything else here for ten messages.
        """
        getattr(self, _WINDOW).window_consumed(size)
        getattr(self.streams[stream], _WINDOW_OF_STREAM).window_consumed(size)


class Connection(ABC):
    """Base of ``ServerConnection`` and ``ClientConnection``."""

    def __init__(self, limits: Limits, *, client: bool) -> None:
        self.limits = limits
        self.ended = False
        """Nothing more is received; send what is left, then close."""
        self._client = client
        self._calls: dict[int, Call] = {}
        self._ready: dict[int, None] = {}
        self._replies = bytearray()
        self._screen = Screen(limits, preface=not client)
        self._h2 = _Engine(H2Configuration(client_side=client, header_encoding=None))
        self._h2.decoder.max_header_list_size = limits.max_header_bytes
        self._h2.local_settings = Settings(client=client, initial_values=self._settings())
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(limits.connection_window_bytes - 65_535)
        if not client:
            self._h2.receive_data(PREFACE)  # the screen checks the peer's and keeps it
        self._handlers: dict[type, Callable[[Any, float, list[Event]], None]] = {
            h2.events.DataReceived: self._on_data,
            h2.events.StreamEnded: self._on_stream_ended,
            h2.events.StreamReset: self._on_reset,
            h2.events.PingAckReceived: self._on_ping_answered,
        }

    @property
    def calls(self) -> int:
        """Calls that are open, with those whose end is still being sent."""
        return len(self._calls)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What ``data`` from the peer means. Nothing that a peer sends raises: a violation is ``ConnectionEnded``."""
        events: list[Event] = []
        if self.ended:
            return events
        for item in self._joined(self._screen.frames(data, now)):
            if isinstance(item, _Chunk):
                self._h2.count(item.call.number, len(item.data))
                self._take_data(item.call, item.data, len(item.data), events)
            elif not self._take(item, now, events):
                return events
        self._drain()
        if len(self._replies) > self.limits.max_reply_bytes:
            text = "the peer sends requests and does not read the answers"
            self._fail(Violation(ErrorCodes.ENHANCE_YOUR_CALM, text), events)
        return events

    def receive_eof(self) -> list[Event]:
        """The transport has ended."""
        events: list[Event] = []
        if not self.ended:
            self._end(ErrorCodes.NO_ERROR, "the peer has closed the connection", events)
        return events

    def data_to_send(self, room: int = WRITE_BYTES) -> bytes:
        """Bytes to send now: all protocol frames, and about ``room`` bytes of messages, fairly from all calls.

        Many messages leave in one frame, and many frames in one write. Empty if there is nothing, or if the peer's
        windows are closed.
        """
        if not self.ended:
            self._pump(room)
            self._drain()
        data = bytes(self._replies)
        self._replies.clear()
        return data

    def send_messages(self, call: int, messages: Iterable[bytes]) -> None:
        """Queue ``messages``.

        Raises:
            UnknownCallError: the call has ended.
            UsageError: the call was finished by this side.
            BacklogError: too much waits already. Nothing of ``messages`` was queued.
        """
        state = self._sending(call)
        framed: list[bytes] = []
        for message in messages:
            framed += (len(message).to_bytes(PREFIX_BYTES, "big"), message)
        added = b"".join(framed)
        if state.queue and len(state.queue) + len(added) > self.limits.max_backlog_bytes:
            raise BacklogError(f"{len(state.queue)} bytes wait for the peer; wait until backlog() is smaller")
        self._before_messages(state)
        state.queue += added
        self._ready[call] = None

    def backlog(self, call: int) -> int:
        """Bytes that wait to be sent; 0 for a call that has ended."""
        state = self._calls.get(call)
        return len(state.queue) if state is not None else 0

    def has_output(self) -> bool:
        """Whether ``data_to_send`` may have something: False saves the owner a wake-up of its writer."""
        if not self.ended:
            self._drain()
        return bool(self._replies or self._ready)

    def consumed(self, call: int, count: int = 1) -> None:
        """The application is done with the first ``count`` messages that it has not yet reported."""
        state = self._calls.get(call)
        if state is not None and not self.ended:
            self._credit(state, state.inflow.consumed(count))

    def pause(self, call: int) -> None:
        """Let the peer send no more of this call than its window has left, not even the rest of a large message.

        For a peer that is not known yet: it takes one window of memory, and not a message.
        """
        state = self._calls.get(call)
        if state is not None:
            state.is_paused = True

    def resume(self, call: int) -> None:
        """End ``pause``."""
        state = self._calls.get(call)
        if state is not None and state.is_paused:
            state.is_paused = False
            if not self.ended:
                self._credit(state, 0)

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life; ``PingAnswered`` has the same eight bytes.

        Raises:
            UsageError: ``data`` has not eight bytes, or the connection has ended.
        """
        self._require_alive()
        if len(data) != 8:
            raise UsageError("a ping has eight bytes")
        self._send_ping(data)

    def close(self, error_code: int = ErrorCodes.NO_ERROR, reason: str = "") -> list[Event]:
        """End the connection and all calls at once (GOAWAY)."""
        events: list[Event] = []
        if not self.ended:
            self._fail(Violation(error_code, reason), events)
        return events

    # What the two roles do differently.

    def _settings(self) -> dict[SettingCodes, int]:
        return {
            SettingCodes.INITIAL_WINDOW_SIZE: self.limits.window_bytes,
            SettingCodes.MAX_HEADER_LIST_SIZE: self.limits.max_header_bytes,
            SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: self.limits.max_calls,
        }

    def _before_messages(self, call: Call) -> None:  # noqa: B027 - only one role has something to do
        """Send what has to go before the first message."""

    @abstractmethod
    def _end_of_queue(self, call: Call) -> None:
        """Everything of a finishing call has left: end this side."""

    @abstractmethod
    def _break(self, call: Call, status: Status, events: list[Event]) -> None:
        """The peer has broken the rules of this call, and of no other."""

    @abstractmethod
    def _peer_finished(self, call: Call, events: list[Event]) -> None:
        """The peer sends no further messages of this call."""

    @abstractmethod
    def _reset_status(self, error_code: int) -> Status:
        """The status of a call that the peer has reset with this error code."""

    def _peer_leaving(self, last_call: int, events: list[Event]) -> None:  # noqa: B027 - as above
        """The peer will not answer calls after ``last_call``."""

    # Receiving.

    def _joined(self, items: Iterable[Frame | Violation]) -> Iterator[Frame | Violation | _Chunk]:
        """DATA frames of one call, one behind the other, as one: most peers send a frame for each message.

        h2 gets only those that it has to judge.
        """
        held: list[bytes] = []
        of: Call | None = None
        room = 0
        for item in items:
            if isinstance(item, Frame) and item.type == DATA and not item.flags:
                size = len(item.data) - HEADER_BYTES
                if of is not None and item.stream == of.number and size <= room:
                    held.append(item.data[HEADER_BYTES:])
                    room -= size
                    continue
            else:
                size = -1
            if of is not None:
                yield _Chunk(of, b"".join(held))
                of = None
            if size >= 0 and isinstance(item, Frame) and not self._screen.in_header_block():
                call = self._calls.get(item.stream)
                if call is not None and call.is_plain and not call.peer_finished:
                    room = self._h2.remote_flow_control_window(item.stream) - size
                    if room >= 0:
                        of, held = call, [item.data[HEADER_BYTES:]]
                        continue
            yield item
        if of is not None:
            yield _Chunk(of, b"".join(held))

    def _take(self, item: Frame | Violation, now: float, events: list[Event]) -> bool:
        """Whether the connection goes on."""
        if isinstance(item, Violation):
            self._fail(item, events)
            return False
        whole = item.stream == 0 and len(item.data) >= _SMALLEST_GOAWAY and not self._screen.in_header_block()
        if item.type == GOAWAY and whole:
            # h2 would take it for the end of everything, while accepted calls go on.
            self._receive_goaway(item.data[HEADER_BYTES:], events)
            return True
        try:
            received = self._h2.receive_data(item.data)
        except ProtocolError as error:  # h2 has written the GOAWAY
            self._end(error.error_code, str(error) or type(error).__name__, events)
            return False
        for event in received:
            handler = self._handlers.get(type(event))
            if handler is not None and not self.ended:
                handler(event, now, events)
        return not self.ended

    def _receive_goaway(self, payload: bytes, events: list[Event]) -> None:
        last = int.from_bytes(payload[:4], "big") & _LAST_STREAM
        text = payload[8 : 8 + _REASON_BYTES].decode("utf-8", "replace")
        events.append(PeerLeaving(int.from_bytes(payload[4:8], "big"), text))
        self._peer_leaving(last, events)

    def _on_data(self, event: h2.events.DataReceived, _now: float, events: list[Event]) -> None:
        size = event.flow_controlled_length or 0
        call = self._calls.get(event.stream_id)
        if call is None:
            self._h2.acknowledge_received_data(size, event.stream_id)
        else:
            self._take_data(call, event.data or b"", size, events)

    def _take_data(self, call: Call, data: bytes, size: int, events: list[Event]) -> None:
        """``data`` of a call, which takes ``size`` bytes of its window."""
        if call.muted:
            call.dropped += size
            return
        messages, wrong = call.deframer.feed(data)
        self._credit(call, size - len(data) + call.inflow.received(len(data), messages))
        if messages:
            events.append(MessagesReceived(call.number, tuple(messages)))
        if wrong is not None:
            self._break(call, wrong, events)

    def _on_stream_ended(self, event: h2.events.StreamEnded, _now: float, events: list[Event]) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        call.peer_finished = True
        if call.muted:
            return
        if call.deframer.held:
            self._break(call, Status(StatusCode.INTERNAL, "the last message is incomplete"), events)
        else:
            self._peer_finished(call, events)

    def _on_reset(self, event: h2.events.StreamReset, now: float, events: list[Event]) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            self._forget(call)
            if not call.muted:
                events.append(CallEnded(call.number, self._reset_status(int(event.error_code or 0))))
        if not event.remote_reset and (violation := self._screen.spend_reset(now)) is not None:
            self._fail(violation, events)

    def _on_ping_answered(self, event: h2.events.PingAckReceived, _now: float, events: list[Event]) -> None:
        events.append(PingAnswered(event.ping_data or b""))

    def _credit(self, call: Call, size: int) -> None:
        """Let the peer send ``size`` bytes more. h2 learns it in small parts, and reports half windows to the peer."""
        call.to_credit += size
        if call.to_credit >= self.limits.window_bytes // 16 and not call.is_paused:
            size, call.to_credit = call.to_credit, 0
            self._h2.acknowledge_received_data(size, call.number)

    # Sending.

    def _sending(self, number: int) -> Call:
        self._require_alive()
        call = self._calls.get(number)
        if call is None or call.broken or (call.muted and not call.finishing):
            raise UnknownCallError(f"call {number} has ended")
        if call.finishing:
            raise UsageError(f"call {number}: this side is finished and cannot send more")
        return call

    def _require_alive(self) -> None:
        if self.ended:
            raise UnknownCallError("the connection has ended, and its calls with it")

    def _pump(self, room: int) -> None:
        frames, moved = 0, True
        while room > 0 and moved:
            moved = False
            for number in tuple(self._ready):
                call = self._calls[number]
                sent = self._send_some(call)
                if sent:
                    frames, moved, room = frames + 1, True, room - sent
                if not call.queue:
                    del self._ready[number]
                    if call.finishing and not call.finished:
                        self._end_of_queue(call)
        if frames:
            self._screen.sent_data(frames)

    def _send_some(self, call: Call) -> int:
        size = min(len(call.queue), FRAME_BYTES)
        if size:
            size = min(size, self._h2.local_flow_control_window(call.number))
        if size <= 0:
            return 0
        with memoryview(call.queue) as queued, queued[:size] as part:
            self._h2.send_data(call.number, bytes(part))
        del call.queue[:size]
        return size

    def _send_ping(self, data: bytes) -> None:
        self._h2.ping(data)
        self._screen.sent_ping()

    def _drain(self) -> None:
        self._replies += self._h2.data_to_send()

    def _forget(self, call: Call) -> None:
        """Nothing of the call counts any more: the connection may receive as much for others."""
        self._calls.pop(call.number, None)
        self._ready.pop(call.number, None)
        call.queue.clear()
        size = call.inflow.withheld() + call.to_credit + call.dropped
        if size:
            self._h2.acknowledge_received_data(size, call.number)

    def _reset(self, call: Call, error_code: int) -> None:
        with suppress(StreamClosedError):  # both sides have ended already, in the frame that is being handled
            self._h2.reset_stream(call.number, error_code)
        self._forget(call)

    def _new_call(self, number: int) -> Call:
        call = Call(number, Deframer(self.limits.max_message_bytes))
        self._calls[number] = call
        return call

    # Ending.

    def _fail(self, violation: Violation, events: list[Event]) -> None:
        self._drain()
        self._write_goaway(self._h2.highest_inbound_stream_id, *violation)
        self._end(violation.error_code, violation.reason, events)

    def _write_goaway(self, last_call: int, error_code: int, reason: str) -> None:
        """Written by hand: after a GOAWAY of its own h2 refuses to go on with the calls that were accepted."""
        self._drain()
        text = reason.encode("utf-8", "replace")[:_REASON_BYTES]
        self._replies += (8 + len(text)).to_bytes(3, "big") + bytes((GOAWAY, 0, 0, 0, 0, 0))
        self._replies += last_call.to_bytes(4, "big") + int(error_code).to_bytes(4, "big") + text

    def _end(self, error_code: int, reason: str, events: list[Event]) -> None:
        self._drain()
        self.ended = True
        status = Status(StatusCode.UNAVAILABLE, f"the connection has ended: {reason}")
        events.extend(CallEnded(call.number, status) for call in self._calls.values() if not call.muted)
        self._calls.clear()
        self._ready.clear()
        events.append(ConnectionEnded(int(error_code), reason))


def text_headers(headers: Iterable[Any] | None) -> list[tuple[str, str]]:
    """Received headers as text. A value that is no UTF-8 has replacement characters."""
    return [(name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in headers or ()]
