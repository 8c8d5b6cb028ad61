"""The one door: values, waits and failures, and never holding the loop."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from core.evaluation.evaluator import EXPRESSION_FAILED, LOOP_GRANT, EvaluationPolicy, Evaluator, Failure, NotYet, Value
from core.expressions import Limits

_VARIABLES: dict[str, Any] = {
    "inputs": {"n": 5, "list": list(range(60_000))},
    "steps": {
        "done": {"output": {"x": 1}, "outputs": {"x": 1}},
        "signalled": {"signals": {"a": 1}},
        "stored": {"output": {"$bubuStorageRef": "k"}},
    },
}


def _with(limits: Limits) -> Evaluator:
    return Evaluator(lambda: EvaluationPolicy(limits))


_BUSY = "{{ range 9000 }}{{ end }}" * 8


async def test_a_value_keeps_its_type() -> None:
    answer = await Evaluator().resolve({"a": "{{ steps.done.output.x }}"}, _VARIABLES, field="with")
    assert answer == Value({"a": 1})


async def test_a_condition_gives_a_boolean() -> None:
    answer = await Evaluator().condition("{{ eq steps.done.output.x 1 }}", _VARIABLES, field="if")
    assert answer == Value(True)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("{{ steps.gone.output.x }}", {"gone"}),
        ("{{ upper steps.gone.output.x }}", {"gone"}),
        ("{{ steps.signalled.output.x }}", {"signalled"}),
    ],
)
async def test_missing_upstream_data_is_a_wait_until_all_is_finished(text: str, steps: set[str]) -> None:
    answer = await Evaluator().resolve(text, _VARIABLES, field="with.a")
    assert isinstance(answer, NotYet)
    assert answer.steps == steps
    finished = await Evaluator().resolve(text, _VARIABLES, field="with.a", finished=True)
    assert isinstance(finished, Failure)
    assert finished.reason == EXPRESSION_FAILED
    assert finished.message.startswith("with.a: ")


async def test_a_key_that_a_finished_step_did_not_deliver_is_a_failure_at_once() -> None:
    answer = await Evaluator().resolve("{{ steps.done.output.y }}", _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert "steps.done.output.y is missing" in answer.message


async def test_a_failure_names_the_field_inside_the_value() -> None:
    answer = await Evaluator().resolve({"a": ["{{ upper inputs.n }}"]}, _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert answer.message.startswith("with.a[0]: upper wants string")


async def test_offloaded_data_in_a_larger_template_is_told_apart() -> None:
    answer = await Evaluator().resolve("{{ steps.stored.output.x | upper }}", _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert answer.offloaded


async def test_a_long_evaluation_goes_on_in_a_thread_and_gives_the_same_value() -> None:
    text = "{{ range $i, $e := inputs.list }}{{ if eq $i 59999 }}{{ $e }}{{ end }}{{ end }}"
    answer = await _with(Limits(steps=10_000_000)).resolve(text, _VARIABLES, field="with")
    assert answer == Value("59999")


async def test_the_loop_is_not_held_by_a_long_evaluation(nursery: trio.Nursery) -> None:
    longest = 0.0
    done = False

    async def watch() -> None:
        nonlocal longest
        before = time.monotonic()
        while not done:
            await trio.lowlevel.checkpoint()
            now = time.monotonic()
            longest, before = max(longest, now - before), now

    nursery.start_soon(watch)
    answer = await _with(Limits(steps=400_000)).resolve([_BUSY] * 4, _VARIABLES, field="with")
    done = True
    assert isinstance(answer, Value)
    assert longest < 0.2  # the grant is 5 ms; the rest is a busy machine's


async def test_a_limit_is_a_failure() -> None:
    answer = await _with(Limits(steps=LOOP_GRANT.steps * 2)).resolve(_BUSY, _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert "needs more than" in answer.message


async def test_a_cancelled_evaluation_ends_its_thread() -> None:
    started = time.monotonic()
    with trio.move_on_after(0.1) as scope:
        await _with(Limits(steps=1 << 60)).resolve([_BUSY] * 1000, _VARIABLES, field="with")
    assert scope.cancelled_caught
    assert time.monotonic() - started < 5


async def test_now_is_one_instant_per_evaluation() -> None:
    instants = iter([datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)])
    evaluator = Evaluator(now=lambda: next(instants))
    answer = await evaluator.resolve('{{ now | date "2006" }}' + _BUSY + '{{ now | date "2006" }}', {}, field="with")
    assert answer == Value("20262026")
