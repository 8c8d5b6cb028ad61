"""Whatever packets, receipts and connections do, order is kept and every packet is counted once. (hub/flow.py)"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from core.story.kinds import StepKind
from hub.delivery import StepDelivery
from hub.intake import Intake
from hub.nodes import LiveNode, LiveStep
from hub.routes import StreamStep
from hub.settings import DeliverySettings, JoinSettings, Ordering
from tests.unit.hub.json_packets import json_packet
from tests.unit.hub.test_hub_flow import EMIT, SlowEvaluator, Stage, sink, staged
from tests.unit.hub.test_hub_run import RecordedLink

SMALL = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM, max_messages=5, window_messages=3)
COSTLY = "{{ if packet.slow }}{{ range $i := until 2000 }}{{ end }}{{ end }}{{ packet.text }}"
STEPS = (
    EMIT,
    StreamStep("gate", ("emit",), kind=StepKind.CONDITION, condition="packet.n % 3 != 0"),
    StreamStep("late", ("gate",), kind=StepKind.SLEEP, parameters={"duration": "1s"}),
    sink("quick", ("late",), delivery=SMALL),
    sink("mixed", ("emit",), delivery=SMALL, runtime={"said": COSTLY}),
    sink("drops", ("emit",), delivery=replace(SMALL, blocks=False, at_least_once=False), runtime={"x": COSTLY}),
    sink("join", ("emit", "other"), delivery=replace(SMALL, join=JoinSettings(seconds=3.0))),
    StreamStep("other"),
)
SINKS = ("quick", "mixed", "drops", "join")
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.lists(st.sampled_from(["", "slow", "error"]), max_size=8)),
        st.tuples(st.just("other"), st.lists(st.just(""), max_size=4)),
        st.tuples(st.just("receipts"), st.sampled_from(SINKS)),
        st.tuples(st.just("again"), st.sampled_from(SINKS)),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 2.0])),
    ),
    max_size=25,
)


@given(OPERATIONS)
@settings(max_examples=40)
def test_order_is_kept_and_every_packet_is_counted(operations: list[tuple[str, Any]]) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(_play, operations, clock=clock)


async def _play(operations: list[tuple[str, Any]]) -> None:
    async with staged(*STEPS, evaluator=SlowEvaluator(0.2)) as stage:
        play = _Play(stage)
        for name, argument in operations:
            await play.do[name](argument)
            play.check()
        for _ in range(300):  # everything is worked off when clients go on
            for name in SINKS:
                await play.receipts(name)
            await trio.sleep(1)
            if not any(stage.run.outstanding(name) for name in SINKS) and not stage.run.steps["emit"].inbox:
                break
        play.check()
        assert [stage.run.outstanding(name) for name in SINKS] == [0, 0, 0, 0]
        play.check_end()


class _Play:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.sent = {"emit": 0, "other": 0}
        self.seen: dict[str, list[int]] = {name: [] for name in SINKS}
        self.do: dict[str, Callable[[Any], Awaitable[None]]] = {
            "emit": self.emit,
            "other": self.other,
            "receipts": self.receipts,
            "again": self.again,
            "wait": self.wait,
        }

    async def emit(self, kinds: list[str]) -> None:
        self._send("emit", kinds)

    async def other(self, kinds: list[str]) -> None:
        self._send("other", kinds)

    def _send(self, step: str, kinds: list[str]) -> None:
        for kind in kinds:
            number = self.sent[step]
            self.sent[step] += 1
            payload = {"n": number, "slow": kind == "slow"} | ({} if kind == "error" else {"text": f"t{number}"})
            metadata: Any = {"bubu.join.key": str(number)}
            self.stage.send(step, json_packet(payload, **metadata))

    async def receipts(self, name: str) -> None:
        link = self.stage.links[name]
        while link.sent:
            self._note(name)
            count = len(link.sent)
            self.stage.run.receipts(name, link.receipts(count))

    async def again(self, name: str) -> None:
        """The client dies, and another one comes."""
        self._note(name)
        old = self.stage.links[name]
        self.stage.run.detach(name, old)
        new = RecordedLink()
        self.stage.links = {**self.stage.links, name: new}
        self.stage.run.attach(name, new)
        await trio.sleep(0.001)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def _note(self, name: str) -> None:
        self.seen[name] += [payload["n"] for payload, _ in self.stage.got(name)]

    def check(self) -> None:
        run = self.stage.run
        nodes: list[LiveNode] = [*run.steps.values(), *run.primitives.values()]
        for node in nodes:
            intake: Intake | None = node.intake
            if intake is None:
                continue
            lost = sum(
                count for reason, count in node.refused.items() if reason not in ("invalid", "empty", "context_done")
            )
            assert intake.arrived == intake.admitted + intake.skipped.total() + lost + intake.held - _judged(intake)
            if isinstance(node, LiveStep):
                _check_balance(node.delivery, intake)

    def check_end(self) -> None:
        for name in SINKS:
            first = list(dict.fromkeys(self.seen[name]))
            assert first == sorted(first)
        run, emitted = self.stage.run, self.sent["emit"]
        assert set(self.seen["quick"]) == {n for n in range(emitted) if n % 3}
        refused = run.node("mixed").refused
        assert len(set(self.seen["mixed"])) + refused["expression"] == emitted
        assert run.steps["emit"].received == emitted


def _judged(intake: Intake) -> int:
    """Packets that are admitted, and still in the queue because there is no room."""
    return sum(entry.judgement is None for entry in intake.queue)


def _check_balance(delivery: StepDelivery, intake: Intake) -> None:
    counts = delivery.counts
    assert counts.offered == counts.delivered + counts.lost.total() + delivery.pending
    assert counts.offered == intake.admitted - _judged(intake)
