"""The interface to the CEL engine: what compiles, what is found in an expression, and the limits on work."""

from __future__ import annotations

import time

import pytest

from localcluster.server import rules_cel
from localcluster.server.rules_cel import Binding, CelEvaluationError, CelSyntaxError, compile_expression


def answer(source: str, value: object) -> object:
    return compile_expression(source, result="bool").evaluate(Binding(value))


@pytest.mark.parametrize(
    "source",
    [
        "self.text.size() == 5 && size(self.text) == 5",
        "self.items.map(i, i * 2).exists(i, i == 4)",
        "self.items.filter(i, i > 1).size() == 2",
        "self.items.exists_one(i, i == 2)",
        "self.?missing.orValue('d') == 'd' && self.?text.hasValue()",
        "self.text.matches('^h.*o$') && self.text.upperAscii().startsWith('H')",
        "'a,b'.split(',').join('-') == 'a-b'",
        "self.count / 2 == 1 && self.count % 2 == 1 && type(self.count) == int",
        "self.half == 0.5 && type(self.half) == double",
        "duration('1h') > duration('59m') && timestamp('2024-01-01T00:00:00Z') < timestamp('2025-01-01T00:00:00Z')",
        "true || self.missing",
        "self.missing || true",
    ],
)
def test_the_language_means_what_it_means_on_an_api_server(source: str) -> None:
    assert answer(source, {"text": "héllo", "items": [1, 2, 3], "count": 3, "half": 0.5}) is True


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("self.nope == 1", "no such key: nope"),
        ("self.n + 'a' == 'x'", "no such overload"),
        ("self.n / 0 == 1", "division by zero"),
    ],
)
def test_an_expression_without_a_value_says_why(source: str, told: str) -> None:
    with pytest.raises(CelEvaluationError, match=told):
        answer(source, {"n": 1})


@pytest.mark.parametrize("source", ["self ==", "nope(self)", "unknown == 1", "self.(x)"])
def test_what_does_not_compile_is_a_syntax_error(source: str) -> None:
    with pytest.raises(CelSyntaxError, match="compilation failed"):
        compile_expression(source, result="bool")


def test_the_result_must_be_of_the_wanted_type() -> None:
    with pytest.raises(CelSyntaxError, match="cel expression must evaluate to a bool"):
        compile_expression("size(self)", result="bool")
    with pytest.raises(CelSyntaxError, match="must evaluate to a string"):
        compile_expression("1", result="string")


def test_old_self_is_found_outside_string_literals_only() -> None:
    assert rules_cel.mentions("self == oldSelf", "oldSelf")
    assert rules_cel.mentions("oldSelf.a == 'x'", "oldSelf")
    assert not rules_cel.mentions("self == 'oldSelf'", "oldSelf")
    assert not rules_cel.mentions("self.oldSelf == 1", "oldSelf")


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("!has(self.conditions) || self.conditions.all(c, has(c.reason))", {"conditions"}),
        ("self.a == oldSelf.b", {"a", "b"}),
        ("self == oldSelf", None),
        ("self.all(k, k != '')", None),
        ("self.?a.hasValue()", None),
        ("self['a'] == 1", None),
        ("has(self.a) && 'self' != ''", {"a"}),
    ],
)
def test_only_fields_that_are_looked_at_are_bound(source: str, fields: set[str] | None) -> None:
    assert compile_expression(source, result="bool").fields == fields


def test_a_long_list_is_asked_piece_by_piece_with_the_same_answer() -> None:
    unique = "self.steps.all(step, self.steps.exists_one(other, other.name == step.name))"
    names = [{"name": str(index)} for index in range(600)]
    assert answer(unique, {"steps": names}) is True
    assert answer(unique, {"steps": [*names, {"name": "0"}]}) is False


def test_a_conjunction_is_not_mistaken_for_one_question() -> None:
    assert compile_expression("self.a.all(x, x > 0) && self.b", result="bool").pieces is None
    assert compile_expression("self.a.all(x, (x > 0))", result="bool").pieces is not None
    assert compile_expression("self.a.all(x, x == ')')", result="bool").pieces is not None


def test_a_nested_bomb_is_stopped_within_its_budget() -> None:
    bomb = "self.i.all(a, self.i.all(b, self.i.all(c, self.i.all(d, a + b + c + d >= 0))))"
    started_at = time.thread_time()
    with pytest.raises(CelEvaluationError, match="cost"):
        answer(bomb, {"i": list(range(200))})
    assert time.thread_time() - started_at < 2.0


def test_remembered_answers_tell_apart_what_json_tells_apart() -> None:
    is_int = compile_expression("type(self.value) == int", result="bool")

    assert [is_int.evaluate(Binding({"value": value})) for value in (1, True, 1.0, "1", 1)] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_value_json_cannot_hold_is_answered_without_being_remembered() -> None:
    is_bytes = compile_expression("self.value == b'abc'", result="bool")

    assert is_bytes.evaluate(Binding({"value": b"abc"})) is True
    assert is_bytes.answers == {}


def test_answers_are_remembered_within_a_bound() -> None:
    positive = compile_expression("self.value > 0 && self.value > -1", result="bool")

    assert all(positive.evaluate(Binding({"value": value})) for value in range(1, 2 * rules_cel._ANSWERS))
    assert len(positive.answers) <= rules_cel._ANSWERS
