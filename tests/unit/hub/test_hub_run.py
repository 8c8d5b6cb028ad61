"""Time and pressure in a run, with clients that are only recorded. (hub/run.py)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing

from bubu_wire.codec import decode, encode
from bubu_wire.messages import DataResponse
from core.api.objects import NamespacedName
from hub import delivery as deliveries
from hub.packets import PacketChecker
from hub.receipts import Receipt
from hub.routes import StreamStep, compile_routes, stream_id_of
from hub.run import LiveRun
from hub.settings import DeliverySettings, Ordering
from tests.unit.hub.modelled_client import text_packet

RUN = NamespacedName("team", "run-1")
ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM, max_messages=4, window_messages=2)
PACKET = encode(text_packet("a"))


@dataclass
class RecordedLink:
    """A session that notes what is sent and consumed."""

    sent: list[bytes] = field(default_factory=list)
    accepted: int = 0
    space: int = 1_000_000

    def room(self) -> int:
        return self.space

    def send(self, messages: Sequence[bytes]) -> None:
        self.sent += messages

    def consumed(self, messages: int, packets: int) -> None:
        self.accepted += packets

    def receipts(self, count: int) -> list[Receipt]:
        """Of the oldest packets that have none yet."""
        done, self.sent = self.sent[:count], self.sent[count:]
        places = [decode(DataResponse, message).envelope for message in done]
        return [Receipt(place.stream_id, place.partition, place.sequence) for place in places if place is not None]


def chain(settings: DeliverySettings = ALO) -> tuple[LiveRun, RecordedLink, RecordedLink, RecordedLink]:
    """a → b → c, all connected."""
    steps = [StreamStep("a"), StreamStep("b", ("a",), settings), StreamStep("c", ("b",), settings)]
    run = LiveRun(compile_routes(RUN, "story", steps), "1", PacketChecker())
    links = (RecordedLink(), RecordedLink(), RecordedLink())
    for name, link in zip("abc", links, strict=True):
        run.attach(name, link)
    return run, *links


async def test_a_held_producer_goes_on_at_half_of_the_buffer(autojump_clock: trio.testing.MockClock) -> None:
    run, a, b, _ = chain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        run.arrived("a", a, [PACKET] * 20)
        await trio.sleep(1)
        assert (len(b.sent), run.steps["b"].delivery.waiting, len(run.steps["a"].inbox)) == (2, 4, 14)
        assert run.is_held("a")
        run.receipts("b", b.receipts(1))
        await trio.sleep(1)
        assert a.accepted == 6  # three of four wait
        run.receipts("b", b.receipts(1))
        await trio.sleep(1)
        assert a.accepted == 8
        for _ in range(20):
            run.receipts("b", b.receipts(1))
            await trio.sleep(1)
        assert (a.accepted, run.steps["b"].delivery.counts.delivered, run.is_held("a")) == (20, 20, False)
        nursery.cancel_scope.cancel()


async def test_copies_grow_old_again_when_their_step_is_read_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a step whose copies fill their space would wait for ever."""
    monkeypatch.setattr(deliveries, "LINGER_BYTES", 1)
    run, a, b, c = chain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        run.arrived("b", b, [PACKET] * 7)  # c is full: b is held
        run.arrived("a", a, [PACKET] * 4)
        run.receipts("b", b.receipts(2))
        await trio.sleep(60)
        assert run.is_held("b")
        assert b.sent == []  # the copies do not grow old
        for _ in range(2):
            run.receipts("c", c.receipts(2))
            await trio.sleep(1)
        assert not run.is_held("b")
        assert len(b.sent) == 2
        nursery.cancel_scope.cancel()


async def test_unacknowledged_packets_are_sent_again_by_the_clock(autojump_clock: trio.testing.MockClock) -> None:
    run, a, b, _ = chain(replace(ALO, redeliver_seconds=10, max_attempts=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        await trio.testing.wait_all_tasks_blocked()
        run.arrived("a", a, [PACKET])
        await trio.sleep(9.9)
        assert len(b.sent) == 1
        await trio.sleep(0.2)
        assert len(b.sent) == 2
        assert b.sent[0] == b.sent[1]
        await trio.sleep(20)
        assert run.steps["b"].delivery.counts.lost == {deliveries.Loss.RETRY_EXHAUSTED: 1}
        nursery.cancel_scope.cancel()


async def test_a_connection_without_room_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    run, a, b, _ = chain()
    b.space = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        run.arrived("a", a, [PACKET])
        await trio.sleep(1)
        assert b.sent == []
        b.space = 1
        run.written("b", b, everything=True)
        assert len(b.sent) == 1
        nursery.cancel_scope.cancel()


async def test_producers_take_turns_at_a_full_receiver(autojump_clock: trio.testing.MockClock) -> None:
    steps = [StreamStep("left"), StreamStep("right"), StreamStep("sink", ("left", "right"), ALO)]
    run = LiveRun(compile_routes(RUN, "story", steps), "1", PacketChecker())
    left, right, sink = RecordedLink(), RecordedLink(), RecordedLink()
    for name, link in (("left", left), ("right", right), ("sink", sink)):
        run.attach(name, link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        run.arrived("left", left, [PACKET] * 200)
        run.arrived("right", right, [PACKET] * 200)
        for _ in range(100):
            run.receipts("sink", sink.receipts(1))
            await trio.sleep(0.01)
        assert min(left.accepted, right.accepted) > 30
        nursery.cancel_scope.cancel()


async def test_the_end_of_a_run_counts_all_that_it_holds() -> None:
    run, a, b, _ = chain()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.serve)
            await trio.testing.wait_all_tasks_blocked()
            run.arrived("a", a, [PACKET] * 20)
            run.receipts("b", b.receipts(1))
            scope.cancel()
    step = run.steps["b"]

    counts = step.delivery.counts
    assert counts.offered + run.steps["a"].refused[deliveries.Loss.RUN_ENDED] == 20
    assert counts.offered == counts.delivered + counts.lost[deliveries.Loss.RUN_ENDED]
    assert (step.delivery.kept_bytes, len(run.steps["a"].inbox)) == (0, 0)


def test_names_of_streams_are_short_and_never_equal() -> None:
    long = NamespacedName("n" * 63, "r" * 200)
    names = {
        stream_id_of(run, step, epoch)
        for run in (RUN, long, NamespacedName("team", "run-1/x"))
        for step in ("x", "y", "x/y", "z" * 200)
        for epoch in ("1", "2")
    }

    assert len(names) == 24 - 2  # "team/run-1/x" + "y" is "team/run-1" + "x/y", and neither name has a slash
    assert all(len(name.encode()) <= 96 for name in names)
