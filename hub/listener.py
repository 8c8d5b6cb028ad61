"""Accepts connections, and moves their bytes until one side ends. Errors stay in their connection.

Plaintext is for the loopback interface; TLS is 1.3 with ALPN ``h2``. A client has a deadline for its handshake and for
its token. At the limit of clients without a token one of the address with the most of them goes, the oldest, so that a
flood ends itself and nobody elsewhere.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from bubu_wire.limits import Limits
from bubu_wire.server import ServerConnection
from bubu_wire.status import Status, StatusCode
from core.telemetry.logs import get_logger
from hub.client_refusal import ClientRefusal, Refused
from hub.session import METHODS, ClientSession, SessionHandler, SessionTimeouts

ClientStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

WIRE_LIMITS: Final = Limits(max_calls=4)
"""A session has two calls."""
READ_BYTES: Final = 64 * 1024
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 1024 * 1024

_log = get_logger("hub")
_ENDS_OF_TLS: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""Of a client that goes without a handshake, as probes do."""
_IO_ERRORS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class HubListenerRules:
    """Limits of connections."""

    connections: int = 2_000
    strangers: int = 256
    """Connections without an admitted token."""
    handshake_seconds: float = 10.0
    """For the TLS handshake."""
    write_seconds: float = 30.0
    """For one write to a client whose machine takes nothing."""
    timeouts: SessionTimeouts = field(default_factory=SessionTimeouts)


@dataclass(slots=True, eq=False)
class _Client:
    scope: trio.CancelScope
    peer: str
    """Its address."""
    session: ClientSession | None = None

    @property
    def is_stranger(self) -> bool:
        return self.session is None or self.session.who is None


class HubListener:
    """Serves connections. ``context`` returns the TLS context for the next one; None: plaintext."""

    def __init__(
        self, handler: SessionHandler, rules: HubListenerRules, context: Callable[[], ssl.SSLContext] | None
    ) -> None:
        self._handler = handler
        self._rules = rules
        self._context = context
        self._clients: dict[_Client, None] = {}

    @property
    def connections(self) -> int:
        return len(self._clients)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends; a cancellation lets the client go with ``UNAVAILABLE``."""
        client = _Client(trio.CancelScope(), _address_of(stream))
        if not self._has_room(client.peer):
            await trio.aclose_forcefully(stream)
            return
        self._clients[client] = None
        try:
            with client.scope:
                await self._serve(client, stream)
        except* _IO_ERRORS:
            pass  # the client is gone
        except* Exception as broken:  # noqa: BLE001 - the edge of a connection: the others go on
            _log.error("a connection failed", error=broken)
        finally:
            del self._clients[client]
            await trio.aclose_forcefully(stream)

    def _has_room(self, peer: str) -> bool:
        staying = [client for client in self._clients if not client.scope.cancel_called]
        if len(staying) >= self._rules.connections:
            text = f"there are {len(staying)} connections, the most that are allowed"
            self._note(ClientRefusal.CONNECTIONS, text, peer)
            return False
        strangers = [client for client in staying if client.is_stranger]
        if len(strangers) >= self._rules.strangers:
            most, count = Counter(map(_host_of, strangers)).most_common(1)[0]
            oldest = next(client for client in strangers if _host_of(client) == most)
            oldest.scope.cancel()
            text = (
                f"there are {len(strangers)} connections without a token, {count} of them from this address, "
                "and this one is the oldest of these"
            )
            self._note(ClientRefusal.STRANGERS, text, oldest.peer)
        return True

    def _note(self, reason: ClientRefusal, text: str, peer: str) -> None:
        self._handler.refused(Refused(reason, Status(StatusCode.UNAVAILABLE, text)), peer)

    async def _serve(self, client: _Client, transport: trio.SocketStream) -> None:
        stream: ClientStream = transport
        if self._context is not None:
            stream = trio.SSLStream(transport, self._context(), server_side=True)
            await self._shake_hands(stream, client.peer)
        connection = ServerConnection(METHODS, WIRE_LIMITS)
        driver = _Driver(stream, connection, self._rules)
        session = driver.session = ClientSession(
            self._handler,
            connection,
            trio.current_time(),
            self._rules.timeouts,
            driver.wake_writer,
            driver.request_tick,
            client.peer,
        )
        client.session = session
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.write)
                nursery.start_soon(driver.keep_time)
                await driver.read()
        finally:
            session.refuse(Status(StatusCode.UNAVAILABLE, "the hub ends the connection"))
            if not client.scope.cancel_called:
                with trio.move_on_after(_LINGER_SECONDS, shield=True), suppress(*_IO_ERRORS):
                    await driver.say_goodbye(transport)

    async def _shake_hands(self, stream: trio.SSLStream[trio.SocketStream], peer: str) -> None:
        """Raises what ends the connection: no handshake, or none in time."""
        try:
            with trio.fail_after(self._rules.handshake_seconds):
                await stream.do_handshake()
        except trio.TooSlowError:
            self._note(ClientRefusal.TLS, "no TLS handshake in time", peer)
            raise
        except trio.BrokenResourceError as broken:
            cause = broken.__cause__
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, _ENDS_OF_TLS):
                self._note(ClientRefusal.TLS, f"no TLS handshake: {cause.reason or type(cause).__name__}", peer)
            raise


class _Driver:
    """The tasks of one connection."""

    session: ClientSession

    def __init__(self, stream: ClientStream, connection: ServerConnection, rules: HubListenerRules) -> None:
        self._stream = stream
        self._connection = connection
        self._rules = rules
        self._dirty = trio.Event()
        self._alarm = trio.Event()
        self._reading = trio.CancelScope()

    def wake_writer(self) -> None:
        self._dirty.set()
        if self.session.is_over:
            self._reading.cancel()

    def request_tick(self) -> None:
        self._alarm.set()

    async def read(self) -> None:
        """Until the session is over. Then the other tasks end."""
        session = self.session
        with self._reading:
            while not session.is_over:
                try:
                    data = bytes(await self._stream.receive_some(READ_BYTES))
                except trio.BrokenResourceError:
                    data = b""
                if not data:
                    session.receive_eof()
                    break
                more = session.receive(data, trio.current_time())
                if self._connection.has_output():
                    self._dirty.set()
                while more:
                    await trio.lowlevel.checkpoint()
                    more = session.go_on()
        self._dirty.set()

    async def write(self) -> None:
        while not self.session.is_over:
            while not self.session.is_over and (data := self._connection.data_to_send()):
                with trio.fail_after(self._rules.write_seconds):
                    await self._stream.send_all(data)
                self.session.written()
            if not self.session.is_over:
                await self._dirty.wait()
                self._dirty = trio.Event()

    async def keep_time(self) -> None:
        session = self.session
        while not session.is_over:
            due = session.tick(trio.current_time())
            with trio.move_on_at(due):
                await self._alarm.wait()
            self._alarm = trio.Event()

    async def say_goodbye(self, transport: trio.SocketStream) -> None:
        """Write what is left, and read on for a moment: a reset would overtake the last data.

        A status waits behind messages for the client's window. An end of the stream before it would tell the client to
        come back.
        """
        connection = self._connection
        while True:
            while data := connection.data_to_send():
                await self._stream.send_all(data)
            if connection.calls == 0:
                break
            if not (data := bytes(await self._stream.receive_some(READ_BYTES))):
                return
            connection.receive(data, trio.current_time())
        await transport.send_eof()
        left = _LINGER_BYTES
        while left > 0 and (data := bytes(await transport.receive_some(READ_BYTES))):
            left -= len(data)


def _host_of(client: _Client) -> str:
    return client.peer.rpartition(":")[0]


def _address_of(stream: trio.SocketStream) -> str:
    """``host:port`` of the client; empty if it has gone already."""
    try:
        host, port, *_ = stream.socket.getpeername()
    except OSError:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serving_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with this certificate (PEM), for clients that speak HTTP/2.

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: the files are not a certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context
