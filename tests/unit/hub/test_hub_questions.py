"""Questions have the same answers on the loop and in a process, and nothing blocks the loop. (hub/questions.py)"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.pool import WorkerLimits, WorkerPool
from hub import evaluation_worker
from hub.evaluation import PacketEvaluator
from hub.questions import (
    MAX_INPUT_BYTES,
    ConditionQuestion,
    NotNowError,
    Question,
    SchemaQuestion,
    ValueQuestion,
    answer_of,
    encoded_inputs,
)
from hub.refusal import PacketRefusal, PacketRefusedError

VARIABLES = {
    "inputs": {"n": 5, "on": True},
    "steps": {"emit": {"text": "hi", "n": 2}},
    "packet": {"text": "hi", "n": 2, "metadata": {"user": "u"}},
}
SCHEMA = {"properties": {"a": {"type": "string"}, "b": {"default": 1}}, "required": ["a"]}
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3) | st.text(max_size=2), max_size=3)
VALUES = st.dictionaries(
    st.sampled_from("ab"),
    st.sampled_from(
        ["{{ packet.text }}", "x {{ upper packet.text }}", "{{ packet.no }}", "{{ steps.emit }}", "{{ oops"]
    ),
)
CONDITIONS = st.sampled_from(
    ["", "true", "no", "packet.n > 1", "{{ eq packet.n 2 }}", "packet.no > 1", "inputs.on", "{{ packet.text }}", "1 +"]
)


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def quickly(question: Question, subject: Any) -> Any:
    try:
        return question.quick(subject, now)
    except PacketRefusedError as refused:
        return refused.reason, str(refused)


def slowly(question: Question, subject: Any) -> Any:
    answer = answer_of(question.request(subject), now)
    return answer["value"] if "value" in answer else (PacketRefusal(answer["reason"]), answer["text"])


@given(VALUES)
def test_values_are_the_same_both_ways(value: dict[str, Any]) -> None:
    question = ValueQuestion(value, "step a, runtime")
    found, expected = quickly(question, VARIABLES), slowly(question, VARIABLES)
    assert found == expected or (len(value) > 1 and isinstance(found, tuple))  # which of two errors is first may differ


@given(CONDITIONS)
def test_conditions_are_the_same_both_ways(text: str) -> None:
    question = ConditionQuestion(text, "step a, if")
    assert quickly(question, VARIABLES) == slowly(question, VARIABLES)


@given(DOCUMENTS, st.booleans())
def test_schemas_are_the_same_both_ways(document: dict[str, Any], defaults: bool) -> None:
    question = SchemaQuestion(SCHEMA, "step a", PacketRefusal.INPUT_SCHEMA, with_defaults=defaults)
    assert quickly(question, document) == slowly(question, document)


def test_it_is_known_which_conditions_are_the_same_for_all_packets() -> None:
    static = {
        text: ConditionQuestion(text, "if").is_static for text in ("inputs.on", "packet.n > 1", "yes", "{{ now }}")
    }
    assert static == {"inputs.on": True, "packet.n > 1": False, "yes": True, "{{ now }}": False}


HOSTILE = {
    "loops": "{{ range $i := until 9000 }}{{ range $j := until 9000 }}{{ end }}{{ end }}",
    "text": '{{ repeat 60000 "ab" | snakecase | camelcase }}',
    "pattern": '{{ regexMatch "^(([a-z]+)*)*$" (repeat 50000 "a") }}',
    "characters": "{{ packet.text }}" + "{{/* x */}}" * 400,
    "data": "{{ range packet.long }}{{ . | upper }}{{ end }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_takes_long_leaves_the_loop_soon(name: str) -> None:
    question = ValueQuestion({"a": HOSTILE[name]}, "runtime")
    subject = {**VARIABLES, "packet": {"text": "x", "long": ["abc" * 50] * 50_000}}
    question_begun = time.process_time()
    with pytest.raises(NotNowError):
        question.quick(subject, now)
    assert time.process_time() - question_begun < 0.05  # 10 ms here; the rest is for busy machines


def test_a_condition_over_much_data_and_a_costly_schema_are_not_for_the_loop() -> None:
    condition = ConditionQuestion("packet.long.all(x, packet.long.exists(y, y == x))", "if")
    with pytest.raises(NotNowError):
        condition.quick({**VARIABLES, "packet": {"long": list(range(500))}}, now)
    with pytest.raises(NotNowError):
        ConditionQuestion("packet.a == '" + "x" * 2_050 + "'", "if").quick(VARIABLES, now)
    schema = SchemaQuestion({"items": {"pattern": "^(a|b)*$"}}, "out", PacketRefusal.OUTPUT_SCHEMA)
    with pytest.raises(NotNowError):
        schema.quick(["ab" * 20_000] * 5, now)
    recursive = SchemaQuestion({"items": {"$ref": "#"}}, "out", PacketRefusal.OUTPUT_SCHEMA)
    with pytest.raises(NotNowError):
        recursive.quick([], now)


def test_inputs_are_bounded() -> None:
    assert encoded_inputs({"a": 1}, "runtime") == b'{"a":1}'
    with pytest.raises(PacketRefusedError, match="the maximum is"):
        encoded_inputs({"a": "x" * MAX_INPUT_BYTES}, "runtime")


def test_a_schema_that_cannot_be_used_refuses_by_name() -> None:
    question = SchemaQuestion({"$ref": "http://example.org"}, "step a, output", PacketRefusal.OUTPUT_SCHEMA)
    with pytest.raises(NotNowError):
        question.quick({}, now)
    reason, text = slowly(question, {})
    assert reason is PacketRefusal.OUTPUT_SCHEMA
    assert text.startswith("step a, output: the schema cannot be used")


async def test_a_process_answers_and_is_killed_when_it_takes_too_long() -> None:
    limits = WorkerLimits(seconds=0.3, patience=8.0)
    evaluator = PacketEvaluator(WorkerPool(lambda: limits, str(evaluation_worker.__file__)))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(evaluator.keep_warm)
            value = ValueQuestion({"a": "{{ packet.text }}"}, "runtime")
            assert await evaluator.answer(value, VARIABLES, "team") == {"a": "hi"}
            assert await evaluator.answer(ConditionQuestion("packet.n > 1", "if"), VARIABLES, "team") is True
            with pytest.raises(PacketRefusedError) as refused:
                await evaluator.answer(ValueQuestion({"a": "{{ packet.no }}"}, "runtime"), VARIABLES, "team")
            assert refused.value.reason is PacketRefusal.EXPRESSION
            endless = ConditionQuestion("packet.long.all(x, packet.long.all(y, y != -x))", "step a, if")
            with pytest.raises(PacketRefusedError, match=r"^step a, if: ") as refused:
                await evaluator.answer(endless, {**VARIABLES, "packet": {"long": list(range(99, 3_000))}}, "team")
            assert refused.value.reason is PacketRefusal.LIMIT
            assert await evaluator.answer(value, VARIABLES, "team") == {"a": "hi"}
            nursery.cancel_scope.cancel()
