"""The client's end of a connection."""

from __future__ import annotations

from collections.abc import Iterable

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import NoAvailableStreamIDError

from bubu_wire.call import Call
from bubu_wire.connection import Connection, text_headers
from bubu_wire.errors import CallsExhaustedError
from bubu_wire.events import CallAccepted, CallEnded, Event
from bubu_wire.limits import DEFAULT_LIMITS, Limits
from bubu_wire.metadata import decode_metadata, encode_metadata, format_timeout
from bubu_wire.server import CONTENT_TYPE
from bubu_wire.status import (
    Status,
    StatusCode,
    decode_status_message,
    parse_status_code,
    status_of_http,
    status_of_reset,
)


class ClientConnection(Connection):
    """Calls methods of a server. ``authority`` is its name and port; ``scheme`` is ``https`` under TLS."""

    def __init__(
        self, authority: str, *, scheme: str = "http", user_agent: str = "bubu-wire", limits: Limits = DEFAULT_LIMITS
    ) -> None:
        super().__init__(limits, client=True)
        self._authority = authority
        self._scheme = scheme
        self._user_agent = user_agent
        self._leaving = False
        self._handlers[h2.events.ResponseReceived] = self._on_response
        self._handlers[h2.events.TrailersReceived] = self._on_trailers

    def open_call(
        self, path: str, metadata: Iterable[tuple[str, str | bytes]] = (), *, timeout: float | None = None
    ) -> int:
        """Begin a call of ``path``; returns its number. ``timeout`` is sent to the server; keep it here, too.

        Raises:
            CallsExhaustedError: ``Limits.max_calls`` or the server's limit is reached, or the server shuts down.
            UsageError: ``metadata`` or ``timeout`` cannot be sent.
            UnknownCallError: the connection has ended.
        """
        self._require_alive()
        headers = [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", CONTENT_TYPE),
            ("user-agent", self._user_agent),
        ]
        if timeout is not None:
            headers.append(("grpc-timeout", format_timeout(timeout)))
        headers += encode_metadata(metadata)
        if self._leaving:
            raise CallsExhaustedError("the server is shutting down; open a new connection")
        if len(self._calls) >= self.limits.max_calls:
            raise CallsExhaustedError(f"{len(self._calls)} calls are open, which is Limits.max_calls; end one first")
        if self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            raise CallsExhaustedError("the server's limit of calls on one connection is reached; end one first")
        try:
            number = self._h2.get_next_available_stream_id()
        except NoAvailableStreamIDError:
            raise CallsExhaustedError("this connection has no stream ids left; open a new connection") from None
        self._h2.send_headers(number, headers)
        self._new_call(number)
        return number

    def finish(self, call: int) -> None:
        """Send no further message after those that wait. The answer goes on.

        Raises:
            UsageError: the call was finished before.
            UnknownCallError: the call has ended.
        """
        state = self._sending(call)
        state.finishing = True
        if not state.queue:
            self._end_of_queue(state)

    def cancel(self, call: int) -> None:
        """Give up the call. There is no further event of it."""
        state = self._calls.get(call)
        if state is not None and not self.ended:
            self._reset(state, ErrorCodes.CANCEL)

    def _on_response(self, event: h2.events.ResponseReceived, _now: float, events: list[Event]) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        headers = text_headers(event.headers)
        values = dict(headers)
        content_type = values.get("content-type", "")
        if "grpc-status" in values and event.stream_ended is not None:
            self._on_status(call, headers, events)
        elif (http := values.get(":status", "")) != "200":
            text = f"the server has answered with HTTP status {http}, which is not gRPC"
            self._finish_with(call, Status(status_of_http(http), text), events, ErrorCodes.CANCEL)
        elif not content_type.startswith(CONTENT_TYPE):
            text = f"the server has answered with content-type {content_type!r}, which is not gRPC"
            self._finish_with(call, Status(StatusCode.UNKNOWN, text), events, ErrorCodes.CANCEL)
        elif values.get("grpc-encoding", "identity") != "identity":
            text = "the server compresses its messages, which is not supported"
            self._finish_with(call, Status(StatusCode.UNIMPLEMENTED, text), events, ErrorCodes.CANCEL)
        else:
            call.is_plain = "content-length" not in values and self._h2.can_count(call.number)
            events.append(CallAccepted(call.number, decode_metadata(headers)))

    def _on_trailers(self, event: h2.events.TrailersReceived, _now: float, events: list[Event]) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            self._on_status(call, text_headers(event.headers), events)

    def _on_status(self, call: Call, headers: list[tuple[str, str]], events: list[Event]) -> None:
        values = dict(headers)
        if call.deframer.held:
            status = Status(StatusCode.INTERNAL, "the last message is incomplete")
        elif "grpc-status" not in values:
            status = Status(StatusCode.UNKNOWN, "the server has ended the call without a status")
        else:
            text = decode_status_message(values.get("grpc-message", ""))
            status = Status(parse_status_code(values["grpc-status"]), text)
        call.peer_finished = True
        events.append(CallEnded(call.number, status, decode_metadata(headers)))
        if call.finished:
            self._forget(call)
        else:
            self._reset(call, ErrorCodes.NO_ERROR)

    def _finish_with(self, call: Call, status: Status, events: list[Event], error_code: int) -> None:
        events.append(CallEnded(call.number, status))
        self._reset(call, error_code)

    def _end_of_queue(self, call: Call) -> None:
        call.finished = True
        self._h2.end_stream(call.number)

    def _break(self, call: Call, status: Status, events: list[Event]) -> None:
        self._finish_with(call, status, events, ErrorCodes.CANCEL)

    def _peer_finished(self, call: Call, events: list[Event]) -> None:
        status = Status(StatusCode.INTERNAL, "the server has ended the call without a status")
        self._finish_with(call, status, events, ErrorCodes.NO_ERROR)

    def _reset_status(self, error_code: int) -> Status:
        return Status(status_of_reset(error_code), f"the server has reset the call (HTTP/2 error {error_code})")

    def _peer_leaving(self, last_call: int, events: list[Event]) -> None:
        self._leaving = True
        for call in [call for call in self._calls.values() if call.number > last_call]:
            text = "the server is shutting down and has not accepted the call; it may be repeated on another connection"
            self._finish_with(call, Status(StatusCode.UNAVAILABLE, text), events, ErrorCodes.CANCEL)
