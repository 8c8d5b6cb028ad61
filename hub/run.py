"""One live run: a nursery with a sender for each step. Packets go from the inbox of a step to those that need it.

What a session receives is routed at once, as far as the receivers have room. What has no room stays in the inbox of its
step, unconsumed, so that the connection stops its client; the sender of the receiver goes on with it when there is room
again. The state of a step lives as long as the run, whoever is connected. Source: streaming contract 12 and 13.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

import trio

from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_PAIRS, StreamEnvelope
from core.telemetry.logs import get_logger
from hub.chunks import ChunkAssembler
from hub.delivery import Loss, StepDelivery
from hub.packets import PacketChecker
from hub.pressure import Pressure, ReadingClock
from hub.receipts import Receipt
from hub.routes import RunRoutes, StreamRun, StreamStep

ROUTED_AT_ONCE: Final = 200
"""Packets that are routed before other tasks have their turn."""
MAX_INBOX_BYTES: Final = 32 * 1024 * 1024
"""What former sessions of a step may have left, before a new one is admitted."""
_STREAM_ID_BYTES: Final = 96

_log = get_logger("hub")


class StepLink(Protocol):
    """The session of a step, as its run sees it. Nothing here waits or raises; a session may have ended."""

    def room(self) -> int:
        """Bytes that can be sent now."""
        ...

    def send(self, messages: Sequence[bytes]) -> None:
        """Send encoded packets to the client."""
        ...

    def consumed(self, messages: int, packets: int) -> None:
        """The first ``messages`` that it has passed on are done with; ``packets`` of them were no heartbeats."""
        ...


@dataclass(slots=True)
class LiveStep:
    """A step of a live run, as producer (``inbox``) and as consumer (``delivery``)."""

    spec: StreamStep
    delivery: StepDelivery
    targets: tuple[LiveStep, ...] = ()
    link: StepLink | None = None
    inbox: deque[tuple[StepLink, bytes]] = field(default_factory=deque)
    inbox_bytes: int = 0
    clock: ReadingClock = field(default_factory=ReadingClock)
    news: trio.Event = field(default_factory=trio.Event)
    """Something for the sender to do."""
    sleeps_until: float = -math.inf
    """When the sender wakes up by itself; minus infinity while it is awake."""
    turn: int = 0
    """Which producer is first when there is room again."""
    chunks: ChunkAssembler = field(default_factory=ChunkAssembler)
    refused: Counter[str] = field(default_factory=Counter)
    """Packets *of* this step that went nowhere, by reason."""
    received: int = 0
    """Packets of this step, heartbeats not counted."""
    heartbeats: int = 0
    is_finished: bool = False
    """No client will take packets of the step any more."""
    trouble: str = ""
    """Why the last packet of the step that went nowhere was refused."""


class LiveRun:
    """Routes and delivers the packets of one run."""

    def __init__(self, routes: RunRoutes, epoch: str, checker: PacketChecker) -> None:
        """``epoch`` tells the numbers of this life of the run apart from those of former ones."""
        self.routes = routes
        self.steps: dict[str, LiveStep] = {}
        self._checker = checker
        self._pressure = Pressure(routes.sources)
        run = routes.run
        for name, spec in routes.steps.items():
            metadata = {"storyrun-name": run.name, "storyrun-namespace": run.namespace, "current-step-id": name}
            delivery = StepDelivery(spec.delivery, stream_id_of(run, name, epoch), metadata)
            self.steps[name] = LiveStep(spec, delivery)
        for name, step in self.steps.items():
            step.targets = tuple(self.steps[target] for target in routes.targets[name])

    async def serve(self) -> None:
        """Deliver until cancelled. Then everything that is pending counts as lost."""
        try:
            async with trio.open_nursery() as nursery:
                for name, step in self.steps.items():
                    nursery.start_soon(self._send, step, name=f"sender of {self.routes.run}/{name}")
        finally:
            for step in self.steps.values():
                step.delivery.abandon()
                step.refused[Loss.RUN_ENDED] += len(step.inbox) + step.chunks.held
                step.inbox.clear()

    def is_held(self, name: str) -> bool:
        """Whether the packets of a step wait for a full receiver."""
        return self._pressure.is_held(name)

    def held_by(self, name: str) -> tuple[str, ...]:
        """The full receivers that the packets of a step wait for."""
        return self._pressure.holders(name)

    @property
    def is_busy(self) -> bool:
        """Whether there is something that a client can still take, or has to acknowledge."""
        return any(
            (step.link is not None and (step.delivery.waiting or step.delivery.in_flight))
            or (step.inbox and any(target.link is not None for target in step.targets))
            for step in self.steps.values()
        )

    def has_left(self, name: str) -> bool:
        """Whether there is, or may still come, a packet for a step: of its producers, or in its buffer.

        Of a step without producers: whether there may still be packets of its own. Parts of a packet do not count: once
        their client has gone, the others do not come.
        """
        step = self.steps[name]
        producers = [self.steps[source] for source in self.routes.sources[name]] or [step]
        delivery = step.delivery
        return bool(
            delivery.waiting
            or delivery.in_flight
            or delivery.kept_bytes
            or any(each.link is not None or each.inbox for each in producers)
        )

    def finish(self, name: str) -> None:
        """No client of a step will come again: what waits for it is lost, and its producers need not wait for it."""
        step = self.steps[name]
        if step.is_finished:
            return
        step.is_finished = True
        for source in self.routes.sources[name]:
            producer = self.steps[source]
            producer.targets = tuple(target for target in producer.targets if target is not step)
        step.delivery.abandon()
        step.news.set()  # its sender lets the producers go on

    # What sessions do.

    def can_attach(self, name: str) -> bool:
        """Whether what former sessions of the step have left is small enough for a further one."""
        return self.steps[name].inbox_bytes <= MAX_INBOX_BYTES

    def attach(self, name: str, link: StepLink) -> None:
        """``link`` serves the step; the former one does no longer."""
        step = self.steps[name]
        if step.link is not None:
            self._leave(step)
        step.link = link
        step.clock = ReadingClock(trio.current_time())
        step.delivery.connected()
        step.news.set()

    def detach(self, name: str, link: StepLink) -> None:
        """The session has ended. What it has received is still routed."""
        step = self.steps[name]
        if step.link is link:
            self._leave(step)

    def arrived(self, name: str, link: StepLink, messages: Sequence[bytes]) -> bool:
        """Take what the client of a step has sent, and route what can be; returns whether ``route`` has more to do."""
        step = self.steps[name]
        for message in messages:
            step.inbox.append((link, message))
            step.inbox_bytes += len(message)
        return self.route(step)

    def receipts(self, name: str, receipts: Sequence[Receipt]) -> None:
        """The client of a step is done with packets."""
        step = self.steps[name]
        reading = step.clock.read(trio.current_time())
        for stream_id, partition, sequence in receipts:
            step.delivery.receipt(stream_id, partition, sequence, reading)
        self._push(step)

    def written(self, name: str, link: StepLink, *, everything: bool) -> None:
        """The session has written to its client, perhaps everything."""
        step = self.steps[name]
        if step.link is not link:
            return
        if everything:
            step.delivery.flushed()
        if step.delivery.waiting:
            self._push(step)

    # Routing.

    def route(self, step: LiveStep, most: int = ROUTED_AT_ONCE) -> bool:
        """Pass packets of ``step`` on to those that need it; returns whether it has stopped because of ``most``."""
        now = trio.current_time()
        inbox = step.inbox
        offered = consumed = packets = 0
        link: StepLink | None = None
        is_held = False
        while inbox and consumed < most:
            sender, message = inbox[0]
            if sender is not link:
                if link is not None:
                    link.consumed(consumed, packets)
                    most, consumed, packets = most - consumed, 0, 0
                link = sender
            outcome = self._pass_on(step, message, now)
            if outcome is None:
                is_held = True
                break
            inbox.popleft()
            step.inbox_bytes -= len(message)
            consumed += 1
            packets += outcome
            offered += 1
        if link is not None:
            link.consumed(consumed, packets)
        if not is_held and not step.clock.is_running:
            step.news.set()  # copies may grow old again, and make room
        step.clock.run(now, running=not is_held)
        if offered:
            for target in step.targets:
                self._push(target)
                self._update(target)
        return bool(inbox) and not is_held

    def _pass_on(self, step: LiveStep, message: bytes, now: float) -> bool | None:
        """Whether ``message`` was a packet, and not a heartbeat; None if a receiver has no room for it."""
        place: StreamEnvelope | None = None
        try:
            packet = self._checker.check(message)
            if packet.chunk is not None and packet.chunk.is_chunk:
                place = packet.chunk
                whole = step.chunks.add(message, now)
                if whole is None:
                    return True
                packet = self._checker.check(whole)
        except MessageError as error:
            return self._refuse(step, "invalid", str(error), place)
        if packet.is_heartbeat:
            step.heartbeats += 1
            return False
        if not packet.has_content:
            return self._refuse(step, "empty", "", place)
        size = len(packet.body)
        for target in step.targets:
            if packet.pairs + target.delivery.added_pairs > MAX_PAIRS:
                why = f"more than {MAX_PAIRS} pairs of metadata, those of the hub included"
                return self._refuse(step, "invalid", why, place)
            if target.delivery.must_wait(size):
                target.delivery.gate.is_closed = True
                self._pressure.hold(target.spec.name)
                return None
        step.received += 1
        for target in step.targets:
            target.delivery.offer(packet, size, now)
        if place is not None:
            step.chunks.done(place)
        return True

    def _refuse(self, step: LiveStep, reason: str, why: str, place: StreamEnvelope | None) -> bool:
        """A packet, perhaps one in chunks, goes nowhere; its stream goes on."""
        if place is not None:
            step.chunks.done(place)
        step.received += 1
        step.refused[reason] += 1
        step.trouble = f"a packet was refused ({reason}){f': {why}' if why else ''}"
        count = step.refused[reason]
        if why and count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a producer of garbage must not fill the log
            name = f"{self.routes.run}/{step.spec.name}"
            _log.warning("a packet was refused", step=name, reason=reason, cause=why, count=count)
        return True

    def _update(self, step: LiveStep) -> None:
        """Hold the producers of a step that is full. (Its sender lets them go.)"""
        delivery = step.delivery
        is_open = not delivery.gate.is_closed
        if is_open and delivery.settings.blocks and delivery.gate.update(delivery.fill()):
            self._pressure.hold(step.spec.name)

    async def _relieve(self, step: LiveStep) -> None:
        """Let the producers go on if there is room again. They take turns in being the first."""
        gate = step.delivery.gate
        if not (gate.is_closed and gate.update(step.delivery.fill())):
            return
        names = self._pressure.release(step.spec.name)
        step.turn += 1
        for number in range(len(names)):
            producer = self.steps[names[(number + step.turn) % len(names)]]
            while self.route(producer):
                await trio.lowlevel.checkpoint()

    # Sending.

    def _push(self, step: LiveStep) -> None:
        """Send what may be sent now. What has to wait for the time, or for others, is left to the sender."""
        now = trio.current_time()
        delivery = step.delivery
        if step.link is not None and (messages := delivery.take(now, step.link.room())):
            step.link.send(messages)
        if delivery.gate.is_closed or self._due(step, now) < step.sleeps_until:
            step.news.set()

    def _due(self, step: LiveStep, now: float) -> float:
        return step.delivery.due(now, step.clock.read(now), is_reading=step.clock.is_running)

    async def _send(self, step: LiveStep) -> None:
        """The sender of a step: repetitions, expiry, and letting producers go on."""
        while True:
            now = trio.current_time()
            step.delivery.expire(now, step.clock.read(now))
            self._report_dead(step)
            self._push(step)
            step.news = trio.Event()
            await self._relieve(step)
            step.sleeps_until = self._due(step, trio.current_time())
            with trio.CancelScope(deadline=step.sleeps_until):
                await step.news.wait()
            step.sleeps_until = -math.inf

    def _leave(self, step: LiveStep) -> None:
        step.link = None
        step.delivery.disconnected()
        step.clock = ReadingClock()
        step.news.set()

    def _report_dead(self, step: LiveStep) -> None:
        for parcel in step.delivery.take_dead():
            place = f"{self.routes.run}/{step.spec.name}"
            stream, (partition, sequence) = step.delivery.stream_id, parcel.key
            message = "a packet was given up after its last attempt"
            _log.error(message, step=place, stream=stream, partition=partition, sequence=sequence, bytes=parcel.size)


def stream_id_of(run: StreamRun, step: str, epoch: str) -> str:
    """The name of the stream to a step: at most 96 bytes, and never that of another step or epoch."""
    readable = f"{run}/{step}@{epoch}"
    if len(readable.encode()) <= _STREAM_ID_BYTES:
        return readable
    digest = sha256("\0".join((*run, step, epoch)).encode()).hexdigest()[:32]
    return f"{digest}@{epoch}"
