"""One client's connection: TLS if the server uses it, then HTTP requests until one side ends the connection.

Hypercorn's protocols parse and write HTTP. Hypercorn's own connection does not know the client's certificate, does not
limit the time for a request's headers or for an answer, and accepts HTTP/2 from any client; so this module handles the
socket. Before the first byte of a client, only its socket is allocated. At the limit of connections, an idle one is
closed for a new one: one from the address with the most connections, and preferably one that was never used.
"""

from __future__ import annotations

import math
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from core.telemetry.logs import get_logger
from webhooks.request_limits import CERTIFIED

TlsStream = trio.SSLStream[trio.SocketStream]
TlsContext = Callable[[], ssl.SSLContext]
"""Returns the current TLS context, for the next connection."""

MAX_CONNECTIONS: Final = 256
HANDSHAKE_SECONDS: Final = 5.0
"""From the connection to the end of the TLS handshake."""
HEAD_SECONDS: Final = 5.0
"""From the first byte of a request to the end of its headers."""
SEND_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 90.0
"""Between requests; API servers keep their connections for this time."""

_READ_BYTES: Final = 1 << 16
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 4 << 20

_log = get_logger("webhook")


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Rules for all connections of a server.

    Attributes:
        tls: None if the server speaks plain HTTP.
        wants_certificate: whether a client must have shown a certificate that its TLS context has verified.
        http2: whether the server speaks HTTP/2 with clients that request it by ALPN.
        most: the maximum number of connections at the same time.
    """

    tls: TlsContext | None
    wants_certificate: bool = False
    http2: bool = False
    most: int = MAX_CONNECTIONS


class Connections:
    """Serves connections up to the maximum, and closes an idle connection for a new one."""

    def __init__(self, app: AppWrapper, config: Config, context: WorkerContext, rules: ConnectionRules) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._rules = rules
        self._open: dict[_Connection, None] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Do the TLS handshake, then answer requests; errors do not leave the connection."""
        if not self._has_room():
            await trio.aclose_forcefully(stream)
            return
        connection = _Connection(self._app, self._config, self._context, self._rules, stream)
        self._open[connection] = None
        try:
            await connection.run()
        finally:
            del self._open[connection]

    def finish(self) -> None:
        """Close idle connections; a busy one is closed after its answer, if the client sends no other request."""
        for connection in [each for each in self._open if each.idle_since < math.inf]:
            connection.close()

    def _has_room(self) -> bool:
        """Whether there is room for one more connection; closes an idle one if necessary.

        It first closes one on which no request was answered, then one of the address with the most connections. So a
        flood of connections ends itself.
        """
        if len(self._open) < self._rules.most:
            return True
        idle = [connection for connection in self._open if connection.idle_since < math.inf]
        if idle:
            of_address = Counter(connection.peer for connection in self._open)
            min(idle, key=lambda each: (each.has_asked, -of_address[each.peer], each.idle_since)).close()
        return bool(idle)


class _Http1(H11Protocol):
    """HTTP/1.1 without upgrades to other protocols."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn would accept h2c here. This server only speaks HTTP/2 after ALPN has negotiated it."""
        if event.method == b"PRI":
            raise H2ProtocolAssumedError(b"")


class _Connection:
    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        rules: ConnectionRules,
        transport: trio.SocketStream,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._rules = rules
        self._transport = transport
        self._stream: TlsStream | trio.SocketStream = transport
        self._send_lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._life = trio.CancelScope()
        self._is_over = False
        self._begun_at = math.inf
        """When the first byte of an incomplete request head arrived."""
        self.idle_since = trio.current_time()
        """Infinite while a request is in progress."""
        self.has_asked = False
        """Whether a request has been answered on this connection."""
        self.peer = _address_of(transport)

    def close(self) -> None:
        """Close at once, even during a request."""
        self.idle_since = math.inf
        self._life.cancel()

    async def run(self) -> None:
        try:
            with self._life:
                with trio.fail_after(HANDSHAKE_SECONDS):
                    await trio.lowlevel.wait_readable(self._transport.socket)
                    await self._shake_hands()
                await self._talk()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the client is gone, or did not speak TLS: no client reads an answer
        except Exception as error:  # noqa: BLE001 - the edge of a connection: logged, the server goes on
            _log.error("a connection broke", error=error)
        finally:
            stream, self._stream = self._stream, self._transport
            await trio.aclose_forcefully(stream)
            if stream is not self._transport:
                # Trio's TLS stream refers to itself: without this, its buffers stay until the cyclic collector runs.
                vars(stream).clear()

    async def _shake_hands(self) -> None:
        if self._rules.tls is None:
            return
        stream = trio.SSLStream(self._transport, self._rules.tls(), server_side=True, https_compatible=True)
        self._stream = stream
        await stream.do_handshake()

    async def _talk(self) -> None:
        async with TaskGroup() as tasks:
            protocol = self._protocol_of(tasks)
            await protocol.initiate()
            with suppress(H2ProtocolAssumedError):
                await self._read_on(protocol.handle)
            is_cut_off = isinstance(protocol, H11Protocol) and protocol.connection.their_state is h11.SEND_BODY
            await protocol.handle(Closed())
        with trio.move_on_after(_LINGER_SECONDS):
            if is_cut_off:
                await self._linger()
            else:
                await self._stream.aclose()

    def _protocol_of(self, tasks: TaskGroup) -> H11Protocol | H2Protocol:
        peer, tls = self._transport.socket, isinstance(self._stream, trio.SSLStream)
        is_certified, speaks_http2 = not self._rules.wants_certificate, False
        if isinstance(self._stream, trio.SSLStream):
            is_certified = is_certified or bool(self._stream.getpeercert(binary_form=True))
            speaks_http2 = self._rules.http2 and self._stream.selected_alpn_protocol() == "h2"
        return (H2Protocol if speaks_http2 else _Http1)(
            self._app,
            self._config,
            self._context,
            tasks,
            ConnectionState({CERTIFIED: is_certified}),
            tls,
            parse_socket_addr(peer.family, peer.getpeername()),
            parse_socket_addr(peer.family, peer.getsockname()),
            self._put,
        )

    async def _read_on(self, handle: Callable[[Event], Awaitable[None]]) -> None:
        while not self._is_over:
            with self._reading:
                self._reading.deadline = self._deadline()
                data = await self._receive()
                if self.idle_since < math.inf:
                    self._begun_at = min(self._begun_at, trio.current_time())
                await handle(RawData(data))
                if not data:
                    return
            if self._reading.cancelled_caught:
                return
            self._reading = trio.CancelScope()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _deadline(self) -> float:
        return min(self.idle_since + IDLE_SECONDS, self._begun_at + HEAD_SECONDS)

    async def _put(self, event: Event) -> None:
        """Hypercorn calls this with data for the client, and with events about the connection."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            self.idle_since = trio.current_time() if event.idle else math.inf
            self.has_asked = self.has_asked or event.idle
            self._begun_at = math.inf
            self._reading.deadline = self._deadline()
        elif isinstance(event, Closed):
            self._is_over = True
            self._reading.cancel()

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        async with self._send_lock:
            # Half a TLS record would break the connection, so cancellation must not interrupt the sending of one.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_SECONDS) as sending:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._is_over = True
        if sending.cancelled_caught or self._is_over:
            self._life.cancel()

    async def _linger(self) -> None:
        """Lets a client that is still sending read the answer: a connection that is cut off at once would lose it."""
        transport, rest = self._transport, _LINGER_BYTES
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await transport.send_eof()
            while rest > 0 and (data := await transport.receive_some(_READ_BYTES)):
                rest -= len(data)


def _address_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:  # the client is already gone
        return ""
