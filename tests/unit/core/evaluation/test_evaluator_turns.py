"""The evaluator keeps tenants apart; tested with its real threads and processes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from core.evaluation.asker import Asker
from core.evaluation.evaluator import EvaluationPolicy, Evaluator, Value
from core.evaluation.pool import WorkerLimits, WorkerPool

DOUBLING: dict[str, Any] = {
    "$ref": "#/definitions/d0",
    "definitions": {
        **{f"d{number}": {"allOf": [{"$ref": f"#/definitions/d{number + 1}"}] * 2} for number in range(26)},
        "d26": {"type": "object"},
    },
}
SLOW = "{{ gt (len (regexFindAll `.` (repeat 5200 `abcdefghij`) -1)) 0 }}"


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator(pool=WorkerPool(lambda: WorkerLimits(seconds=1)))


async def test_a_schema_of_another_namespace_does_not_wait_for_a_flood(evaluator: Evaluator) -> None:
    ended: list[str] = []

    async def validate(namespace: str, schema: dict[str, Any]) -> None:
        await evaluator.validate_schema(schema, {"n": "abc"}, asker=Asker(namespace))
        ended.append(namespace)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(validate, "noisy", DOUBLING)
        await trio.testing.wait_all_tasks_blocked()
        await validate("quiet", {"properties": {"n": {"pattern": r"^\p{L}+$"}}})
        nursery.cancel_scope.cancel()

    assert ended.count("noisy") <= 1


async def test_a_template_and_a_story_of_another_namespace_do_not_wait_for_a_flood(evaluator: Evaluator) -> None:
    ended: list[str] = []

    async def decide(namespace: str) -> None:
        answer = await evaluator.condition(SLOW, {"inputs": {}, "steps": {}}, field="if", asker=Asker(namespace))
        assert answer == Value(True)
        ended.append(namespace)

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(decide, "noisy")
        await trio.sleep(0.05)
        story = {"text": "x" * 4_096}
        assert await evaluator.analyse(len, story, asker=Asker("noisy")) == 1
        assert await evaluator.analyse(len, story, asker=Asker("quiet")) == 1
        before = ended.count("noisy")
        await decide("quiet")
        assert ended.count("noisy") - before <= 5
        nursery.cancel_scope.cancel()

    assert before <= 5


async def test_a_namespace_over_its_budget_waits_and_others_do_not(evaluator: Evaluator) -> None:
    tight = Evaluator(lambda: EvaluationPolicy(budget_seconds=0.01))
    told: list[float | None] = []
    scope: dict[str, Any] = {"inputs": {}, "steps": {}}
    await tight.condition(SLOW, scope, field="if", asker=Asker("noisy"))
    async with trio.open_nursery() as nursery:

        async def again() -> None:
            await tight.condition(SLOW, scope, field="if", asker=Asker("noisy", told.append))

        nursery.start_soon(again)
        await tight.condition(SLOW, scope, field="if", asker=Asker("quiet"))
        await trio.sleep(1.2)
        nursery.cancel_scope.cancel()

    assert told[0] is not None
    assert told[1:] == [None]
