"""The evaluator: values, waits and failures. It never blocks the event loop."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from core.evaluation.evaluator import EXPRESSION_FAILED, LOOP_GRANT, EvaluationPolicy, Evaluator, Failure, NotYet, Value
from core.evaluation.pool import WorkerLimits, WorkerPool
from core.expressions import EvaluationLimits
from core.telemetry import metrics

_VARIABLES: dict[str, Any] = {
    "inputs": {"n": 5, "list": list(range(60_000))},
    "steps": {
        "done": {"output": {"x": 1}, "outputs": {"x": 1}},
        "signalled": {"signals": {"a": 1}},
        "stored": {"output": {"$bubuStorageRef": "k"}},
    },
}


def _with(limits: EvaluationLimits) -> Evaluator:
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
    assert answer.message.startswith("with.a[0]: upper needs string")


async def test_offloaded_data_in_a_larger_template_is_told_apart() -> None:
    answer = await Evaluator().resolve("{{ steps.stored.output.x | upper }}", _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert answer.offloaded


async def test_a_long_evaluation_goes_on_in_a_thread_and_gives_the_same_value() -> None:
    text = "{{ range $i, $e := inputs.list }}{{ if eq $i 59999 }}{{ $e }}{{ end }}{{ end }}"
    answer = await _with(EvaluationLimits(steps=10_000_000)).resolve(text, _VARIABLES, field="with")
    assert answer == Value("59999")


async def test_the_loop_is_not_held_by_a_long_evaluation(nursery: trio.Nursery) -> None:
    longest = 0.0
    done = False

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time()  # so that a busy machine has no influence
        while not done:
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    nursery.start_soon(watch)
    answer = await _with(EvaluationLimits(steps=400_000)).resolve([_BUSY] * 4, _VARIABLES, field="with")
    done = True
    assert isinstance(answer, Value)
    assert longest < 0.1  # the grant is 4 ms


async def test_a_limit_is_a_failure() -> None:
    answer = await _with(EvaluationLimits(steps=LOOP_GRANT.steps * 2)).resolve(_BUSY, _VARIABLES, field="with")
    assert isinstance(answer, Failure)
    assert "needs more than" in answer.message


async def test_a_cancelled_evaluation_ends_its_thread() -> None:
    started = time.monotonic()
    with trio.move_on_after(0.1) as scope:
        await _with(EvaluationLimits(steps=1 << 60)).resolve([_BUSY] * 1000, _VARIABLES, field="with")
    assert scope.cancelled_caught
    assert time.monotonic() - started < 5


async def test_now_is_one_instant_per_evaluation() -> None:
    instants = iter([datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)])
    evaluator = Evaluator(now=lambda: next(instants))
    answer = await evaluator.resolve('{{ now | date "2006" }}' + _BUSY + '{{ now | date "2006" }}', {}, field="with")
    assert answer == Value("20262026")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps.done.output.x > 0", Value(True)),
        ("has(steps.done.output.y)", Value(False)),
        ("inputs.list.map(x, x).size() > 0", Value(True)),
        ("Yes", Value(True)),
    ],
)
async def test_a_condition_without_braces_is_cel(text: str, expected: Value) -> None:
    variables = {**_VARIABLES, "inputs": {"list": [1] * 2_000}}
    assert await Evaluator().condition(text, variables, field="if") == expected


async def test_cel_waits_for_a_step_until_all_is_finished() -> None:
    answer = await Evaluator().condition("steps.gone.output.x == 1", _VARIABLES, field="if")
    assert isinstance(answer, NotYet)
    assert answer.steps == {"gone"}
    finished = await Evaluator().condition("steps.gone.output.x == 1", _VARIABLES, field="if", finished=True)
    assert isinstance(finished, Failure)
    assert finished.message.startswith("if: steps.gone is missing (line 1, column 6)")


async def test_cel_that_reads_offloaded_data_is_told_apart() -> None:
    answer = await Evaluator().condition("steps.stored.output.x == 1", _VARIABLES, field="if")
    assert isinstance(answer, Failure)
    assert answer.offloaded


async def test_an_error_in_a_process_reads_like_one_on_the_loop() -> None:
    variables = {"inputs": {"list": [{"n": 1}] * 2_000 + [{"m": 1}]}, "steps": {}}
    answer = await Evaluator().condition("inputs.list.map(x, x.n).size() > 0", variables, field="if")
    assert isinstance(answer, Failure)
    assert answer.message.startswith("if: n is missing in an element (line 1, column 21); test it with has(x.n)")


async def test_a_limit_of_the_processes_names_the_setting() -> None:
    variables = {"inputs": {"s": "a" * 2_000_000, "t": "a" * 1_000_000 + "b"}, "steps": {}}
    evaluator = Evaluator(pool=WorkerPool(lambda: WorkerLimits(seconds=1)))
    answer = await evaluator.condition("inputs.s.contains(inputs.t)", variables, field="until")
    assert isinstance(answer, Failure)
    assert "until: the expression takes longer than 1 s (line 1, column 1)" in answer.message
    assert "templating.worker-timeout allows 1" in answer.message


async def test_a_change_of_the_policy_counts_from_the_next_evaluation() -> None:
    policies = iter([EvaluationPolicy(), EvaluationPolicy(deterministic=True)])
    evaluator = Evaluator(lambda: next(policies))
    assert isinstance(await evaluator.resolve("{{ uuidv4 }}", {}, field="with"), Value)
    assert isinstance(await evaluator.resolve("{{ uuidv4 }}", {}, field="with"), Failure)


async def test_every_evaluation_is_counted_by_dialect_and_result() -> None:
    with metrics.recording() as recorder:
        await Evaluator().condition("steps.gone.output.x == 1", _VARIABLES, field="if")
        await Evaluator().condition("true == 1", _VARIABLES, field="if")
        await Evaluator().resolve("{{ inputs.n }}", _VARIABLES, field="with")
        for dialect, result in (("cel", "blocked"), ("cel", "error"), ("template", "value")):
            labels = {"expression_type": dialect, "result": result}
            assert recorder.registry.get_sample_value("bobrapet_cel_evaluation_total", labels) == 1


async def test_time_and_reuse_of_compiled_expressions_are_counted() -> None:
    with metrics.recording() as recorder:
        evaluator = Evaluator()
        for _ in range(3):
            await evaluator.condition("inputs.n == 5 && 'counted' != ''", _VARIABLES, field="if")
            await evaluator.resolve("counted {{ inputs.n }}", _VARIABLES, field="with")
        sample = recorder.registry.get_sample_value
        for dialect in ("cel", "template"):
            duration = "bobrapet_cel_evaluation_duration_seconds"
            assert sample(f"{duration}_count", {"expression_type": dialect}) == 3
            assert 0 < (sample(f"{duration}_sum", {"expression_type": dialect}) or 0) < 30
            assert sample("bobrapet_cel_cache_hits_total", {"cache_type": dialect}) == 2


async def test_much_text_is_analysed_in_a_thread() -> None:
    threads = set()

    def look(manifest: Any) -> int:
        threads.add(threading.get_ident())
        return len(manifest)

    assert await Evaluator().analyse(look, ["{{ inputs.a }}"]) == 1
    assert threads == {threading.get_ident()}
    assert await Evaluator().analyse(look, ["{{ inputs.a }}"] * 2_000) == 2_000
    assert len(threads) == 2
