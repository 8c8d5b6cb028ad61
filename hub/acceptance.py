"""When the client of a step is told that the hub has accepted its packets (``upstream.accepted``).

A client that keeps its packets until then, and says which process it is, loses nothing when the hub dies: a packet
counts as accepted once each step that must get it at least once has acknowledged it, or once it is known that the
packet does not go there. What waits in a join or in a primitive counts as accepted: else one branch that is silent for
minutes would hold all others. When the process connects again it says how many of its packets are accepted, and sends
the others again; those that this hub has are not routed again. Pure. Source: streaming contract 10 and 11.3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hub.delivery import StepDelivery
from hub.nodes import LiveNode, LiveStep, StepLink


@dataclass(slots=True)
class _Sent:
    """A packet that is routed and not accepted, with the parts in which it came."""

    packets: int
    deliveries: list[tuple[StepDelivery, int]]
    """Where it may wait, with its place in the order of acceptance."""
    queues: list[tuple[LiveNode, int]]
    """Where it may wait for its evaluation, with its place among all that came there."""


@dataclass(slots=True)
class Acceptance:
    """The packets of one step whose client keeps them. Packets are counted from the start of its process."""

    link: StepLink | None = None
    """The session of such a client, also after its end; None: there is none."""
    _reach: tuple[LiveNode, ...] = ()
    _deliveries: tuple[StepDelivery, ...] = ()
    _open: deque[_Sent] = field(default_factory=deque)
    _parts: int = 0
    """Parts of a packet that is not complete."""
    _arrived: int = 0
    _routed: int = 0
    _accepted: int = 0
    _told: int = 0

    def attached(self, link: StepLink, accepted: int | None, *, is_known: bool) -> None:
        """The step has a session.

        Args:
            accepted: how many of its packets the process knows as accepted; None: it keeps none.
            is_known: its process is the same as before.
        """
        if accepted is None or not is_known:
            self._open.clear()
            self._parts = self._routed = self._accepted = 0
        self.link = link if accepted is not None else None
        self._arrived = self._told = accepted or 0
        self._routed, self._accepted = max(self._routed, self._told), max(self._accepted, self._told)

    def reaches(self, reach: tuple[LiveNode, ...]) -> None:
        """Packets go to these steps from now on."""
        self._reach = reach
        self._deliveries = tuple(_at_least_once(reach))

    @property
    def is_repeating(self) -> bool:
        """Whether the next packet of the client has come before."""
        return self._arrived < self._routed

    @property
    def is_open(self) -> bool:
        """Whether the client has to be told of packets."""
        return bool(self._open) or self._told < min(self._arrived, self._accepted)

    def repeated(self, is_packet: bool) -> None:
        """A packet has come that was routed before, or a heartbeat between such packets."""
        self._arrived += is_packet

    def before(self) -> list[int]:
        """For ``routed``: what to compare with."""
        return [delivery.order for delivery in self._deliveries]

    def routed(self, before: list[int], *, is_whole: bool) -> None:
        """A packet was routed; not ``is_whole``: it is a part of one, and the others are awaited."""
        self._arrived += 1
        self._routed += 1
        if not is_whole:
            self._parts += 1
            return
        deliveries = [
            (each, each.order) for each, earlier in zip(self._deliveries, before, strict=True) if each.order != earlier
        ]
        self._open.append(_Sent(self._parts + 1, deliveries, list(_queues(self._reach))))
        self._parts = 0

    def tell(self) -> None:
        """Tell the client what is accepted since the last time."""
        done: dict[StepDelivery, int] = {}
        while self._open and _is_settled(self._open[0], done):
            self._accepted += self._open.popleft().packets
        news = min(self._arrived, self._accepted) - self._told
        if news > 0 and self.link is not None:
            self._told += news
            self.link.consumed(0, news)


def _is_settled(sent: _Sent, done: dict[StepDelivery, int]) -> bool:
    """``done``: up to which packet each delivery is known to have come."""
    while sent.queues:
        if any(_waits(node, number) for node, number in sent.queues):
            return False
        passed = {node.name for node, _ in sent.queues}
        behind = {each.name: each for node, _ in sent.queues for each in (node, *node.reach)}
        sent.deliveries += [(each, each.order) for each in _at_least_once(behind.values())]
        sent.queues = list(_queues(each for name, each in behind.items() if name not in passed))
    for delivery, order in sent.deliveries:
        if (settled := done.get(delivery)) is None:
            settled = done[delivery] = delivery.settled
        if settled < order:
            return False
    return True


def _waits(node: LiveNode, number: int) -> bool:
    """Whether the packet that came to ``node`` as this one is still in its queue, which is in order."""
    intake = node.intake
    return intake is not None and len(intake.queue) > intake.arrived - number


def _queues(nodes: Iterable[LiveNode]) -> Iterator[tuple[LiveNode, int]]:
    return ((node, node.intake.arrived) for node in nodes if node.intake is not None and node.intake.queue)


def _at_least_once(nodes: Iterable[LiveNode]) -> Iterator[StepDelivery]:
    return (node.delivery for node in nodes if isinstance(node, LiveStep) and node.delivery.settings.at_least_once)
