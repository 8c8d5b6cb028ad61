"""Taps: what they see, and what they never cost. (hub/taps.py, hub/run.py, hub/flow.py)"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing

from core.story.kinds import StepKind
from hub.delivery import Loss
from hub.packets import PacketChecker
from hub.routes import StreamStep, compile_routes
from hub.run import LiveRun, RunServices
from hub.settings import DeliverySettings
from hub.taps import (
    MAX_QUEUED,
    MAX_RATE_OF_ALL,
    MAX_TAPS,
    MAX_TAPS_OF_STEP,
    SampleBudget,
    StreamTap,
    TapBook,
    TapDirection,
    TooManyTapsError,
)
from hub.topology import Place
from tests.unit.hub.json_packets import json_packet
from tests.unit.hub.test_hub_flow import ALO, EMIT, RUN, Stage, sink, staged
from tests.unit.hub.test_hub_run import RecordedLink

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@contextmanager
def tapped(stage: Stage, taps: TapBook, step: str, direction: str = "both", **more: Any) -> Iterator[StreamTap]:
    taps.on_change = lambda place: stage.run.look_at_taps()
    with taps.opened(Place(RUN, step), TapDirection(direction), more.pop("rate", 50), lambda: NOW, **more) as tap:
        yield tap


def seen(tap: StreamTap) -> list[tuple[str, list[str], str]]:
    """Direction, the other steps, the text of each packet."""
    samples = [json.loads(line) for line in tap.take()[0]]
    return [(each["direction"], each["steps"], each["payload"]["text"]) for each in samples]


def texts(*words: str) -> list[bytes]:
    return [json_packet({"text": word}) for word in words]


async def test_a_tap_sees_what_comes_and_what_goes(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    steps = (EMIT, sink("mid"), sink("end", ("mid",)), sink("other", ("mid",)))
    async with staged(*steps, taps=taps) as stage:
        with (
            tapped(stage, taps, "mid") as tap,
            tapped(stage, taps, "mid", "in") as only_in,
            tapped(stage, taps, "end") as last,
        ):
            stage.send("emit", *texts("a"))
            stage.send("mid", *texts("b"))
            assert seen(tap) == [("in", ["emit"], "a"), ("out", ["end", "other"], "b")]
            assert seen(only_in) == [("in", ["emit"], "a")]
            assert seen(last) == [("in", ["mid"], "b")]
        stage.send("emit", *texts("c"))
        assert tap.take() == ([], 0)
        assert not any(step.is_observed or step.taps for step in stage.run.steps.values())


async def test_a_tap_sees_packets_as_the_step_receives_them(autojump_clock: trio.testing.MockClock) -> None:
    """After if and runtime, behind a primitive, in a step that joins."""
    taps = TapBook()
    gate = StreamStep("gate", ("emit",), kind=StepKind.CONDITION, condition='packet.text != "no"')
    fed = sink("sink", ("gate",), runtime={"said": "{{ packet.text }}"})
    async with staged(EMIT, gate, fed, taps=taps) as stage:
        with tapped(stage, taps, "sink") as tap, tapped(stage, taps, "emit") as source:
            stage.send("emit", *texts("a", "no"))
            (line,) = tap.take()[0]
            assert json.loads(line)["inputs"] == {"said": "a"}
            assert json.loads(line)["steps"] == ["gate"]
            assert [text for _, _, text in seen(source)] == ["a", "no"]


async def test_a_packet_that_waits_for_room_is_seen_once(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    async with staged(EMIT, sink(delivery=ALO, runtime={"said": "{{ packet.text }}"}), taps=taps) as stage:
        with tapped(stage, taps, "sink") as tap:
            stage.send("emit", *texts(*"abcdefghij"))
            for _ in range(20):
                stage.run.receipts("sink", stage.links["sink"].receipts(2))
                await trio.sleep(1)
            assert [text for _, _, text in seen(tap)] == list("abcdefghij")


async def test_a_tap_lives_on_in_the_next_life_of_the_run(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    routes = compile_routes(RUN, "story", (EMIT, sink()))
    with taps.opened(Place(RUN, "sink"), TapDirection.BOTH, 10, lambda: NOW) as tap:
        run, link = LiveRun(routes, "2", PacketChecker(), RunServices(taps=taps)), RecordedLink()
        run.attach("emit", link)
        run.arrived("emit", link, texts("a"))
        assert len(tap.take()[0]) == 1
        run.finish("sink")
        run.arrived("emit", link, texts("b"))
        assert tap.take() == ([], 0)


async def test_what_exceeds_the_rate_is_counted_and_not_read(autojump_clock: trio.testing.MockClock) -> None:
    rendered: list[Sequence[str]] = []

    def render(direction: str, others: Sequence[str], packet: Any, content: Any) -> bytes:
        rendered.append(others)
        return b"{}"

    tap = StreamTap(TapDirection.BOTH, 5, SampleBudget(MAX_RATE_OF_ALL, trio.current_time), render)
    packet, content = PacketChecker().read(json_packet({"text": "a"}))
    for _ in range(100):
        tap.got("emit", packet, content)
    assert (len(rendered), tap.take()[1]) == (5, 95)
    tap.sent(["end"], packet, content)
    assert len(rendered) == 6, "the other direction has its own rate"
    await trio.sleep(0.4)
    for _ in range(100):
        tap.got("emit", packet, content)
    assert (len(rendered), tap.take()[1]) == (8, 98)
    await trio.sleep(100)
    for _ in range(100):
        tap.got("emit", packet, content)
    assert len(rendered) == 13, "a pause saves up one second at most"


async def test_all_taps_together_have_one_rate(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    packet, content = PacketChecker().read(json_packet({"text": "a"}))
    runs = [RUN._replace(namespace=namespace) for namespace in ("team", "other")]
    places = [Place(run, f"step-{number}") for run in runs for number in range(MAX_TAPS // 8)]
    with ExitStack() as stack:
        opening = [taps.opened(place, TapDirection.BOTH, 50, lambda: NOW) for place in places * 4]
        opened = [stack.enter_context(each) for each in opening]
        for _ in range(60):
            for tap in opened:
                tap.got("emit", packet, content)
        assert sum(len(tap.take()[0]) for tap in opened) == MAX_RATE_OF_ALL


async def test_a_stalled_reader_loses_samples_and_the_stream_nothing(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    async with staged(EMIT, sink(), taps=taps) as stage:
        with tapped(stage, taps, "sink") as tap:
            for number in range(10):
                stage.send("emit", *texts(*(str(each) for each in range(number * 50, number * 50 + 50))))
                await trio.sleep(1)
            assert stage.texts("sink") == [str(number) for number in range(500)]
            lines, missed = tap.take()
            assert (len(lines), missed) == (MAX_QUEUED, 500 - MAX_QUEUED)
            assert stage.run.steps["sink"].delivery.counts.lost == {}


async def test_there_is_room_for_some_taps_only(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()

    def look(step: str, stack: ExitStack, namespace: str = "team") -> None:
        place = Place(RUN._replace(namespace=namespace), step)
        stack.enter_context(taps.opened(place, TapDirection.IN, 1, lambda: NOW))

    with ExitStack() as stack:
        for _ in range(MAX_TAPS_OF_STEP):
            look("a", stack)
        with pytest.raises(TooManyTapsError, match="packets of this step"):
            look("a", stack)
        for number in range(MAX_TAPS // 2 - MAX_TAPS_OF_STEP):
            look(str(number), stack)
        with pytest.raises(TooManyTapsError, match="8 commands already show packets of this namespace"):
            look("b", stack)
        for number in range(MAX_TAPS // 2):
            look(str(number), stack, "other")
        with pytest.raises(TooManyTapsError, match="of this hub"):
            look("b", stack, "third")
    assert taps.of(Place(RUN, "a")) == taps.of(Place(RUN, "0")) == ()


async def test_a_full_step_is_tapped_without_another_packet_for_it(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    dropping = DeliverySettings(max_messages=2, blocks=False, window_messages=1)
    async with staged(EMIT, sink(delivery=dropping), taps=taps) as stage:
        with tapped(stage, taps, "sink") as tap:
            stage.links["sink"].space = 0
            stage.send("emit", *texts(*"abcd"))
            assert [text for _, _, text in seen(tap)] == list("abcd")
            counts = stage.run.steps["sink"].delivery.counts
            assert (counts.offered, counts.lost) == (4, {Loss.BUFFER_FULL: 2})
