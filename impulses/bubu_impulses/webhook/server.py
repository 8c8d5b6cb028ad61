"""An HTTP/1.1 server on Trio streams; h11 does the framing.

What strangers can occupy is bounded: connections, the size and the time of a head, of a body, and of an answer. A
request that is being handled is finished when the server is cancelled; connections that wait for a request are closed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import h11
import trio

from bubu_impulses.webhook.messages import Request, Response, refusal

Handler = Callable[[Request], Awaitable[Response]]
_READ_BYTES: Final = 64 * 1024
_GOODBYE_SECONDS: Final = 1.0
_GOODBYE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class ServerLimits:
    """What one client may occupy."""

    body_bytes: int
    connections: int
    all_bodies_bytes: int = 32 * 1024 * 1024
    """For all bodies that are held at the same time; at least ``body_bytes``."""
    head_bytes: int = 16 * 1024
    head_seconds: float = 30.0
    """Also the time that a connection may wait for its next request."""
    body_seconds: float = 30.0
    handle_seconds: float = 15.0
    answer_seconds: float = 15.0


class _RefusedError(Exception):
    """The request cannot be read to its end; the answer closes the connection."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def serve(
    listeners: Sequence[trio.SocketListener],
    handler: Handler,
    limits: ServerLimits,
    log: logging.Logger,
    *,
    linger_seconds: float = 0.0,
) -> None:
    """Serve until cancelled.

    A cancellation first waits ``linger_seconds``, in which requests are still accepted; then the listeners close, and
    the requests in progress are finished.
    """
    serving = trio.CancelScope(shield=True)
    server = _Server(handler, limits, log)

    async def protected() -> None:
        with serving:
            await trio.serve_listeners(server.connection, list(listeners))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(protected)
        try:
            await trio.sleep_forever()
        finally:
            server.is_ending = True
            with trio.CancelScope(shield=True):
                await trio.sleep(linger_seconds)
            serving.shield = False


class _Memory:
    """The bytes of all bodies that are held."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def take(self, count: int) -> None:
        if count > self.left:
            again = ("Retry-After", "1")
            raise _RefusedError(refusal(503, "Busy", "too many events are being received; send it again", again))
        self.left -= count


class _Server:
    """The connections of one server, and what they share."""

    def __init__(self, handler: Handler, limits: ServerLimits, log: logging.Logger) -> None:
        self.handler = handler
        self.limits = limits
        self.log = log
        self.memory = _Memory(max(limits.all_bodies_bytes, limits.body_bytes))
        self.is_ending = False
        """Every answer asks the client to connect elsewhere."""
        self._open = 0

    async def connection(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection, one after the other."""
        if self._open >= self.limits.connections:
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            async with stream:
                await _Connection(stream, self).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError):
            return  # the client is gone, or too slow, or does not speak HTTP
        finally:
            self._open -= 1


class _Connection:
    def __init__(self, stream: trio.SocketStream, server: _Server) -> None:
        self._stream = stream
        self._server = server
        self._limits = server.limits
        self._held = 0
        """Bytes of the body of the present request."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes)

    async def run(self) -> None:
        try:
            while await self._exchange():
                self._release()
        finally:
            self._release()

    def _release(self) -> None:
        self._server.memory.left += self._held
        self._held = 0

    async def _exchange(self) -> bool:
        """Answer one request; returns whether another one may follow."""
        try:
            request = await self._request()
        except _RefusedError as refused:
            await self._respond(refused.response, last=True)
            await self._goodbye()
            return False
        if request is None:
            return False
        with trio.CancelScope(shield=True):
            # From here on the request may have effects, so its answer is sent even if the server is cancelled.
            response = await self._handled(request)
            await self._respond(response, last=self._server.is_ending)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            await self._goodbye()
            return False
        self._http.start_next_cycle()
        return True

    # Reading.

    async def _request(self) -> Request | None:
        """The next request; ``None`` at the end of the connection.

        Raises:
            _RefusedError: it is malformed, too large or too slow.
        """
        try:
            with trio.fail_after(self._limits.head_seconds):
                head = await self._event()
            if not isinstance(head, h11.Request):
                return None
            headers = _headers(head)
            if _declared_length(headers) > self._limits.body_bytes:
                raise _RefusedError(self._too_large())
            with trio.fail_after(self._limits.body_seconds):
                body = await self._body()
        except trio.TooSlowError as error:
            if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
                return None  # nothing was sent: an idle connection
            raise _RefusedError(refusal(408, "TooSlow", "the request took too long")) from error
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise _RefusedError(refusal(status, "Malformed", "the request is not valid HTTP")) from error
        method, target = head.method.decode("ascii"), head.target.decode("latin-1")
        return Request(method, target, headers, body)

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise trio.BrokenResourceError("the client ended the connection inside a request")
            if self._held + len(event.data) > self._limits.body_bytes:
                raise _RefusedError(self._too_large())
            self._server.memory.take(len(event.data))
            self._held += len(event.data)
            parts.append(bytes(event.data))
        return b"".join(parts)

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._stream.send_all(self._http.send(go_on) or b"")
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))
        return event

    def _too_large(self) -> Response:
        return refusal(413, "TooLarge", f"a body may have at most {self._limits.body_bytes} bytes")

    # Answering.

    async def _handled(self, request: Request) -> Response:
        again = ("Retry-After", "5")
        try:
            with trio.fail_after(self._limits.handle_seconds):
                return await self._server.handler(request)
        except trio.TooSlowError:
            return refusal(503, "Unavailable", "the event could not be stored in time; send it again", again)
        except Exception:
            self._server.log.exception("a request failed")
            return refusal(500, "Internal", "the request failed; see the log of the Impulse")

    async def _respond(self, response: Response, *, last: bool = False) -> None:
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        if last:
            headers.append(("Connection", "close"))
        try:
            parts = [
                self._http.send(h11.Response(status_code=response.status, headers=headers)),
                self._http.send(h11.Data(data=response.body)),
                self._http.send(h11.EndOfMessage()),
            ]
        except h11.LocalProtocolError:
            return  # the connection is in a state in which nothing can be answered
        with trio.fail_after(self._limits.answer_seconds):
            await self._stream.send_all(b"".join(part or b"" for part in parts))

    async def _goodbye(self) -> None:
        """Let the client read the answer before the connection is reset because of what it still sends."""
        with trio.move_on_after(_GOODBYE_SECONDS):
            await self._stream.send_eof()
            left = _GOODBYE_BYTES
            while left > 0 and (received := await self._stream.receive_some(_READ_BYTES)):
                left -= len(received)


def _headers(head: h11.Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _declared_length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else 0
