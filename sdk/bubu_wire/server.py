"""The server's end of a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import h2.events
from h2.errors import ErrorCodes

from bubu_wire.call import Call, Headers
from bubu_wire.connection import Connection, text_headers
from bubu_wire.errors import UsageError
from bubu_wire.events import CallEnded, CallStarted, Event, PeerFinished, PingAnswered
from bubu_wire.limits import DEFAULT_LIMITS, Limits
from bubu_wire.metadata import decode_metadata, encode_metadata, parse_timeout
from bubu_wire.status import OK, Status, StatusCode, encode_status_message

CONTENT_TYPE: Final = "application/grpc"
_ANSWER: Final = ((":status", "200"), ("content-type", CONTENT_TYPE), ("grpc-accept-encoding", "identity"))
_DRAIN_PING: Final = b"draining"
_LAST_STREAM: Final = 2**31 - 1


class ServerConnection(Connection):
    """Serves ``methods``, for example ``/transport.v1.TransportConnectorService/Data``.

    Calls of other methods, with compression, or that are not gRPC at all, are refused here and make no event.
    """

    def __init__(self, methods: Collection[str], limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits, client=False)
        self._methods = frozenset(methods)
        self._draining = False
        self._last_call: int | None = None
        """The last call that is accepted, once the peer knows that we are leaving."""
        self._handlers[h2.events.RequestReceived] = self._on_request

    def accept(self, call: int, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        """Send the headers of the answer, before the first message. Optional: else they have no metadata.

        Raises:
            UsageError: they were sent already, or ``metadata`` cannot be sent.
            UnknownCallError: the call has ended.
        """
        state = self._sending(call)
        if state.headers is None:
            raise UsageError(f"call {call}: the headers of the answer were sent already")
        state.headers += encode_metadata(metadata)
        self._before_messages(state)

    def finish(self, call: int, status: Status = OK, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        """End the call after the messages that wait. Its number means nothing afterwards.

        What the peer still sends for this call is dropped.

        Raises:
            UsageError: ``metadata`` cannot be sent, or the call was finished before.
            UnknownCallError: the call has ended.
        """
        state = self._sending(call)
        state.trailers = [*_status_headers(status), *encode_metadata(metadata)]
        state.finishing = state.muted = True
        state.dropped += state.inflow.withheld()
        state.inflow.waiting.clear()
        state.inflow.begun = 0
        state.deframer.held.clear()
        if not state.queue:
            self._end_of_queue(state)

    def abort(self, call: int, error_code: int = ErrorCodes.CANCEL) -> None:
        """End the call at once, with what waits to be sent: for a peer that does not read. It may be finished already.

        There is no event.
        """
        state = self._calls.get(call)
        if state is not None and not self.ended:
            self._reset(state, error_code)

    def drain(self) -> None:
        """Ask the peer to open no further call; those that are open go on. Close when ``calls`` is 0.

        A call that is on its way is still accepted: refusals begin when the peer has answered a ping.
        """
        if not (self.ended or self._draining):
            self._draining = True
            self._write_goaway(_LAST_STREAM, ErrorCodes.NO_ERROR, "the server is shutting down")
            self._send_ping(_DRAIN_PING)

    def _on_ping_answered(self, event: h2.events.PingAckReceived, now: float, events: list[Event]) -> None:
        if not (self._draining and event.ping_data == _DRAIN_PING):
            events.append(PingAnswered(event.ping_data or b""))
        elif self._last_call is None:
            self._last_call = self._h2.highest_inbound_stream_id
            self._write_goaway(self._last_call, ErrorCodes.NO_ERROR, "the server is shutting down")

    def _on_request(self, event: h2.events.RequestReceived, now: float, events: list[Event]) -> None:
        number = event.stream_id
        if self._last_call is not None or len(self._calls) >= self.limits.max_calls:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            if self._last_call is None and (violation := self._screen.spend_reset(now)) is not None:
                self._fail(violation, events)
            return
        headers = text_headers(event.headers)
        values = dict(headers)
        call = self._new_call(number)
        call.headers = list(_ANSWER)
        if (refusal := _refusal_of_http(values)) is not None:
            self._refuse_http(call, *refusal)
            return
        timeout = parse_timeout(values["grpc-timeout"]) if "grpc-timeout" in values else None
        path = values.get(":path", "")
        if path not in self._methods:
            self._refuse(call, Status(StatusCode.UNIMPLEMENTED, f"there is no method {path[:200]}"))
        elif values.get("grpc-encoding", "identity") != "identity":
            self._refuse(call, Status(StatusCode.UNIMPLEMENTED, "grpc-encoding: only identity is supported"))
        elif "grpc-timeout" in values and timeout is None:
            self._refuse(call, Status(StatusCode.INTERNAL, "grpc-timeout is malformed; send for example 5S"))
        else:
            call.is_plain = "content-length" not in values and self._h2.can_count(number)
            events.append(CallStarted(number, path, decode_metadata(headers), timeout))

    def _refuse(self, call: Call, status: Status) -> None:
        call.muted = call.finishing = True
        call.trailers = _status_headers(status)
        self._ready[call.number] = None  # not at once: h2 has not yet reported whether the request is complete

    def _refuse_http(self, call: Call, status: str, text: str) -> None:
        call.muted = call.finishing = True
        body = text.encode()
        call.headers = [(":status", status), ("content-type", "text/plain"), ("content-length", str(len(body)))]
        call.queue += body

    def _answer_http(self, call: Call) -> None:
        self._before_messages(call)
        self._ready[call.number] = None

    def _on_data(self, event: h2.events.DataReceived, now: float, events: list[Event]) -> None:
        super()._on_data(event, now, events)
        call = self._calls.get(event.stream_id)
        if call is not None and _is_refused_http(call) and call.dropped > self.limits.window_bytes // 4:
            self._answer_http(call)  # the whole request would not fit into the window

    def _on_stream_ended(self, event: h2.events.StreamEnded, now: float, events: list[Event]) -> None:
        super()._on_stream_ended(event, now, events)
        call = self._calls.get(event.stream_id)
        if call is not None and _is_refused_http(call):
            self._answer_http(call)

    def _before_messages(self, call: Call) -> None:
        if call.headers is not None:
            headers, call.headers = call.headers, None
            self._h2.send_headers(call.number, headers)

    def _end_of_queue(self, call: Call) -> None:
        call.finished = True
        if call.trailers is None:  # the text for a peer that does not speak gRPC
            self._h2.end_stream(call.number)
        else:
            self._h2.send_headers(call.number, [*(call.headers or ()), *call.trailers], end_stream=True)
        if call.peer_finished:
            self._forget(call)
        else:
            self._reset(call, ErrorCodes.NO_ERROR)  # the answer is complete, so the rest of the request is not needed

    def _break(self, call: Call, status: Status, events: list[Event]) -> None:
        call.queue.clear()
        call.muted = call.finishing = call.broken = True
        call.trailers = _status_headers(status)
        events.append(CallEnded(call.number, status))
        self._ready[call.number] = None

    def _peer_finished(self, call: Call, events: list[Event]) -> None:
        events.append(PeerFinished(call.number))

    def _reset_status(self, error_code: int) -> Status:
        return Status(StatusCode.CANCELLED, f"the client has reset the call (HTTP/2 error {error_code})")


def _status_headers(status: Status) -> Headers:
    headers = [("grpc-status", str(int(status.code)))]
    if status.message:
        headers.append(("grpc-message", encode_status_message(status.message)))
    return headers


def _is_refused_http(call: Call) -> bool:
    """Whether the answer to a request that is not gRPC waits for the rest of it, which may yet break HTTP's rules."""
    return call.muted and call.finishing and call.trailers is None and call.headers is not None


def _refusal_of_http(values: dict[str, str]) -> tuple[str, str] | None:
    if values.get(":method") != "POST":
        return "405", "this server speaks gRPC: POST only\n"
    content_type = values.get("content-type", "")
    if content_type != CONTENT_TYPE and not content_type.startswith((f"{CONTENT_TYPE}+", f"{CONTENT_TYPE};")):
        return "415", f"this server speaks gRPC: content-type {CONTENT_TYPE} only\n"
    return None
