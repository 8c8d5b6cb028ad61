"""A client that behaves as the streaming loop of the Go SDK does: its buffers, receipts, reconnects and exit codes.

Written from what was observed of it, traps included: receipts go through a queue that drops what it cannot hold; the
table of completed packets lasts as long as the process; retries are never refilled; Data opens before anybody says who
it is. One ``ModelledEngram`` is one process. ``kill`` is SIGKILL.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from bubu_wire.codec import decode, encode
from bubu_wire.errors import UnknownCallError
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROCESS_HEADER,
    PROTOCOL_HEADER,
    BinaryFrame,
    ControlAction,
    ControlRequest,
    ControlResponse,
    DataRequest,
    DataResponse,
    StreamEnvelope,
)
from bubu_wire.status import StatusCode
from tests.e2e.wire.rig import CallError, RigCall, RigClient, open_client

COMPLETED: Final = 4_096
"""Completed packets that a process remembers."""
_PERMANENT: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.FAILED_PRECONDITION,
    }
)
Key = tuple[str, str, int]


class SessionEndError(Exception):
    """The session is over; ``is_permanent`` says whether the process ends with it."""

    def __init__(self, why: str, *, is_permanent: bool = False) -> None:
        super().__init__(why)
        self.is_permanent = is_permanent


@dataclass(frozen=True)
class Incoming:
    """A packet for the program; ``done`` acknowledges it."""

    packet: DataResponse
    done: Callable[[], None]

    @property
    def text(self) -> str:
        assert isinstance(self.packet.frame, BinaryFrame)
        return self.packet.frame.payload.decode()


@dataclass
class EngramIO:
    """What the program of an engram sees: ``in`` and ``out``."""

    source: trio.MemoryReceiveChannel[Incoming]
    out: trio.MemorySendChannel[DataRequest]
    emitted: int = 0
    left: int = 0
    """How many packets have left the process."""
    news: trio.Event = field(default_factory=trio.Event)

    def incoming(self) -> trio.MemoryReceiveChannel[Incoming]:
        return self.source

    async def emit(self, text: str, **metadata: str) -> None:
        await self.out.send(text_packet(text, **metadata))
        self.emitted += 1

    async def until_left(self) -> None:
        """Wait until everything that was emitted has left the process. The Go SDK has no such thing."""
        while self.left < self.emitted:
            await self.news.wait()

    def note_left(self) -> None:
        self.left += 1
        self.news.set()
        self.news = trio.Event()


Program = Callable[[EngramIO], Awaitable[None]]


def text_packet(text: str, *, partition: str = "", **metadata: str) -> DataRequest:
    envelope = StreamEnvelope(partition=partition) if partition else None
    return DataRequest(BinaryFrame(text.encode(), "text/plain"), metadata, envelope=envelope)


@dataclass
class ModelledEngram:
    """One process. ``run`` returns its exit code."""

    port: int
    binding: str
    """``<namespace>/<token>``."""
    program: Program
    process: str = ""
    """What it says of its process. The Go SDK says nothing."""
    context: ssl.SSLContext | None = None
    buffer: int = 16
    max_retries: int = 10
    backoff: float = 0.01
    """The first pause; the real one is half a second."""
    message_seconds: float = 30.0
    heartbeat: float = 10.0
    control_heartbeat: float = 30.0
    sessions: int = 0
    """Sessions that have become ready."""
    duplicates: int = 0
    lost_receipts: int = 0
    ends: list[str] = field(default_factory=list)
    """Why sessions have ended."""
    ready: trio.Event = field(default_factory=trio.Event)
    directives: list[ControlResponse] = field(default_factory=list)
    _completed: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    _life: trio.CancelScope = field(default_factory=trio.CancelScope)

    def kill(self) -> None:
        self._life.cancel()

    async def run(self) -> int:
        retries = 0
        with self._life:
            while True:
                try:
                    await self._session()
                    return 0
                except* SessionEndError as ends:
                    first = _first(ends)
                self.ends.append(str(first))
                if first.is_permanent:
                    return 1
                retries += 1
                if 0 <= self.max_retries < retries:
                    return 1
                await trio.sleep(self.backoff * 2 ** min(retries - 1, 6))
        return 137

    async def _session(self) -> None:
        try:
            async with open_client(self.port, context=self.context) as client:
                await _Session(self, client).run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, UnknownCallError) as broken:
            raise SessionEndError(f"the connection: {broken.exceptions[0]}") from None
        except* CallError as refused:
            error = _first_call_error(refused)
            raise SessionEndError(str(error), is_permanent=error.status.code in _PERMANENT) from None


@dataclass
class _Session:
    engram: ModelledEngram
    client: RigClient
    data: RigCall = field(init=False)
    control: RigCall = field(init=False)
    pending: set[Key] = field(default_factory=set)

    async def run(self) -> None:
        engram = self.engram
        version = (PROTOCOL_HEADER, "1.0.0")
        self.data = self.client.open_call(DATA_METHOD, (version,))
        who = ((BINDING_HEADER, engram.binding), *((PROCESS_HEADER, word) for word in (engram.process,) if word))
        self.control = self.client.open_call(CONTROL_METHOD, (version, *who))
        with trio.move_on_after(engram.message_seconds) as waiting:
            await self._wait_until_ready()
        if waiting.cancelled_caught:
            raise SessionEndError("no connector.ready in time", is_permanent=True)
        engram.sessions += 1
        engram.ready.set()
        into, source = trio.open_memory_channel[Incoming](engram.buffer)
        out, outgoing = trio.open_memory_channel[DataRequest](engram.buffer)
        self.receipts, waiting_receipts = trio.open_memory_channel[Key](engram.buffer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, into)
            io = EngramIO(source, out)
            nursery.start_soon(self._send, outgoing, io)
            nursery.start_soon(self._listen)
            nursery.start_soon(self._send_receipts, waiting_receipts)
            nursery.start_soon(self._beat)
            await engram.program(io)
            nursery.cancel_scope.cancel()  # what is still in ``out`` is discarded

    async def _wait_until_ready(self) -> None:
        while (message := await self._next(self.control)) is not None:
            directive = decode(ControlResponse, message)
            self.engram.directives.append(directive)
            if directive.action is ControlAction.CONNECTOR_READY:
                if directive.metadata.get("startup.capabilities") not in ("required", "none"):
                    raise SessionEndError("startup.capabilities", is_permanent=True)
                await self._direct(ControlAction.ACK, type="startup", handled="true")
                return

    async def _next(self, call: RigCall) -> bytes:
        message = await call.receive()
        if message is None:
            raise SessionEndError("the hub has ended the call")
        return message

    async def _receive(self, into: trio.MemorySendChannel[Incoming]) -> None:
        engram = self.engram
        while True:
            packet = decode(DataResponse, await self._next(self.data))
            if packet.metadata.get("bubu-heartbeat") == "true":
                continue
            envelope = packet.envelope
            key = (envelope.stream_id, envelope.partition, envelope.sequence) if envelope else None
            if key is not None and not (key[0] and key[2]):
                key = None
            if packet.frame is None:
                if key is not None:
                    self._acknowledge(key)
                continue
            if key is not None and key in engram._completed:
                engram.duplicates += 1
                self._acknowledge(key)
                continue
            if key is not None:
                if key in self.pending:
                    engram.duplicates += 1
                    continue
                self.pending.add(key)
                assert len(self.pending) <= COMPLETED
            await into.send(Incoming(packet, lambda key=key: self._done(key)))  # type: ignore[misc]  # binds the key

    def _done(self, key: Key | None) -> None:
        if key is None:
            return
        self.pending.discard(key)
        if self._acknowledge(key):
            self.engram._completed[key] = None
            if len(self.engram._completed) > COMPLETED:
                self.engram._completed.popitem(last=False)

    def _acknowledge(self, key: Key) -> bool:
        try:
            self.receipts.send_nowait(key)
        except trio.WouldBlock:
            self.engram.lost_receipts += 1
            return False
        return True

    async def _send_receipts(self, waiting: trio.MemoryReceiveChannel[Key]) -> None:
        async for stream, partition, sequence in waiting:
            metadata = {"stream_id": stream, "sequence": str(sequence), "partition": partition, "size_bytes": "9"}
            await self.control.send(encode(ControlRequest(metadata=metadata, custom_action="downstream.delivered")))

    async def _send(self, outgoing: trio.MemoryReceiveChannel[DataRequest], io: EngramIO) -> None:
        while True:
            packet = DataRequest(metadata={"bubu-heartbeat": "true"})
            with trio.move_on_after(self.engram.heartbeat) as idle:
                packet = await outgoing.receive()
            await self.data.send(encode(packet))
            with trio.move_on_after(self.engram.message_seconds) as waiting:
                while self.data.wire.connection.backlog(self.data.number):
                    await self.data.wire.news()
            if waiting.cancelled_caught:
                raise SessionEndError("the hub has not read for too long")
            if not idle.cancelled_caught:
                io.note_left()

    async def _listen(self) -> None:
        while True:
            directive = decode(ControlResponse, await self._next(self.control))
            self.engram.directives.append(directive)
            if directive.action is not ControlAction.ACK:
                await self._direct(ControlAction.ACK, handled="false", reason="no_control_handler")

    async def _beat(self) -> None:
        while True:
            await trio.sleep(self.engram.control_heartbeat)
            await self._direct(ControlAction.HEARTBEAT, ts="1")

    async def _direct(self, action: ControlAction, **metadata: str) -> None:
        await self.control.send(encode(ControlRequest(action, metadata)))


def _first(group: BaseExceptionGroup[SessionEndError]) -> SessionEndError:
    """A permanent end counts more than what followed from it."""
    found = [each for each in _leaves(group) if isinstance(each, SessionEndError)]
    return next((each for each in found if each.is_permanent), found[0])


def _first_call_error(group: BaseExceptionGroup[CallError]) -> CallError:
    found = [each for each in _leaves(group) if isinstance(each, CallError)]
    return next((each for each in found if each.status.code in _PERMANENT), found[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


async def forever(io: EngramIO) -> None:
    """A program that acknowledges everything and says nothing."""
    async for message in io.incoming():
        message.done()


def collecting(into: list[str]) -> Program:
    """A program that notes and acknowledges what it receives."""

    async def program(io: EngramIO) -> None:
        async for message in io.incoming():
            into.append(message.text)
            message.done()

    return program


def emitting(texts: list[str], *, then_wait: bool = True) -> Program:
    """A program that says each text once in its life, and then waits."""
    left = list(texts)

    async def program(io: EngramIO) -> None:
        while left:
            await io.emit(left[0])
            left.pop(0)
        if then_wait:
            await trio.sleep_forever()

    return program


async def echo(io: EngramIO) -> None:
    """A program that passes everything on and acknowledges it after that."""
    async for message in io.incoming():
        await io.emit(message.text)
        message.done()


async def careful_echo(io: EngramIO) -> None:
    """Acknowledges only what has caused outputs that have left: then nothing depends on the time."""
    async for message in io.incoming():
        await io.emit(message.text)
        await io.until_left()
        message.done()
