"""One client's connection: reads one request after the other, and answers each in the task that read it.

Hypercorn's protocol handles HTTP/1.1, the ASGI messages and malformed requests. Hypercorn's own connection uses a task,
channels and a timer for every request, and a TLS record and a system call for every part of an answer (head, body,
end). That costs more than most answers of an API server. Here the application runs in the task of the connection and
reads the body on demand. An answer is sent in one write, a stream in one write per chunk. This module gives Hypercorn's
protocol what it needs for that: where to put bytes, how to start an application, what to wait for between requests.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
TlsStream = trio.SSLStream[trio.SocketStream]

_READ_BYTES: Final = 64 << 10
_AHEAD_BYTES: Final = 64 << 10
"""How many bytes are read beyond the current request; the rest stays in the socket."""
_DRAIN_BYTES: Final = 16 << 20
_DRAIN_SECONDS: Final = 10.0
"""How long to read the rest of a refused body. A client often reads the answer only after it has sent all of it."""

_log = logging.getLogger("localcluster.serving")


async def serve_connection(app: Asgi, config: Config, stream: TlsStream) -> None:
    """Do the TLS handshake, then answer requests until either side ends the connection; an error ends only this one."""
    try:
        with trio.fail_after(config.ssl_handshake_timeout):
            await stream.do_handshake()
        await _Connection(app, config, stream).run()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        return  # the client has gone, or did not speak TLS: nobody is left to answer
    except Exception:  # noqa: BLE001 - the edge of a connection: logged, the server goes on
        _log.exception("a connection broke")
    finally:
        await trio.aclose_forcefully(stream)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that waits for the application; ``send(None)`` tells Hypercorn that the application has returned."""

    scope: dict[str, Any]
    send: Send


class _Connection:
    def __init__(self, app: Asgi, config: Config, stream: TlsStream) -> None:
        self._app = app
        self._config = config
        self._stream = stream
        self._waiting: _Call | None = None
        self._received: deque[Message] = deque()
        self._is_complete = True
        """The body of the current request has been read to its end."""
        self._ahead = b""
        self._outgoing: list[bytes] = []
        self._is_over = False
        """Nothing can be sent or received any more, or Hypercorn wants to close the connection."""
        self._lifetime = trio.CancelScope()
        self._protocol = self._new_protocol()

    def _new_protocol(self) -> H11Protocol:
        peer = self._stream.transport_stream.socket
        protocol = H11Protocol(
            cast("Any", self._app),
            self._config,
            cast("Any", WorkerContext(None)),
            cast("Any", _Inline(self._take)),
            ConnectionState({}),
            True,
            parse_socket_addr(peer.family, peer.getpeername()),
            parse_socket_addr(peer.family, peer.getsockname()),
            self._put,
        )
        protocol.can_read = cast("Any", _Turn(self._answer))
        return protocol

    async def run(self) -> None:
        """Answer requests until the client leaves, sends a malformed request, or is silent for too long."""
        with self._lifetime:
            while not self._is_over:
                if self._waiting is not None:
                    await self._answer()
                    continue
                await self._flush()
                self._lifetime.deadline = trio.current_time() + self._config.keep_alive_timeout
                data, self._ahead = self._ahead or await self._read(), b""
                try:
                    await self._feed(data)
                except (H2CProtocolRequiredError, H2ProtocolAssumedError):
                    return  # the client speaks HTTP/2, which this server does not offer
            await self._flush()

    async def _answer(self) -> None:
        """Run the application for the waiting request."""
        call, self._waiting = self._waiting, None
        if call is None:
            raise trio.ClosedResourceError("a request follows one that ended the connection")
        self._lifetime.deadline = math.inf

        async def send(message: Message) -> None:
            if not self._is_complete:
                await self._drain()
            if self._is_over:
                return
            await call.send(message)
            if message.get("more_body"):
                await self._flush()

        try:
            await self._app(call.scope, self._receive, send)
        except Exception:  # noqa: BLE001 - the edge of a request: logged, and Hypercorn answers with 500
            _log.exception("the application failed on %s", call.scope.get("path"))
        await call.send(None)
        await self._flush()

    async def _receive(self) -> Message:
        """The ``receive`` of ASGI; a message that has already arrived is returned without a switch of tasks."""
        while not self._received:
            if self._is_over:
                return {"type": "http.disconnect"}
            if len(self._ahead) >= _AHEAD_BYTES:
                await trio.sleep_forever()
            if not self._is_complete:
                await self._flush()  # the client may wait for "100 Continue" before it sends its body
            data = await self._read()
            if self._is_complete and data:
                self._ahead += data  # the next request, sent before this one is answered
            else:
                await self._feed(data)
        return self._received.popleft()

    async def _drain(self) -> None:
        """Read the rest of a body that the application does not want."""
        drained = 0
        with trio.move_on_after(_DRAIN_SECONDS):
            while not (self._is_complete or self._is_over) and drained < _DRAIN_BYTES:
                data = await self._read()
                drained += len(data)
                await self._feed(data)
                self._received.clear()
        self._is_complete = True

    async def _feed(self, data: bytes) -> None:
        await self._protocol.handle(RawData(data))
        if not data:
            self._is_over = True
            await self._protocol.handle(Closed())

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _flush(self) -> None:
        if not self._outgoing:
            return
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._is_over = True
            await trio.aclose_forcefully(self._stream)  # wakes the application if it is reading
            await self._protocol.handle(Closed())

    async def _put(self, event: Event) -> None:
        """Hypercorn calls this with bytes for the client, and when it has decided to close the connection."""
        if isinstance(event, RawData):
            if event.data:
                self._outgoing.append(event.data)
        elif isinstance(event, Closed):
            self._is_over = True

    async def _take(self, call: _Call) -> Callable[[Message], Awaitable[None]]:
        """Hypercorn calls this for each new request, and passes the request's body to the function that it returns."""
        self._waiting = call
        self._is_complete = False
        self._received.clear()
        return self._put_received

    async def _put_received(self, message: Message) -> None:
        self._received.append(message)
        if not message.get("more_body"):
            self._is_complete = True


class _Inline:
    """Stands in for Hypercorn's task group, which is only asked to start an application; this class passes that on."""

    def __init__(self, take: Callable[[_Call], Awaitable[Callable[[Message], Awaitable[None]]]]) -> None:
        self._take = take

    async def spawn_app(
        self, app: object, config: Config, scope: dict[str, Any], send: Send
    ) -> Callable[[Message], Awaitable[None]]:
        return await self._take(_Call(scope, send))


class _Turn:
    """Stands in for the event of Hypercorn on which a request waits that was sent before the previous one was answered.

    To wait means to answer the previous request.
    """

    def __init__(self, answer: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer

    async def wait(self) -> None:
        await self._answer()

    async def set(self) -> None:
        """Do nothing: the previous request is answered, and a waiting task answered it itself."""

    async def clear(self) -> None:
        """Do nothing: ``wait`` does the work for the next request."""

    def is_set(self) -> bool:
        return False
