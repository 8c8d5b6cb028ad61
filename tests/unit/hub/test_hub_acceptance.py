"""A client that keeps its packets until they are accepted loses none, and none is routed twice. (hub/acceptance.py)"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import decode, encode
from bubu_wire.messages import BinaryFrame, DataRequest, DataResponse, StreamEnvelope
from core.api.objects import NamespacedName
from hub.acceptance import Acceptance
from hub.delivery import StepDelivery
from hub.nodes import LiveStep
from hub.packets import PacketChecker
from hub.receipts import Receipt
from hub.routes import StreamStep, compile_routes
from hub.run import LiveRun
from hub.settings import DEFAULT_DELIVERY, DeliverySettings, Ordering
from hub.troubles import Troubles
from tests.unit.hub.modelled_client import text_packet
from tests.unit.hub.stand import until

RUN = NamespacedName("team", "run-1")
ALO = DeliverySettings(
    at_least_once=True, ordering=Ordering.PER_STREAM, window_messages=4, max_messages=100, redeliver_seconds=1e6
)
HEARTBEAT = encode(DataRequest(metadata={"bubu-heartbeat": "true"}))


@dataclass
class Link:
    """A session that notes what it is told, and what is sent to it."""

    accepted: int = 0
    sent: list[bytes] = field(default_factory=list)

    def room(self) -> int:
        return 1_000_000

    def send(self, messages: Sequence[bytes]) -> None:
        self.sent += messages

    def consumed(self, messages: int, packets: int) -> None:
        self.accepted += packets

    def texts(self) -> list[str]:
        return [text_of(message) for message in self.sent]

    def receipts(self, *indexes: int) -> list[Receipt]:
        places = [decode(DataResponse, self.sent[index]).envelope for index in indexes]
        return [Receipt(place.stream_id, place.partition, place.sequence) for place in places if place is not None]


def text_of(message: bytes) -> str:
    frame = decode(DataResponse, message).frame
    assert isinstance(frame, BinaryFrame)
    return frame.payload.decode()


def packets(*texts: str) -> list[bytes]:
    return [encode(text_packet(text)) for text in texts]


def fork(b: DeliverySettings = ALO, c: DeliverySettings | None = None) -> LiveRun:
    """a → b, and a → c if it has settings."""
    steps = [StreamStep("a"), StreamStep("b", ("a",), b)]
    steps += [StreamStep("c", ("a",), c)] if c is not None else []
    return LiveRun(compile_routes(RUN, "story", steps), "1", PacketChecker())


async def test_packets_are_accepted_in_order_once_their_receiver_has_acknowledged_them() -> None:
    run, a, b = fork(), Link(), Link()
    run.attach("a", a, accepted=0)
    run.attach("b", b)
    run.arrived("a", a, packets("0", "1", "2"))
    assert (b.texts(), a.accepted) == (["0", "1", "2"], 0)
    run.receipts("b", b.receipts(1))
    assert a.accepted == 0, "the first one is not acknowledged"
    run.receipts("b", b.receipts(0))
    assert a.accepted == 2
    run.receipts("b", b.receipts(2))
    assert a.accepted == 3


async def test_a_client_that_keeps_nothing_is_told_at_once() -> None:
    run, a = fork(), Link()
    run.attach("a", a)
    run.arrived("a", a, packets("0", "1"))
    assert a.accepted == 2


async def test_only_receivers_at_least_once_are_awaited() -> None:
    run, a, c = fork(DEFAULT_DELIVERY, ALO), Link(), Link()
    run.attach("a", a, accepted=0)
    run.attach("c", c)
    run.arrived("a", a, packets("0"))
    assert a.accepted == 0
    run.receipts("c", c.receipts(0))
    assert a.accepted == 1


async def test_a_packet_that_goes_nowhere_is_accepted() -> None:
    run, a = fork(), Link()
    run.attach("a", a, accepted=0)
    run.arrived("a", a, [b"\xff", encode(DataRequest()), HEARTBEAT])
    assert a.accepted == 2


async def test_what_waits_for_a_step_that_has_finished_is_accepted(autojump_clock: trio.testing.MockClock) -> None:
    run, a = fork(), Link()
    run.attach("a", a, accepted=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        run.arrived("a", a, packets("0", "1"))
        assert a.accepted == 0
        run.finish("b")
        await trio.testing.wait_all_tasks_blocked()
        assert a.accepted == 2
        nursery.cancel_scope.cancel()


async def test_a_process_that_connects_again_sends_nothing_twice() -> None:
    run, a, b = fork(), Link(), Link()
    run.attach("a", a, accepted=0)
    run.attach("b", b)
    run.arrived("a", a, packets("0", "1", "2"))
    run.receipts("b", b.receipts(0))
    run.detach("a", a)
    again = Link()
    run.attach("a", again, accepted=0, is_known=True)  # the news of the first one was lost with the connection
    run.arrived("a", again, [*packets("0"), HEARTBEAT, *packets("1", "2", "3")])
    assert (b.texts(), again.accepted) == (["0", "1", "2", "3"], 1)
    run.receipts("b", b.receipts(1, 2, 3))
    assert again.accepted == 4


async def test_what_was_received_and_not_routed_comes_again() -> None:
    run, a = fork(DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM, max_messages=2)), Link()
    run.attach("a", a, accepted=0)
    run.arrived("a", a, packets("0", "1", "2", "3"))  # two wait for b, two for room
    run.detach("a", a)
    again, b = Link(), Link()
    run.attach("a", again, accepted=0, is_known=True)
    run.arrived("a", again, packets("0", "1", "2", "3"))
    run.attach("b", b)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        await until(lambda: len(b.sent) == 4)
        nursery.cancel_scope.cancel()
    assert b.texts() == ["0", "1", "2", "3"]


async def test_another_process_is_another_source() -> None:
    run, a, b = fork(), Link(), Link()
    run.attach("a", a, accepted=0)
    run.attach("b", b)
    run.arrived("a", a, packets("0", "1"))
    run.detach("a", a)
    other = Link()
    run.attach("a", other, accepted=0)
    run.arrived("a", other, packets("0"))
    assert b.texts() == ["0", "1", "0"]
    run.receipts("b", b.receipts(0, 1))
    assert (a.accepted, other.accepted) == (0, 0)
    run.receipts("b", b.receipts(2))
    assert other.accepted == 1


async def test_parts_are_accepted_with_their_whole() -> None:
    def part(index: int) -> bytes:
        place = StreamEnvelope("s", chunk_id="x", chunk_index=index, chunk_count=2)
        return encode(DataRequest(BinaryFrame(b"ab", "text/plain"), envelope=place))

    run, a, b = fork(), Link(), Link()
    run.attach("a", a, accepted=0)
    run.attach("b", b)
    run.arrived("a", a, [part(0)])
    assert a.accepted == 0
    run.arrived("a", a, [part(1)])
    assert (b.texts(), a.accepted) == (["abab"], 0)
    run.receipts("b", b.receipts(0))
    assert a.accepted == 2


@dataclass
class Queue:
    """An intake: packets that wait for their evaluation."""

    arrived: int = 0
    queue: deque[Any] = field(default_factory=deque)


def waiting_step(name: str) -> tuple[LiveStep, Queue]:
    intake = Queue()
    spec = StreamStep(name, delivery=ALO)
    return LiveStep(spec, StepDelivery(ALO, name, {}), Troubles(name), intake=intake), intake  # type: ignore[arg-type]


def test_what_waits_for_its_evaluation_is_not_accepted_before_it_is_delivered() -> None:
    (b, queue), link, late = waiting_step("b"), Link(), Acceptance()
    late.reaches((b,))
    late.attached(link, 0, is_known=False)
    before = late.before()
    queue.arrived += 1
    queue.queue.append("0")
    late.routed(before, is_whole=True)
    late.tell()
    assert link.accepted == 0
    queue.arrived += 1
    queue.queue.append("of another step")
    queue.queue.popleft()
    packet = PacketChecker().check(packets("0")[0])
    b.delivery.offer(packet, 1, 0.0)
    late.tell()
    assert link.accepted == 0, "it has left the queue, and is not delivered"
    b.delivery.connected()
    b.delivery.take(0.0, 1_000)
    b.delivery.receipt("b", "", 1, 0.0)
    late.tell()
    assert link.accepted == 1


@dataclass
class Producer:
    """A client that keeps its packets until they are accepted, as the Python SDK does."""

    made: int = 0
    kept: list[str] = field(default_factory=list)
    """Those that are not accepted, oldest first."""
    accepted: int = 0
    handed: int = 0
    """How many of ``kept`` the connection has."""
    link: Link = field(default_factory=Link)

    def connects(self) -> None:
        self.learns()
        self.link, self.handed = Link(), 0

    def learns(self) -> None:
        assert self.link.accepted <= self.handed, "more packets than were sent are accepted"
        del self.kept[: self.link.accepted]
        self.handed -= self.link.accepted
        self.accepted += self.link.accepted
        self.link.accepted = 0

    def hands(self, most: int) -> list[bytes]:
        taken = self.kept[self.handed :][:most]
        self.handed += len(taken)
        return packets(*taken)


@given(seed=st.integers(0, 2**32), deaths=st.booleans(), losses=st.booleans())
def test_nothing_is_lost_and_connections_repeat_nothing(seed: int, deaths: bool, losses: bool) -> None:
    """``deaths`` of the hub, and ``losses`` of news with a connection."""
    trio.run(_play, Random(seed), deaths, losses)


async def _play(chance: Random, deaths: bool, losses: bool) -> None:
    run, producer, b, got = fork(), Producer(), Link(), Counter[str]()

    def begin(is_known: bool) -> None:
        if not losses:
            producer.learns()
        producer.link.accepted = 0
        producer.connects()
        run.attach("a", producer.link, accepted=producer.accepted, is_known=is_known)

    def receive(count: int) -> None:
        for index in sorted(chance.sample(range(len(b.sent)), min(count, len(b.sent))), reverse=True):
            got[text_of(b.sent[index])] += 1
            [receipt] = b.receipts(index)
            del b.sent[index]
            run.receipts("b", [receipt])

    begin(is_known=False)
    run.attach("b", b)
    for action in _actions(chance, deaths):
        if action == "send":
            fresh = [str(producer.made + number) for number in range(chance.randrange(4))]
            producer.made += len(fresh)
            producer.kept += fresh
            run.arrived("a", producer.link, producer.hands(chance.randrange(6)))
        elif action == "receive":
            receive(chance.randrange(4))
        elif action == "learn":
            producer.learns()
        elif action == "break":
            run.detach("a", producer.link)
            begin(is_known=True)
        else:
            run, b = fork(), Link()
            begin(is_known=False)
            run.attach("b", b)
    for _ in range(2 * producer.made + 2):
        run.arrived("a", producer.link, producer.hands(100))
        receive(100)
        producer.learns()
    assert producer.kept == []
    assert got.keys() == {str(number) for number in range(producer.made)}
    assert deaths or set(got.values()) <= {1}


def _actions(chance: Random, deaths: bool) -> Iterator[str]:
    for _ in range(60):
        yield chance.choice(["send", "send", "receive", "receive", "learn", "break", *(["die"] if deaths else [])])
