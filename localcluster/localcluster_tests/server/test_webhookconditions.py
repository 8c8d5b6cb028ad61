"""Match conditions: their result for a request, and the errors in them."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import webhookconditions
from localcluster.server.webhookconditions import ConditionError


def review(**fields: Any) -> dict[str, Any]:
    obj = {"metadata": {"name": "one", "labels": {"a": "b"}}, "data": {"x": "1"}}
    user = {"username": "ann", "groups": ["staff"]}
    return {"operation": "CREATE", "userInfo": user, "object": obj, "oldObject": None, "dryRun": False, **fields}


def holds(*expressions: str, **fields: Any) -> bool:
    conditions = [{"name": f"c{index}", "expression": text} for index, text in enumerate(expressions)]
    return webhookconditions.all_hold(webhookconditions.prepared(conditions), review(**fields))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("object.metadata.labels['a'] == 'b'", True),
        ("oldObject == null", True),
        ("request.userInfo.groups.exists(g, g == 'staff')", True),
        ("request.dryRun", False),
        ("has(object.data.y)", False),
    ],
)
def test_a_condition_sees_object_and_request(expression: str, expected: bool) -> None:
    assert holds(expression) is expected


def test_all_conditions_must_hold() -> None:
    assert holds("true", "object.data.x == '1'")
    assert not holds("true", "object.data.x == '2'")


def test_a_false_condition_settles_it_though_another_fails() -> None:
    assert not holds("object.nothing == 'x'", "false")


def test_failures_are_told_together() -> None:
    with pytest.raises(ConditionError) as caught:
        holds("object.no == 'x'", "true", "object.nothing == 'x'")
    assert str(caught.value) == (
        "[expression 'object.no == 'x'' resulted in error: no such key: no, "
        "expression 'object.nothing == 'x'' resulted in error: no such key: nothing]"
    )


def test_an_answer_that_is_neither_true_nor_false_is_a_failure() -> None:
    with pytest.raises(ConditionError):
        holds("request.operation")


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ({"name": "x", "expression": "object."}, "m[0].expression"),
        ({"name": "x", "expression": " "}, "m[0].expression"),
        ({"name": "x", "expression": "1 + 1"}, "m[0].expression"),
        ({"name": "x", "expression": "object.metadata.name"}, "m[0].expression"),
        ({"name": "x", "expression": "request.userInfo.nothing == 'x'"}, "m[0].expression"),
        ({"name": "x", "expression": "authorizer.path('/').check('get').allowed()"}, "m[0].expression"),
        ({"name": "", "expression": "true"}, "m[0].name"),
        ({"name": "a b", "expression": "true"}, "m[0].name"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(condition: dict[str, Any], field: str) -> None:
    assert [found.field for found in webhookconditions.problems([condition], "m")] == [field]


def test_names_are_unique_and_conditions_few() -> None:
    twice = [{"name": "x", "expression": "true"}] * 2
    assert [found.field for found in webhookconditions.problems(twice, "m")] == ["m[1].name"]
    many = [{"name": f"x{index}", "expression": "true"} for index in range(65)]
    assert [found.field for found in webhookconditions.problems(many, "m")] == ["m"]
