"""The least that drives ``bubu_wire`` over sockets: a reader and a writer for each connection, a task for each call."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from bubu_wire.client import ClientConnection
from bubu_wire.connection import Connection
from bubu_wire.errors import UnknownCallError
from bubu_wire.events import CallAccepted, CallEnded, CallStarted, Event, MessagesReceived, PeerFinished
from bubu_wire.limits import DEFAULT_LIMITS, Limits
from bubu_wire.metadata import Metadata
from bubu_wire.server import ServerConnection
from bubu_wire.status import OK, Status, StatusCode

READ_BYTES: Final = 64 * 1024
WRITE_SECONDS: Final = 30.0
PAUSE_BYTES: Final = 256 * 1024

WireStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class CallError(Exception):
    """A handler ends its call with ``status``; a client's call has ended with it."""

    def __init__(self, status: Status, metadata: Metadata = ()) -> None:
        super().__init__(f"{status.code.name}: {status.message}")
        self.status = status
        self.metadata = metadata


@dataclass
class RigCall:
    """One call, seen by a handler of the server or by a user of the client."""

    wire: WireDriver
    number: int
    start: CallStarted | None = None
    accepted: Metadata | None = None
    ended: CallEnded | None = None
    finished: bool = False
    trailers: list[tuple[str, str | bytes]] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def receive(self) -> bytes | None:
        """The next message; None when the peer sends no more. The message before counts as consumed."""
        while not self.messages:
            if self.ended is not None and self.ended.status != OK:
                raise CallError(self.ended.status, self.ended.metadata)
            if self.finished or self.ended is not None:
                return None
            await self.wire.news()
        message = self.messages.pop(0)
        self.wire.connection.consumed(self.number)
        self.wire.poke()
        return message

    async def send(self, *messages: bytes) -> None:
        self.wire.connection.send_messages(self.number, messages)
        self.wire.poke()
        while self.wire.connection.backlog(self.number) > PAUSE_BYTES:
            await self.wire.news()


Handler = Callable[[RigCall], Awaitable[None]]


@dataclass
class WireDriver:
    """A connection and its stream."""

    connection: Connection
    stream: WireStream
    calls: dict[int, RigCall] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    """Those of no call."""
    _dirty: trio.Event = field(default_factory=trio.Event)
    _news: trio.Event = field(default_factory=trio.Event)

    def poke(self) -> None:
        self._dirty.set()

    async def news(self) -> None:
        await self._news.wait()

    async def write(self) -> None:
        """Send until the connection has ended. Each write has a deadline, for the peer may not read."""
        while True:
            while data := self.connection.data_to_send():
                with trio.fail_after(WRITE_SECONDS):
                    await self.stream.send_all(data)
                self._tell()
            if self.connection.ended:
                return
            await self._dirty.wait()
            self._dirty = trio.Event()

    async def read(self, started: Callable[[RigCall], None]) -> None:
        while not self.connection.ended:
            try:
                data = bytes(await self.stream.receive_some(READ_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            events = self.connection.receive(data, trio.current_time()) if data else self.connection.receive_eof()
            for event in events:
                self._note(event, started)
            self.poke()
            self._tell()

    def _note(self, event: Event, started: Callable[[RigCall], None]) -> None:
        match event:
            case CallStarted():
                self.calls[event.call] = RigCall(self, event.call, start=event)
                started(self.calls[event.call])
            case CallAccepted():
                self.calls[event.call].accepted = event.metadata
            case MessagesReceived():
                self.calls[event.call].messages += event.messages
            case PeerFinished():
                self.calls[event.call].finished = True
            case CallEnded():
                call = self.calls.pop(event.call)
                call.ended = event
                call.scope.cancel()
            case _:
                self.events.append(event)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


async def _run_handler(handler: Handler, call: RigCall) -> None:
    connection = call.wire.connection
    assert isinstance(connection, ServerConnection)
    timeout = call.start.timeout if call.start else None
    status = Status(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
    with call.scope, suppress(UnknownCallError):  # the client may end the call at any time
        try:
            with trio.move_on_after(timeout if timeout is not None else float("inf")) as deadline:
                await handler(call)
            if not deadline.cancelled_caught:
                status = OK
        except CallError as error:
            status = error.status
        connection.finish(call.number, status, call.trailers)
        call.wire.calls.pop(call.number, None)
        call.wire.poke()


async def serve_connection(handlers: Mapping[str, Handler], limits: Limits, stream: WireStream) -> None:
    wire = WireDriver(ServerConnection(handlers, limits), stream)
    try:
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
        async with trio.open_nursery() as nursery:

            def begin(call: RigCall) -> None:
                assert call.start is not None
                nursery.start_soon(_run_handler, handlers[call.start.path], call)

            nursery.start_soon(wire.write)
            await wire.read(begin)
    except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, trio.TooSlowError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_server(
    handlers: Mapping[str, Handler], *, context: ssl.SSLContext | None = None, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[int]:
    """Yields the port, on the loopback interface."""

    async def serve(stream: trio.SocketStream) -> None:
        wrapped = trio.SSLStream(stream, context, server_side=True) if context else stream
        await serve_connection(handlers, limits, wrapped)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@dataclass
class RigClient:
    """Opens calls on one connection."""

    wire: WireDriver

    @property
    def connection(self) -> ClientConnection:
        assert isinstance(self.wire.connection, ClientConnection)
        return self.wire.connection

    def open_call(self, path: str, metadata: Metadata = (), *, timeout: float | None = None) -> RigCall:
        number = self.connection.open_call(path, metadata, timeout=timeout)
        self.wire.calls[number] = call = RigCall(self.wire, number)
        self.wire.poke()
        return call

    def finish(self, call: RigCall) -> None:
        self.connection.finish(call.number)
        self.wire.poke()


@asynccontextmanager
async def open_client(
    port: int, *, context: ssl.SSLContext | None = None, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[RigClient]:
    socket = await trio.open_tcp_stream("127.0.0.1", port)
    stream: WireStream = socket
    if context:
        stream = trio.SSLStream(socket, context, server_hostname="localhost")
        await stream.do_handshake()
    scheme = "https" if context else "http"
    wire = WireDriver(ClientConnection(f"localhost:{port}", scheme=scheme, limits=limits), stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.write)
        nursery.start_soon(wire.read, lambda _call: None)
        try:
            yield RigClient(wire)
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):  # else the cancellation would hide what the block has raised
                await trio.aclose_forcefully(stream)
