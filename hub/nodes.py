"""The steps of a live run: Engrams, which have a client and an inbox, and primitives, through which packets go."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from bubu_wire.inspection import Inspected
from hub.chunks import ChunkAssembler
from hub.delivery import StepDelivery
from hub.pressure import FillGate, ReadingClock
from hub.routes import PASSES_AT_ONCE, StreamStep
from hub.troubles import Troubles

if TYPE_CHECKING:  # a run in which nothing is evaluated does not load what evaluates
    from hub.intake import Intake
    from hub.taps import StreamTap
    from hub.work import Passage, SourceWork

MAX_HELD: Final = 1_000
"""Packets that sleep in a primitive, or wait for its StoryRuns."""
MAX_HELD_BYTES: Final = 10 * 1024 * 1024


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
    troubles: Troubles
    """Packets *of* this step that went nowhere, and packets *to* it that did not come as far as ``delivery``."""
    targets: tuple[LiveNode, ...] = ()
    """The steps that need it."""
    reach: tuple[LiveNode, ...] = ()
    """All steps that can keep its packets: behind primitives, too."""
    receivers: tuple[StepDelivery, ...] = ()
    """Those of ``targets``, if all of them take its packets as they are."""
    emission: SourceWork | None = None
    """What is said about its packets; None if they go on as they are."""
    gives_keys: bool = False
    """Whether its packets get a join key if they have none, because steps behind it join them."""
    intake: Intake | None = None
    """What is evaluated for the step; None if it takes packets as they are."""
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
    received: int = 0
    """Packets of this step, heartbeats not counted."""
    heartbeats: int = 0
    silences: int = 0
    """Sessions that were ended because the client gave no sign of life."""
    work: trio.Event = field(default_factory=trio.Event)
    """Something for the task that works the intake off."""
    works_at: float = -math.inf
    """When that task wakes up by itself; minus infinity while it is awake."""
    taps: tuple[StreamTap, ...] = ()
    """Those of people who look at its packets."""
    is_observed: bool = False
    """Whether it has taps, or a step that takes its packets as they are."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def gate(self) -> FillGate:
        return self.delivery.gate

    @property
    def refused(self) -> Counter[str]:
        """Lost packets of the step, and to it before they were delivered, by reason."""
        return self.troubles.counts

    @property
    def skipped(self) -> Counter[str]:
        """Packets that were not meant for the step."""
        return self.intake.skipped if self.intake is not None else Counter()

    @property
    def trouble(self) -> str:
        """Why the last packet was lost; empty if none was."""
        return self.troubles.last

    def observe_sent(self, packet: Inspected, content: Mapping[str, Any] | None) -> None:
        """Show a packet of the step to those who look at it."""
        for tap in self.taps:
            tap.sent([target.name for target in self.targets], packet, content)

    def observe_got(self, source: str, packet: Inspected, content: Mapping[str, Any] | None = None) -> None:
        """Show a packet that comes to the step from ``source`` to those who look at it."""
        for tap in self.taps:
            tap.got(source, packet, content)

    def observe_passed(self, packet: Inspected, content: Mapping[str, Any] | None) -> None:
        """A packet of the step goes to all its targets as it is."""
        self.observe_sent(packet, content)
        for target in self.targets:
            if isinstance(target, LiveStep):
                target.observe_got(self.name, packet, content)

    def must_wait(self, size: int) -> bool:
        """Whether a packet of this size cannot go to the step now: its producer must wait."""
        return self.delivery.must_wait(size) or (self.intake is not None and self.intake.is_full)

    def fill(self) -> float:
        """How full it is, in percent."""
        filled = self.delivery.fill()
        return filled if self.intake is None else max(filled, self.intake.fill())


@dataclass(slots=True)
class HeldPassage:
    """A packet in a primitive, until it goes on."""

    passage: Passage
    since: float
    """When it came."""
    is_begun: bool = False
    """Whether its StoryRun was ordered."""
    is_over: bool = False
    """Whether it may go on, as soon as those before it have."""
    is_lost: bool = False
    """It has nothing that could go on."""


@dataclass(slots=True)
class LivePrimitive:
    """A primitive of a live run."""

    spec: StreamStep
    troubles: Troubles
    gate: FillGate
    intake: Intake | None = None
    """What is evaluated before a packet is in the primitive."""
    targets: tuple[LiveNode, ...] = ()
    reach: tuple[LiveNode, ...] = ()
    held: deque[HeldPassage] = field(default_factory=deque)
    """In the order in which they came, which is the order in which they go on."""
    held_bytes: int = 0
    turn: int = 0
    news: trio.Event = field(default_factory=trio.Event)
    """Something for the task that lets packets go on."""
    work: trio.Event = field(default_factory=trio.Event)
    """Something for the task that works the intake off."""
    works_at: float = -math.inf

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def refused(self) -> Counter[str]:
        return self.troubles.counts

    @property
    def skipped(self) -> Counter[str]:
        return self.intake.skipped if self.intake is not None else Counter()

    @property
    def trouble(self) -> str:
        return self.troubles.last

    @property
    def passes_at_once(self) -> bool:
        return self.spec.kind in PASSES_AT_ONCE

    @property
    def is_full(self) -> bool:
        return len(self.held) >= MAX_HELD or self.held_bytes >= MAX_HELD_BYTES

    def must_wait(self, size: int) -> bool:
        return self.is_full or (self.intake is not None and self.intake.is_full)

    def fill(self) -> float:
        by_held = 100.0 * max(len(self.held) / MAX_HELD, self.held_bytes / MAX_HELD_BYTES)
        return by_held if self.intake is None else max(by_held, self.intake.fill())


LiveNode = LiveStep | LivePrimitive


def reach_of(node: LiveNode) -> Iterator[LiveNode]:
    """Each step that may have to keep a packet of ``node``, once."""
    seen: set[str] = set()
    pending = list(reversed(node.targets))
    while pending:
        target = pending.pop()
        if target.name in seen:
            continue
        seen.add(target.name)
        yield target
        if target.spec.kind in PASSES_AT_ONCE:
            pending += reversed(target.targets)


def producers_of(nodes: Mapping[str, LiveNode]) -> dict[str, tuple[str, ...]]:
    """For each step those that it holds when it is full."""
    return {
        name: tuple(other for other, node in nodes.items() if any(each.name == name for each in node.reach))
        for name in nodes
    }


def held_of(node: LiveNode) -> int:
    """Packets that have not gone as far as the buffer of a step, or wait in a primitive."""
    held = node.intake.held if node.intake is not None else 0
    return held + (len(node.held) if isinstance(node, LivePrimitive) else 0)
