"""Packets that people send: the way of every packet, counted as one, refused with a reason. (hub/injection.py)"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing

from bubu_wire.messages import MAX_FRAME_BYTES
from core.story.kinds import StepKind
from hub.console_grants import ConsoleReason, ConsoleRefusalError
from hub.injection import INJECTED, INJECTED_BY, Injected, PacketOrder, inject, read_order
from hub.refusal import PacketRefusal
from hub.routes import StreamStep
from hub.settings import DeliverySettings, JoinMode, JoinSettings
from hub.taps import TapBook, TapDirection
from hub.topology import Place
from tests.unit.hub.json_packets import json_packet, metadata_of
from tests.unit.hub.test_hub_flow import ALO, EMIT, RUN, SlowEvaluator, Stage, sink, staged

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HELLO = {"text": "hello"}


async def sent(stage: Stage, step: str, payload: Any = None, *, seconds: float = 5, **more: Any) -> Injected:
    return await inject(stage.run, step, PacketOrder(payload or HELLO, **more), NOW, seconds)


async def refusal(stage: Stage, step: str, payload: Any = None, **more: Any) -> ConsoleRefusalError:
    with pytest.raises(ConsoleRefusalError) as refused:
        await sent(stage, step, payload, **more)
    return refused.value


async def fill(stage: Stage) -> None:
    """Two packets are in flight to the sink, and four in its buffer."""
    stage.send("emit", *[json_packet({"text": str(number)}) for number in range(6)])
    await trio.sleep(0.1)
    assert stage.run.steps["sink"].delivery.waiting == 4


def assert_balanced(stage: Stage) -> None:
    """Every packet is in one counter."""
    for step in stage.run.steps.values():
        counts, pending = step.delivery.counts, step.delivery.pending
        assert counts.offered == counts.delivered + counts.lost.total() + pending


async def test_a_packet_comes_to_a_step_as_that_of_an_sdk_does(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(EMIT, sink()) as stage:
        answer = await sent(stage, "sink", metadata={"user": "ada"}, by="eve")

        assert (answer.outcome, answer.steps) == ("buffered", ["sink"])
        (message,) = stage.links["sink"].sent
        assert stage.got("sink") == [(HELLO, None)]
        metadata = dict(metadata_of(message))
        assert metadata.pop("bubu.envelope.message_id") == answer.message_id
        assert metadata.pop("bubu.envelope.timestamp_ms") == str(int(NOW.timestamp() * 1_000))
        assert metadata == {
            "bubu.envelope.kind": "data",
            INJECTED: "true",
            INJECTED_BY: "eve",
            "user": "ada",
            "storyrun-name": "run-1",
            "storyrun-namespace": "team",
            "current-step-id": "sink",
        }
        assert stage.run.steps["emit"].received == 0
        assert stage.run.steps["sink"].delivery.counts.offered == 1
        assert_balanced(stage)


async def test_a_packet_goes_through_all_that_is_evaluated_for_the_step(autojump_clock: trio.testing.MockClock) -> None:
    step = sink(condition="packet.n > 1", runtime={"n": "{{ packet.n }}", "by": "{{ steps.emit.n }}"})
    async with staged(EMIT, step) as stage:
        assert (await sent(stage, "sink", {"n": 2})).outcome == "buffered"
        skipped = await sent(stage, "sink", {"n": 1})
        assert (skipped.outcome, skipped.reason) == ("skipped", "if")
        assert stage.inputs("sink") == [{"n": 2, "by": 2}]
        refused = await refusal(stage, "sink", {"m": 1})
        assert refused.reason is ConsoleReason.REFUSED
        assert "step sink, if" in str(refused)
        assert stage.run.steps["sink"].refused == {PacketRefusal.EXPRESSION: 1}
        assert_balanced(stage)


async def test_a_packet_that_breaks_the_input_schema_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    step = sink(runtime={"n": "{{ packet.n }}"}, input_schema={"properties": {"n": {"type": "integer"}}})
    async with staged(EMIT, step) as stage:
        refused = await refusal(stage, "sink", {"n": "x"})
        assert (refused.reason, str(refused).partition(":")[0]) == (ConsoleReason.REFUSED, "input_schema")
        assert (await sent(stage, "sink", {"n": 1})).outcome == "buffered"


async def test_an_answer_of_a_process_is_waited_for_as_long_as_wished(autojump_clock: trio.testing.MockClock) -> None:
    long = "{{ packet.text }}" + " " * 3_000
    async with staged(EMIT, sink(runtime={"text": long}), evaluator=SlowEvaluator(2)) as stage:
        assert (await sent(stage, "sink", seconds=1)).outcome == "evaluating"
        assert (await sent(stage, "sink", seconds=10)).outcome == "buffered"
        assert len(stage.got("sink")) == 2


async def test_a_step_with_several_needs_wants_to_know_from_which(autojump_clock: trio.testing.MockClock) -> None:
    joining = DeliverySettings(join=JoinSettings(JoinMode.ALL), max_messages=100, window_messages=100)
    steps = (EMIT, StreamStep("b", ("emit",)), StreamStep("c", ("emit",)), sink("sink", ("b", "c"), delivery=joining))
    async with staged(*steps) as stage:
        assert (await refusal(stage, "sink")).reason is ConsoleReason.INVALID
        assert "from must be one of b, c" in str(await refusal(stage, "sink", source="emit"))
        assert (await sent(stage, "sink", source="b", message_id="one")).outcome == "joining"
        assert (await sent(stage, "sink", source="c", message_id="one")).outcome == "buffered"
        assert len(stage.got("sink")) == 1
        assert "needs no step" in str(await refusal(stage, "emit"))


async def test_a_packet_may_come_through_a_primitive(autojump_clock: trio.testing.MockClock) -> None:
    gate = StreamStep("gate", ("emit",), kind=StepKind.CONDITION, condition="false")
    async with staged(EMIT, gate, sink("sink", ("gate",), runtime={"t": "{{ packet.text }}"})) as stage:
        assert (await sent(stage, "sink")).outcome == "buffered", "it is as if it had passed the gate"
        assert stage.inputs("sink") == [{"t": "hello"}]


async def test_a_step_sends_to_all_that_need_it(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(EMIT, sink("one"), sink("two", condition="packet.n > 1")) as stage:
        answer = await sent(stage, "emit", {"n": 1}, is_out=True, message_id="mine")
        assert (answer.message_id, answer.outcome, answer.steps) == ("mine", "routed", ["one", "two"])
        assert (len(stage.got("one")), len(stage.got("two"))) == (1, 0)
        assert stage.run.steps["emit"].received == 1
        assert stage.links["emit"].accepted == 0, "no packet of the client"
        assert_balanced(stage)


async def test_what_a_step_has_promised_not_to_send_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    emit = StreamStep("emit", output_schema={"required": ["text"]})
    async with staged(emit, sink()) as stage:
        refused = await refusal(stage, "emit", {"n": 1}, is_out=True)
        assert refused.reason is ConsoleReason.REFUSED
        assert "text" in str(refused)
        assert (stage.run.steps["emit"].received, stage.run.steps["emit"].refused) == (0, {})
        assert (await sent(stage, "emit", is_out=True)).outcome == "routed"
        refused = await refusal(stage, "sink", {"n": 1})
        assert str(refused).startswith("output_schema"), "as if emit had sent it"


@pytest.mark.parametrize("is_out", [False, True])
async def test_a_full_buffer_is_waited_for_and_then_told(is_out: bool, autojump_clock: trio.testing.MockClock) -> None:
    step = "emit" if is_out else "sink"
    async with staged(EMIT, sink(delivery=ALO)) as stage:
        await fill(stage)
        refused = await refusal(stage, step, is_out=is_out, seconds=3)
        assert refused.reason is ConsoleReason.FULL
        assert "step sink is full" in str(refused)
        assert (len(stage.run.steps["emit"].inbox), stage.run.steps["emit"].inbox_bytes) == (0, 0)

        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(1)
                for _ in range(3):
                    stage.run.receipts("sink", stage.links["sink"].receipts(2))
                    await trio.sleep(0.1)

            nursery.start_soon(later)
            assert (await sent(stage, step, is_out=is_out, seconds=30)).outcome in ("buffered", "routed")
        for _ in range(10):
            stage.run.receipts("sink", stage.links["sink"].receipts(2))
        assert stage.run.steps["sink"].delivery.counts.delivered == 7
        assert_balanced(stage)


async def test_a_packet_of_the_person_is_gone_when_the_person_goes(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(EMIT, sink(delivery=ALO)) as stage:
        await fill(stage)
        with trio.move_on_after(1):
            await sent(stage, "emit", is_out=True, seconds=60)
        assert not stage.run.steps["emit"].inbox


async def test_nothing_is_sent_to_a_step_that_has_finished_or_a_run_that_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with staged(EMIT, sink(delivery=ALO)) as stage:
        assert (await refusal(stage, "nobody")).reason is ConsoleReason.NOT_SERVED
        await fill(stage)
        async with trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(1)
                stage.run.finish("sink")

            nursery.start_soon(later)
            refused = await refusal(stage, "sink", seconds=60)
            assert "has finished" in str(refused)
        run = stage.run
    with pytest.raises(ConsoleRefusalError, match="has ended"):
        await inject(run, "emit", PacketOrder(HELLO, is_out=True), NOW, 1)


async def test_a_dropped_packet_is_told(autojump_clock: trio.testing.MockClock) -> None:
    dropping = DeliverySettings(max_messages=1, blocks=False, window_messages=1)
    async with staged(EMIT, sink(delivery=dropping)) as stage:
        stage.links["sink"].space = 0
        assert (await sent(stage, "sink")).outcome == "buffered"
        refused = await refusal(stage, "sink")
        assert (refused.reason, "buffer_full" in str(refused)) == (ConsoleReason.REFUSED, True)
        assert_balanced(stage)


async def test_a_tap_sees_what_is_injected(autojump_clock: trio.testing.MockClock) -> None:
    taps = TapBook()
    async with staged(EMIT, sink(), taps=taps) as stage:
        taps.on_change = lambda place: stage.run.look_at_taps()
        with taps.opened(Place(RUN, "sink"), TapDirection.BOTH, 10, lambda: NOW) as tap:
            await sent(stage, "sink")
            await sent(stage, "emit", is_out=True)
            samples = [json.loads(line) for line in tap.take()[0]]
            assert [(each["steps"], each["metadata"][INJECTED]) for each in samples] == [(["emit"], "true")] * 2


def order_of(**fields: Any) -> PacketOrder:
    return read_order(json.dumps({"payload": {}, **fields}).encode())


def test_an_order_is_read_with_all_its_problems() -> None:
    assert order_of(payload=HELLO, **{"from": "b", "messageId": "m", "by": "eve\n"}) == PacketOrder(
        HELLO, {}, "b", False, "m", "eve?"
    )
    wrong = {"payload": [], "metadata": {"bubu.injected": "x", " a": "b", "c": 1}, "out": 1, "messageId": 2, "more": 1}
    with pytest.raises(ConsoleRefusalError) as refused:
        order_of(**wrong)
    assert refused.value.reason is ConsoleReason.INVALID
    for word in (
        "more is unknown",
        "payload must",
        "metadata.bubu.injected",
        "no blanks",
        "metadata.c must",
        "out must",
    ):
        assert word in str(refused.value)
    assert "messageId must be a string" in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"payload": 1}', b'{"payload": {}, "metadata": 7}'])
def test_an_order_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(ConsoleRefusalError):
        read_order(body)


async def test_a_packet_beyond_the_bounds_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(EMIT, sink()) as stage:
        refused = await refusal(stage, "sink", {"text": "x" * MAX_FRAME_BYTES})
        assert refused.reason is ConsoleReason.INVALID
        assert stage.run.steps["sink"].delivery.counts.offered == 0
