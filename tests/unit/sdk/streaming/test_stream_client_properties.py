"""Whatever breaks, and whenever: no message is lost or worked on twice, and a receipt means that it is done."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bubu_sdk.streaming.inbox import Delivery
from bubu_sdk.testing.stream_hub import StreamHub
from tests.unit.sdk.streaming.stream_line import Line, encoded


class BrokenLines(RuleBasedStateMachine):
    """A hub that offers ``upstream.accepts``, a function that finishes in any order, and a line that breaks."""

    accepts = True

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(StreamHub(accepts=self.accepts, window=4))
        self.working: list[Delivery] = []
        self.answers: dict[int, list[int]] = {}
        """The outputs of each message that the function has finished."""
        self.taken: list[int] = []
        self.sent: list[int] = []
        self.numbers = itertools.count()

    @property
    def hub(self) -> StreamHub:
        return self.line.hub

    @property
    def arrived(self) -> list[int]:
        return [output.payload["n"] for output in self.hub.accepted]

    @initialize()
    def connect_first(self) -> None:
        self.line.connect()
        self.line.move()

    @rule()
    def hub_sends(self) -> None:
        self.sent.append(self.hub.send(encoded({"n": len(self.sent)})))
        self.line.down()

    @rule()
    def hub_sends_again(self) -> None:
        self.hub.redeliver()

    @rule(accepts=st.booleans())
    def hub_waits_with_its_acceptance(self, accepts: bool) -> None:
        self.hub.accepts_outputs = accepts

    @rule()
    def bytes_go_up(self) -> None:
        self.line.up()

    @rule()
    def bytes_go_down(self) -> None:
        self.line.down()

    @rule()
    def all_bytes_move(self) -> None:
        self.line.move()

    @precondition(lambda self: self.line.deliveries)
    @rule()
    def function_takes(self) -> None:
        delivery = self.line.take()
        self.taken.append(delivery.place.sequence)
        self.working.append(delivery)

    @precondition(lambda self: self.line.deliveries)
    @rule(count=st.integers(1, 3))
    def function_answers(self, count: int) -> None:
        self.function_takes()
        self.finish(self.working.pop(), count)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), count=st.integers(0, 2))
    def function_finishes(self, data: Any, count: int) -> None:
        self.finish(self.working.pop(data.draw(st.integers(0, len(self.working) - 1))), count)

    def finish(self, delivery: Delivery, count: int) -> None:
        outputs = [next(self.numbers) for _ in range(count)]
        for number in outputs:
            self.line.client.put([encoded({"n": number})], delivery)
        self.answers[delivery.place.sequence] = outputs
        self.line.client.finish(delivery)

    @precondition(lambda self: self.line.is_up)
    @rule(written=st.booleans())
    def line_breaks(self, written: bool) -> None:
        if written:
            self.line.up(arrives=False)
        self.line.drop()

    @precondition(lambda self: not self.line.is_up and self.line.client.dial_at is not None)
    @rule()
    def line_is_mended(self) -> None:
        self.line.connect()

    @invariant()
    def no_message_is_worked_on_twice(self) -> None:
        assert len(self.taken) == len(set(self.taken))

    @invariant()
    def a_receipt_means_that_the_message_is_done(self) -> None:
        arrived = set(self.arrived)
        for sequence in self.hub.receipts:
            assert set(self.answers[sequence]) <= arrived

    def teardown(self) -> None:
        """When the line holds, everything arrives."""
        self.hub.accepts_outputs = True
        for _ in range(len(self.sent) + 2):
            self.hub.accept()
            self.line.settle()
            while self.line.deliveries:
                self.function_takes()
            while self.working:
                delivery = self.working.pop()
                self.answers[delivery.place.sequence] = []
                self.line.client.finish(delivery)
            self.line.settle()
        assert sorted(self.taken) == self.sent
        assert set(self.hub.receipts) == set(self.sent)
        assert self.hub.retained == {}
        outputs = {number for numbers in self.answers.values() for number in numbers}
        self.outputs_are_there(outputs)
        assert self.line.client.unsent() == (0, 0)

        self.line.client.close(self.line.now)
        self.line.settle()
        assert self.line.client.closed
        assert self.line.client.failure is None

    def outputs_are_there(self, outputs: set[int]) -> None:
        assert set(self.arrived) == outputs
        first = list(dict.fromkeys(self.arrived))
        assert first == sorted(first), "outputs of one process keep their order"


class BrokenLinesOfAnotherHub(BrokenLines):
    """A hub without ``upstream.accepts``: what was written and did not arrive is lost, and nothing else."""

    accepts = False

    @precondition(lambda self: self.line.is_up)
    @rule(written=st.just(False))
    def line_breaks(self, written: bool) -> None:
        self.line.up()
        self.line.drop()


STEPS = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestBrokenLines = BrokenLines.TestCase
TestBrokenLines.settings = STEPS
TestBrokenLinesOfAnotherHub = BrokenLinesOfAnotherHub.TestCase
TestBrokenLinesOfAnotherHub.settings = STEPS
