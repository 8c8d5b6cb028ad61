"""A list or a map keeps its type through functions where a whole value is one pipeline."""

from __future__ import annotations

from typing import Any

import pytest

from core.expressions import EvaluationError, EvaluationLimits, LimitExceededError, evaluate_condition, resolve_value
from core.expressions.limits import Meter
from core.expressions.prepared import PreparedValue
from core.expressions.template.functions import Context

VARIABLES: dict[str, Any] = {
    "inputs": {"l": [3, 1, 3], "m": {"b": 1, "a": [True, None]}, "text": '{"k": [1.5, "é<"]}', "n": 5, "s": "x"},
    "steps": {"a": {"output": {"$bubuStorageRef": "k"}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ until 3 }}", [0, 1, 2]),
        ("{{ inputs.l | uniq }}", [3, 1]),
        (" {{- inputs.l | uniq | reverse -}} ", [1, 3]),
        ("{{ inputs.text | fromJson }}", {"k": [1.5, "é<"]}),
        ("{{ (inputs.text | fromJson).k }}", [1.5, "é<"]),
        ("{{ (inputs.m) }}", {"b": 1, "a": [True, None]}),
        ("{{ dict `a` (list 1 `b`) }}", {"a": [1, "b"]}),
        ("{{ splitList `,` `a,b` }}", ["a", "b"]),
        ("{{ list }}", []),
        ("{{ list | uniq }}", []),
        ("{{ default (list 1) inputs.x }}", [1]),
        ("{{ list (toDate `2006` `2024`) }}", ["2024-01-01T00:00:00Z"]),
    ],
)
def test_lists_and_maps_keep_their_type(text: str, value: Any) -> None:
    assert resolve_value({"a": [text]}, VARIABLES) == {"a": [value]}
    assert resolve_value({"$bubuTemplate": text}, VARIABLES) == value
    assert PreparedValue(text).value(VARIABLES, Context(Meter(EvaluationLimits()))) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.l | toJson }}", "[3,1,3]"),
        ("{{ inputs.l | first }}", "3"),
        ("{{ inputs.n | int }}", "5"),
        ("{{ list (float64 `NaN`) }}", "[NaN]"),
        ("{{ upper inputs.s }}", "X"),
        ("l: {{ inputs.l | uniq }}", "l: [3 1]"),
        ("{{ inputs.l | uniq }}{{ inputs.s }}", "[3 1]x"),
        ("{{ if true }}{{ inputs.l | uniq }}{{ end }}", "[3 1]"),
        ("{{ print (uniq inputs.l) inputs.s }}", "[3 1]x"),
    ],
)
def test_everything_else_is_as_in_go(text: str, value: str) -> None:
    assert resolve_value(text, VARIABLES) == value


def test_the_limit_of_texts_bounds_them_too() -> None:
    with pytest.raises(LimitExceededError) as caught:
        resolve_value({"f": "{{ until 100 }}"}, VARIABLES, limits=EvaluationLimits(output_bytes=200))
    assert caught.value.field == "f"


def test_a_list_is_no_condition() -> None:
    with pytest.raises(EvaluationError, match="gave a list"):
        evaluate_condition("{{ inputs.l | uniq }}", VARIABLES)
