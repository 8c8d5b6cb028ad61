"""An HTTP/1.1 server on Trio streams; h11 does the framing.

What strangers can occupy is bounded: connections, the size and the time of a head, of a body, and of an answer. Who
occupies too much gives way, and not the newcomer: at the limit of connections, one whose request is not complete is
closed for a new one, and at the limit of memory a large body that is not complete; of the address with the most of
them, the oldest. So a flood of connections ends itself, and a request that arrives at once is always served.

A request that is being handled is finished when the server is cancelled; a connection that waits for one is closed.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import h11
import trio

from bubu_impulses.webhook.messages import Request, Response, refusal

Handler = Callable[[Request], Awaitable[Response]]
Admission = Callable[[Request], Response | None]
"""Called with a request whose body is not read yet; a response refuses it."""
_READ_BYTES: Final = 64 * 1024
_GOODBYE_SECONDS: Final = 1.0
_GOODBYE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class ServerLimits:
    """What one client may occupy."""

    body_bytes: int
    connections: int
    """Of all addresses together."""
    large_bodies_bytes: int = 32 * 1024 * 1024
    """For what all bodies have beyond ``small_body_bytes``; at least ``body_bytes``."""
    small_body_bytes: int = 64 * 1024
    """Each connection may always hold this much, so large bodies cannot keep a small one out."""
    head_bytes: int = 16 * 1024
    idle_seconds: float = 30.0
    """How long a connection may wait before its next request begins."""
    head_seconds: float = 5.0
    """From the first byte of a head to its end."""
    body_seconds: float = 5.0
    """For a body; more for each byte that arrives."""
    body_bytes_per_second: int = 32 * 1024
    """The least rate of a body, after ``body_seconds``."""
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
    admission: Admission = lambda _: None,
    linger_seconds: float = 0.0,
) -> None:
    """Serve until cancelled.

    What ``admission`` refuses costs no body: the connection is closed after the answer.

    A cancellation first waits ``linger_seconds``, in which requests are still accepted; then the listeners close, and
    the requests in progress are finished.
    """
    serving = trio.CancelScope(shield=True)
    server = _Server(handler, admission, limits, log)

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


class _Server:
    """The connections of one server, and what they share."""

    def __init__(self, handler: Handler, admission: Admission, limits: ServerLimits, log: logging.Logger) -> None:
        self.handler = handler
        self.admission = admission
        self.limits = limits
        self.log = log
        self.is_ending = False
        """Every answer asks the client to connect elsewhere."""
        self._open: dict[_Connection, None] = {}
        self._left = max(limits.large_bodies_bytes, limits.body_bytes)
        """Of the memory that large bodies share."""

    async def connection(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection, one after the other."""
        if not self._has_room():
            await trio.aclose_forcefully(stream)
            return
        connection = _Connection(stream, self)
        self._open[connection] = None
        try:
            async with stream:
                await connection.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError):
            return  # the client is gone, or too slow, or does not speak HTTP, or has given way to another one
        finally:
            self._open.pop(connection, None)

    def take(self, count: int, taker: _Connection) -> None:
        """Take memory of large bodies, if necessary from one that is not complete.

        Raises:
            _RefusedError: there is none, or ``taker`` itself should give way.
        """
        while count > self._left:
            held = Counter[str]()
            for each in self._open:
                held[each.peer] += each.large_bytes
            incomplete = [each for each in self._open if each.large_bytes and each.is_receiving]
            chosen = min(incomplete, key=lambda each: (-held[each.peer], each.waits_since), default=taker)
            if chosen is taker:
                raise _RefusedError(_busy())
            chosen.give_body_up()
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count

    def _has_room(self) -> bool:
        """Whether there is room for one more connection; closes one whose request is not complete, if necessary."""
        if len(self._open) < self.limits.connections:
            return True
        waiting = [each for each in self._open if each.waits_since < math.inf]
        if not waiting:
            return False
        of_address = Counter(each.peer for each in self._open)
        chosen = min(waiting, key=lambda each: (-of_address[each.peer], each.waits_since))
        del self._open[chosen]
        chosen.close()
        return True


class _Connection:
    def __init__(self, stream: trio.SocketStream, server: _Server) -> None:
        self._stream = stream
        self._server = server
        self._limits = server.limits
        self._held = 0
        """Bytes of the body of the present request."""
        self._receiving: trio.CancelScope | None = None
        """While a body is received."""
        self._has_given_up = False
        """The body that is received has lost its memory to another one."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes)
        self.peer = _address_of(stream)
        self.large_bytes = 0
        """Memory of large bodies that it holds."""
        self.waits_since = trio.current_time()
        """Since when it waits for its client, however much that sends meanwhile; infinite while it is the client that
        waits."""

    @property
    def is_receiving(self) -> bool:
        return self._receiving is not None

    def close(self) -> None:
        """Close at once: whatever it does raises an error."""
        self._stream.socket.close()

    def give_body_up(self) -> None:
        """Stop receiving the body, whose memory another one gets."""
        assert self._receiving is not None
        self._has_given_up = True
        self._receiving.cancel()
        self._receiving = None
        self._release()

    async def run(self) -> None:
        try:
            while await self._exchange():
                self._release()
        finally:
            self._release()

    def _release(self) -> None:
        self._server.give_back(self.large_bytes)
        self._held = self.large_bytes = 0

    async def _exchange(self) -> bool:
        """Answer one request; returns whether another one may follow."""
        try:
            request = await self._request()
        except _RefusedError as refused:
            self._release()
            await self._respond(refused.response, last=True)
            await self._goodbye()
            return False
        if request is None:
            return False
        with trio.CancelScope(shield=True):
            # From here on the request may have effects, so its answer is sent even if the server is cancelled.
            self.waits_since = math.inf
            response = await self._handled(request)
            self.waits_since = trio.current_time()
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
            head = await self._head()
            if head is None:
                return None
            headers = _headers(head)
            request = Request(head.method.decode("ascii"), head.target.decode("latin-1"), headers)
            if (refused := self._server.admission(request)) is not None:
                raise _RefusedError(refused)
            if _declared_length(headers) > self._limits.body_bytes:
                raise _RefusedError(self._too_large())
            return replace(request, body=await self._body())
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise _RefusedError(refusal(status, "Malformed", "the request is not valid HTTP")) from error

    async def _head(self) -> h11.Request | None:
        limits, begun = self._limits, bool(self._http.trailing_data[0])
        with trio.move_on_after(limits.head_seconds if begun else limits.idle_seconds) as patience:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(_READ_BYTES))
                if not begun:
                    begun, patience.deadline = True, trio.current_time() + limits.head_seconds
            return event if isinstance(event, h11.Request) else None
        if begun:
            raise _RefusedError(_too_slow())
        return None

    async def _body(self) -> bytes:
        limits, began_at = self._limits, trio.current_time()
        parts: list[bytes] = []
        try:
            with trio.CancelScope(deadline=began_at + limits.body_seconds) as receiving:
                self._receiving, self._has_given_up = receiving, False
                while not isinstance(event := await self._event(), h11.EndOfMessage):
                    if not isinstance(event, h11.Data):
                        raise trio.BrokenResourceError("the client ended the connection inside a request")
                    self._hold(len(event.data))
                    parts.append(bytes(event.data))
                    sent_seconds = self._held / limits.body_bytes_per_second
                    receiving.deadline = began_at + limits.body_seconds + sent_seconds
                return b"".join(parts)
        finally:
            self._receiving = None
        raise _RefusedError(_busy() if self._has_given_up else _too_slow())

    def _hold(self, count: int) -> None:
        if self._held + count > self._limits.body_bytes:
            raise _RefusedError(self._too_large())
        large = max(0, self._held + count - self._limits.small_body_bytes) - self.large_bytes
        self._server.take(large, self)
        self._held += count
        self.large_bytes += large

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


def _busy() -> Response:
    again = ("Retry-After", "1")
    return refusal(503, "Busy", "too many events are being received; send it again", again)


def _too_slow() -> Response:
    return refusal(408, "TooSlow", "the request took too long")


def _address_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # the client is already gone
        return ""


def _headers(head: h11.Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _declared_length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else 0
