"""One live run: a nursery with a sender for each step. Packets go from the inbox of a step to those that need it.

What a session receives is routed at once, as far as the receivers have room. What has no room stays in the inbox of its
step, unconsumed, so that the connection stops its client; the sender of the receiver goes on with it when there is room
again. Packets to steps for which something is evaluated take the way of ``hub.flow``. The state of a step lives as long
as the run, also without a client. Source: streaming contract 12 and 13.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from bubu_wire.errors import MessageError
from bubu_wire.messages import MAX_PAIRS, StreamEnvelope
from core.telemetry.logs import get_logger
from hub.acceptance import Acceptance
from hub.delivery import Loss, StepDelivery
from hub.nodes import LiveNode, LivePrimitive, LiveStep, StepLink, held_of, producers_of, reach_of
from hub.packet_samples import samples_of
from hub.packets import ADDED_PAIRS, PacketChecker
from hub.pressure import FillGate, Pressure, ReadingClock
from hub.receipts import Receipt
from hub.refusal import PacketRefusal
from hub.routes import RunRoutes, stream_id_of
from hub.taps import TapBook
from hub.topology import Place
from hub.troubles import Troubles

if TYPE_CHECKING:
    from core.telemetry.tracing.trace_span import SpanSink
    from hub.child_runs import StreamChildRuns
    from hub.evaluation import PacketEvaluator
    from hub.flow import PacketFlow
    from hub.hooks import RunHooks

__all__ = ["LiveRun", "LiveStep", "RunServices", "StepLink"]

ROUTED_AT_ONCE: Final = 200
"""Packets that are routed before other tasks have their turn."""
MAX_INBOX_BYTES: Final = 32 * 1024 * 1024
"""What former sessions of a step may have left, before a new one is admitted."""
_MAX_OWN_PAIRS: Final = MAX_PAIRS - len(ADDED_PAIRS)

_log = get_logger("hub")


@dataclass(slots=True)
class RunServices:
    """What the runs of a hub share."""

    child_runs: StreamChildRuns | None = None
    """Starts StoryRuns for ``executeStory``; None if there is no cluster."""
    taps: TapBook = field(default_factory=TapBook)
    """Of people who look at packets."""
    spans: SpanSink | None = None
    """Where the spans of packets go; None: nowhere."""
    _evaluator: PacketEvaluator | None = field(default=None, init=False)

    @property
    def evaluator(self) -> PacketEvaluator:
        """Made for the first run that needs it."""
        if self._evaluator is None:
            from hub.evaluation import PacketEvaluator

            self._evaluator = PacketEvaluator()
        return self._evaluator


class LiveRun:
    """Routes and delivers the packets of one run."""

    def __init__(
        self, routes: RunRoutes, epoch: str, checker: PacketChecker, services: RunServices | None = None
    ) -> None:
        """
        Args:
            epoch: tells the numbers of this life of the run apart from those of former ones.
            services: what runs share; None: the run has its own.
        """
        self.routes = routes
        self.steps: dict[str, LiveStep] = {}
        """Those with a client."""
        self.primitives: dict[str, LivePrimitive] = {}
        self.ended = trio.Event()
        self._checker = checker
        self._taps = services.taps if services is not None else TapBook()
        run = routes.run
        for name, spec in routes.steps.items():
            troubles = Troubles(f"{run}/{name}")
            if spec.is_primitive:
                gate = FillGate(spec.delivery.pause_percent, spec.delivery.resume_percent)
                self.primitives[name] = LivePrimitive(spec, troubles, gate)
                continue
            metadata = {"storyrun-name": run.name, "storyrun-namespace": run.namespace, "current-step-id": name}
            delivery = StepDelivery(spec.delivery, stream_id_of(run, name, epoch), metadata)
            if services is not None and services.spans is not None:
                delivery.samples = samples_of(spec, Place(run, name), delivery.stream_id, services.spans)
            self.steps[name] = LiveStep(spec, delivery, troubles)
        self._finished: set[str] = set()
        self._acceptances = {name: Acceptance() for name in self.steps}
        self._connect()
        self._producers = producers_of(dict(self._nodes()))
        self._pressure = Pressure(self._producers)
        self._hooks: RunHooks | None = None
        self._flow = self._wired(epoch, services or RunServices()) if routes.are_evaluated else None

    def _wired(self, epoch: str, services: RunServices) -> PacketFlow:
        """What evaluates is loaded for the first run that needs it: a hub without such runs is smaller."""
        from core.engine.clock import system_now
        from hub.flow import PacketFlow
        from hub.hooks import hooks_of
        from hub.wiring import wire

        wire(self.routes, self.steps, self.primitives, system_now)
        flow = PacketFlow(self.routes, epoch, self, services.evaluator, services.child_runs, system_now)
        self._hooks = hooks_of(self.routes, self.steps, flow, self, system_now)
        return flow

    def _connect(self) -> None:
        """Each step sends to those that need it, except for those that take nothing any more."""
        for name, node in self._nodes():
            node.targets = tuple(self.node(each) for each in self.routes.targets[name] if each not in self._finished)
        for _, node in self._nodes():
            node.reach = tuple(reach_of(node))
        for name, step in self.steps.items():
            step.receivers = tuple(target.delivery for target in step.targets if isinstance(target, LiveStep))
            self._acceptances[name].reaches(step.reach)
        self.look_at_taps()

    def look_at_taps(self) -> None:
        """Somebody looks at the packets of a step, or does no longer."""
        for name, step in self.steps.items():
            step.taps = self._taps.of(Place(self.routes.run, name))
        for step in self.steps.values():
            step.is_observed = bool(step.taps) or any(isinstance(each, LiveStep) and each.taps for each in step.targets)

    @property
    def flow(self) -> PacketFlow | None:
        """What evaluates packets of the run; None if nothing is evaluated."""
        return self._flow

    def _nodes(self) -> Iterator[tuple[str, LiveNode]]:
        yield from self.steps.items()
        yield from self.primitives.items()

    def node(self, name: str) -> LiveNode:
        """The step of that name, whatever it is."""
        return self.steps.get(name) or self.primitives[name]

    def outstanding(self, name: str) -> int:
        """How many packets may still come to a step, or are not yet acknowledged by it.

        Those that its needs have not yet sent are not among them; nor are parts of a packet whose others may not come.
        """
        step = self.steps[name]
        total = held_of(step) + step.delivery.pending
        for node in self._before(name):
            total += len(node.inbox) if isinstance(node, LiveStep) else held_of(node)
        return total

    def _before(self, name: str) -> Iterator[LiveNode]:
        """The steps whose packets a step receives, and the primitives between them and it, each once."""
        seen = {name}
        pending = [name]
        while pending:
            for source in self.routes.sources[pending.pop()]:
                if source in seen:
                    continue
                seen.add(source)
                node = self.node(source)
                yield node
                if isinstance(node, LivePrimitive):
                    pending.append(source)

    @property
    def is_busy(self) -> bool:
        """Whether there is something that a client can still take, or has to acknowledge."""
        return any(held_of(node) for _, node in self._nodes()) or any(
            (step.link is not None and (step.delivery.waiting or step.delivery.in_flight))
            or (step.inbox and any(isinstance(each, LiveStep) and each.link is not None for each in step.reach))
            for step in self.steps.values()
        )

    def has_left(self, name: str, *, besides: int = 0) -> bool:
        """Whether there are, or may still come, more than ``besides`` packets for a step: of its producers, or waiting.

        Of a step without producers, or one that has finished: whether there may still be packets of its own.
        """
        step = self.steps[name]
        if name in self._finished:
            return step.link is not None or bool(step.inbox)
        producers = [node for node in self._before(name) if isinstance(node, LiveStep)] or [step]
        is_open = any(each.link is not None or each.inbox for each in producers)
        return bool(is_open or self.outstanding(name) > besides or step.delivery.kept_bytes)

    def is_finished(self, name: str) -> bool:
        """Whether no client of a step takes packets any more."""
        return name in self._finished

    def finish(self, name: str) -> None:
        """No client of a step will come again: what waits for it is lost, and its producers need not wait for it."""
        if name in self._finished:
            return
        self._finished.add(name)
        self._connect()
        step = self.steps[name]
        if step.spec.runs_jobs and step.link is not None:
            self.detach(name, step.link)
        step.delivery.abandon()
        if step.intake is not None:
            step.refused[Loss.RUN_ENDED] += step.intake.abandon()
        step.news.set()  # its sender lets the producers go on
        if self._hooks is not None:
            self._hooks.finished(name)

    async def serve(self) -> None:
        """Deliver until cancelled. Then everything that is pending counts as lost."""
        try:
            async with trio.open_nursery() as nursery:
                for name, step in self.steps.items():
                    nursery.start_soon(self._send, step, name=f"sender of {self.routes.run}/{name}")
                if self._flow is not None:
                    nursery.start_soon(self._flow.serve, self.steps, self.primitives)
        finally:
            self.ended.set()
            for step in self.steps.values():
                step.delivery.abandon()
                lost = len(step.inbox) + step.chunks.held + (step.intake.abandon() if step.intake is not None else 0)
                step.refused[Loss.RUN_ENDED] += lost
                step.inbox.clear()
            for primitive in self.primitives.values():
                lost = len(primitive.held) + (primitive.intake.abandon() if primitive.intake is not None else 0)
                primitive.refused[Loss.RUN_ENDED] += lost
                primitive.held.clear()

    def is_held(self, name: str) -> bool:
        """Whether the packets of a step wait for a full receiver."""
        return self._pressure.is_held(name)

    def held_by(self, name: str) -> tuple[str, ...]:
        """The full steps that the packets of a step wait for."""
        return self._pressure.holders(name)

    # What sessions do.

    def can_attach(self, name: str) -> bool:
        """Whether what former sessions of the step have left is small enough for a further one."""
        return self.steps[name].inbox_bytes <= MAX_INBOX_BYTES

    def attach(self, name: str, link: StepLink, *, is_known: bool = False, accepted: int | None = None) -> None:
        """``link`` serves the step; the former one does no longer. ``is_known``: its process is the same as before.
        ``accepted``: how many packets that knows as accepted; None: it does not keep them until they are.
        """
        step = self.steps[name]
        if step.link is not None:
            self._leave(step)
        late = self._acceptances[name]
        if is_known and accepted is not None:  # it sends again what was not routed
            step.inbox = deque(each for each in step.inbox if each[0] is not late.link)
            step.inbox_bytes = sum(len(message) for _, message in step.inbox)
        late.attached(link, accepted, is_known=is_known)
        step.link = link
        step.clock = ReadingClock(trio.current_time())
        step.delivery.connected(is_known=is_known)
        step.news.set()
        if self._hooks is not None:
            self._hooks.connected(name)

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
        step.delivery.export_samples(trio.current_time())
        self._push(step)
        self._tell_producers(step)

    def written(self, name: str, link: StepLink, *, everything: bool) -> None:
        """The session has written to its client, perhaps everything."""
        step = self.steps[name]
        if step.link is not link:
            return
        if everything:
            step.delivery.flushed()
            step.delivery.export_samples(trio.current_time())
        if step.delivery.waiting:
            self._push(step)

    # Routing.

    def route(self, step: LiveStep, most: int = ROUTED_AT_ONCE) -> bool:
        """Pass packets of ``step`` on to those that need it; returns whether it has stopped because of ``most``."""
        now = trio.current_time()
        inbox, late = step.inbox, self._acceptances[step.name]
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
            if sender is not late.link:
                outcome = self._pass_on(step, message, now)
            else:
                outcome = self._pass_on_late(step, late, message, now)
            if outcome is None:
                is_held = True
                break
            inbox.popleft()
            step.inbox_bytes -= len(message)
            consumed += 1
            packets += outcome and sender is not late.link
            offered += 1
        if link is not None:
            link.consumed(consumed, packets)
        if not is_held and not step.clock.is_running:
            step.news.set()  # copies may grow old again, and make room
        step.clock.run(now, running=not is_held)
        if offered:
            for target in step.reach:
                self.settle(target)
            late.tell()
        return bool(inbox) and not is_held

    def _pass_on_late(self, step: LiveStep, late: Acceptance, message: bytes, now: float) -> bool | None:
        """The same for a client that keeps its packets until they are accepted, and may send them again."""
        if late.is_repeating:
            try:
                is_packet = not self._checker.read(message)[0].is_heartbeat
            except MessageError:
                is_packet = True
            late.repeated(is_packet)
            return is_packet
        before = late.before()
        outcome = self._pass_on(step, message, now)
        if outcome:
            late.routed(before, is_whole=not step.chunks.held)
        return outcome

    def _pass_on(self, step: LiveStep, message: bytes, now: float) -> bool | None:
        """Whether ``message`` was a packet, and not a heartbeat; None if a receiver has no room for it."""
        place: StreamEnvelope | None = None
        try:
            packet, content = self._checker.read(message)
            if packet.chunk is not None and packet.chunk.is_chunk:
                place = packet.chunk
                whole = step.chunks.add(message, now)
                if whole is None:
                    return True
                packet, content = self._checker.read(whole)
        except MessageError as error:
            return self._refuse(step, PacketRefusal.INVALID, str(error), place)
        if packet.is_heartbeat:
            step.heartbeats += 1
            return False
        if not packet.has_content:
            return self._refuse(step, PacketRefusal.EMPTY, "", place)
        if packet.pairs >= _MAX_OWN_PAIRS and packet.pairs + step.gives_keys > _MAX_OWN_PAIRS and step.targets:
            why = f"more than {MAX_PAIRS} pairs of metadata, those of the hub included"
            return self._refuse(step, PacketRefusal.INVALID, why, place)
        size = len(packet.body)
        if step.emission is None:
            for receiver in step.receivers:
                if receiver.must_wait(size):
                    self.hold(next(target for target in step.targets if target.gate is receiver.gate))
                    return None
            step.received += 1
            if step.is_observed:
                step.observe_passed(packet, content)
            for receiver in step.receivers:
                receiver.offer(packet, size, now)
        else:
            for target in step.reach:
                if target.must_wait(size):
                    self.hold(target)
                    return None
            step.received += 1
            assert self._flow is not None
            self._flow.distribute(step, packet, content, now)
        if place is not None:
            step.chunks.done(place)
        return True

    def _refuse(self, step: LiveStep, reason: PacketRefusal, why: str, place: StreamEnvelope | None) -> bool:
        """A packet, perhaps one in chunks, goes nowhere; its stream goes on."""
        if place is not None:
            step.chunks.done(place)
        step.received += 1
        step.troubles.note(reason, why)
        return True

    def _tell_producers(self, node: LiveNode) -> None:
        for name in self._producers[node.name]:
            if (late := self._acceptances.get(name)) is not None and late.is_open:
                late.tell()

    def settle(self, node: LiveNode) -> None:
        """Packets have come to ``node``: send what may be sent now, and hold its producers if it is full."""
        if isinstance(node, LiveStep):
            self._push(node)
            blocks = node.delivery.settings.blocks
        else:
            blocks = True
        gate = node.gate
        if blocks and not gate.is_closed and gate.update(node.fill()):
            self._pressure.hold(node.name)
        self._tell_producers(node)

    def hold(self, node: LiveNode) -> None:
        """``node`` has no room: its producers wait until it has."""
        node.gate.is_closed = True
        self._pressure.hold(node.name)

    async def relieve(self, node: LiveNode) -> None:
        """Let the producers go on if there is room again. They take turns in being the first."""
        gate = node.gate
        if not (gate.is_closed and gate.update(node.fill())):
            return
        names = self._pressure.release(node.name)
        node.turn += 1
        for number in range(len(names)):
            producer = self.node(names[(number + node.turn) % len(names)])
            if isinstance(producer, LivePrimitive):
                producer.news.set()
                continue
            while self.route(producer):
                await trio.lowlevel.checkpoint()

    # Sending.

    def _push(self, step: LiveStep) -> None:
        """Send what may be sent now. What has to wait for the time, or for others, is left to the sender."""
        now = trio.current_time()
        delivery = step.delivery
        if step.link is not None and (messages := delivery.take(now, step.link.room())):
            step.link.send(messages)
            if step.intake is not None and step.intake.queue:
                step.work.set()  # there is room for what was evaluated
        if delivery.gate.is_closed or self._due(step, now) < step.sleeps_until:
            step.news.set()

    def _due(self, step: LiveStep, now: float) -> float:
        return step.delivery.due(now, step.clock.read(now), is_reading=step.clock.is_running)

    async def _send(self, step: LiveStep) -> None:
        """The sender of a step: repetitions, expiry, and letting producers go on."""
        while True:
            now = trio.current_time()
            waiting = step.delivery.waiting
            step.delivery.expire(now, step.clock.read(now))
            if step.delivery.waiting < waiting:
                step.work.set()
            self._report_dead(step)
            self._push(step)
            self._tell_producers(step)
            step.news = trio.Event()
            await self.relieve(step)
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
