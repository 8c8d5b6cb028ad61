"""Conditions in CEL: what they read, the three answers, and errors that help an author."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.evaluation.evaluator import MAX_LOOP_TICKS
from core.expressions import (
    BlockedError,
    EvaluationError,
    ExpressionError,
    LimitExceededError,
    OffloadedDataError,
    Position,
    TemplateSyntaxError,
    check_condition,
    condition_references,
    evaluate_condition,
)
from core.expressions.analysis import is_constant_condition, most_steps
from core.expressions.cel.condition import compile_condition
from core.expressions.cel.cost import UNBOUNDED
from core.expressions.limits import EvaluationLimits, Meter
from core.expressions.resolve import VariableScope
from core.expressions.scopes import BATCH_RUNTIME, REALTIME_RUNTIME, REALTIME_STATIC

_INPUTS: dict[str, Any] = {
    "ready": True,
    "n": 5,
    "ratio": 0.5,
    "text": "hunter2",
    "yes": "Yes",
    "list": [1, 2, 3],
    "records": [{"n": 1, "ok": True}, {"m": 2}],
    "map": {"a-b": {"c": 1}, "nothing": None},
    "big": 2**70,
    "which": "fetch",
}
_STEPS: dict[str, Any] = {
    "fetch": {"output": {"count": 3, "items": ["a"], "blob": {"$bubuStorageRef": "key"}, "deep": {"x": 1}}},
    "fetch-data": {"output": {"ok": True}},
    "signalled": {"signals": {"go": True}},
    "stored": {"output": {"$bubuStorageRef": "key"}},
}
_VARIABLES = VariableScope(_INPUTS, _STEPS).variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inputs.ready == true", True),
        ("steps.fetch.output.count > 0", True),
        ("steps.fetch.output.count > 2.5 && inputs.n == 5.0", True),
        ("!inputs.ready || inputs.n in [1, 5]", True),
        ("has(inputs.ready) && !has(inputs.gone)", True),
        ("has(inputs.gone.deeper.still)", False),
        ("has(steps.fetch.output.count) && !has(steps.fetch.output.gone.deeper)", True),
        ("size(inputs.list) == 3 && inputs.list.all(x, x > 0) && inputs.list.exists(x, x == 2)", True),
        ("inputs.list.map(x, x * 2).filter(x, x > 2) == [4, 6]", True),
        ("inputs.list.exists_one(x, x == 2)", True),
        ("inputs.text.startsWith('hunt') && inputs.text.matches('^[a-z]+[0-9]$')", True),
        ("inputs.text.upperAscii() + '!' == 'HUNTER2!'", True),
        ("steps[\"fetch-data\"].output.ok && steps['fetch-data'].output.ok && steps.fetch_data.output.ok", True),
        ("inputs.map['a-b'].c == 1 && 'a-b' in inputs.map && !('z' in inputs.map)", True),
        ("inputs.map.nothing == null", True),
        ("!has(inputs.map.nothing.x)", True),
        ("steps[inputs.which].output.count == 3", True),
        ("cel.bind(out, steps.fetch.output, out.count == 3 && size(out.items) == 1)", True),
        ("inputs.?gone.orValue(7) == 7 && inputs.?n.orValue(7) == 5", True),
        ("inputs.n > 3 ? inputs.ready : false", True),
        ("inputs.big > 9223372036854775807", True),
        ("timestamp('2026-01-02T03:04:05Z') - timestamp('2026-01-01T00:00:00Z') > duration('24h')", True),
        ("string(inputs.n) + string(inputs.ratio) == '50.5'", True),
        ("inputs.yes", True),
        ("'no'", False),
        ("steps.signalled.signals.go", True),
        ("has(steps.fetch.output.blob)", True),
        ("  inputs.n\n  == 5  ", True),
    ],
)
def test_says_whether_it_holds(text: str, expected: bool) -> None:
    assert evaluate_condition(text, _VARIABLES) is expected


@pytest.mark.parametrize(
    "word", ["true", "YES", " 1 ", "y", "false", "No", "0", "n", "", "   "], ids=lambda word: repr(word)
)
def test_the_eight_words_and_blank_keep_their_meaning(word: str) -> None:
    assert evaluate_condition(word, {}) is (word.strip().lower() in ("", "true", "yes", "1", "y"))
    assert not check_condition(word, "if")


@pytest.mark.parametrize(
    ("text", "steps", "when_finished"),
    [
        ("steps.late.output.ok", {"late"}, "error"),
        ("has(steps.late)", {"late"}, False),
        ("has(steps.late.output)", {"late"}, False),
        ("has(steps.late.output.ok)", {"late"}, False),
        ("'late' in steps", {"late"}, False),
        ("steps.?late.hasValue()", {"late"}, False),
        ("has(steps.signalled.output)", {"signalled"}, False),
        ("has(steps.signalled.output.x) || inputs.ready", set(), True),
        ("inputs.gone || steps.late.output.ok", {"late"}, "error"),
        ("steps[inputs.text].output.ok", set(), "error"),
        ("inputs.ready || steps.late.output.ok", None, True),
        ("!inputs.ready && steps.late.output.ok", None, False),
        ("steps.signalled.output.x", {"signalled"}, "error"),
    ],
)
def test_waits_for_what_may_still_come(text: str, steps: set[str] | None, when_finished: Any) -> None:
    variables = VariableScope(_INPUTS, {key: value for key, value in _STEPS.items() if key != "stored"}).variables
    for step in ("fetch",):
        variables["steps"][step] = {"output": {"count": 3}}
    if steps is None or "|| inputs.ready" in text:
        assert evaluate_condition(text, variables) is when_finished
    else:
        with pytest.raises(BlockedError) as caught:
            evaluate_condition(text, variables)
        assert caught.value.steps == steps
        assert not caught.value.settled
    if when_finished == "error":
        with pytest.raises(EvaluationError):
            evaluate_condition(text, variables, finished=True)
    else:
        assert evaluate_condition(text, variables, finished=True) is when_finished


def test_what_looks_at_all_steps_waits_for_all() -> None:
    variables = {"inputs": {"x": "b"}, "steps": {"a": {"output": {"ok": True, "blob": {"$bubuStorageRef": "k"}}}}}
    for text in ("size(steps) == 1", "steps.all(name, steps[name].output.ok)", "inputs.x in steps || true"):
        with pytest.raises(BlockedError) as caught:
            evaluate_condition(text, variables)
        assert caught.value.steps == frozenset()
        assert evaluate_condition(text, variables, finished=True)


@pytest.mark.parametrize(
    "text",
    [
        "steps.fetch.output.blob.x == 1",
        "steps.stored.output.x == 1",
        "has(steps.fetch.output.blob.x)",
        "size(steps.fetch.output) > 0",
        "has(steps.fetch.output.blob) && steps.fetch.output.blob.x == 1",
        "steps.fetch.output.blob == null",
    ],
)
def test_reading_inside_offloaded_data_is_told_apart(text: str) -> None:
    with pytest.raises(OffloadedDataError):
        evaluate_condition(text, _VARIABLES)


def test_offloaded_data_that_does_not_decide_does_not_matter() -> None:
    assert evaluate_condition("inputs.ready || steps.fetch.output.blob.x == 1", _VARIABLES)


@pytest.mark.parametrize(
    ("text", "place", "message", "remedy"),
    [
        ("inputs.a = 1", (1, 10), "'=' is not part of the language", "write =="),
        ("inputs.a and inputs.b", (1, 10), "'and' does not belong here", "&&"),
        ("not inputs.a", (1, 5), "does not belong here", "write !"),
        ("eq inputs.a 1", (1, 4), "does not belong here", "{{"),
        ("inputs.a | default 1", (1, 10), "'|' is not part of the language", "{{"),
        ("inputs.a ==", (1, 12), "ends too early", "complete it"),
        ("inputs.a == 'x", (1, 13), "a string is not closed", "quote"),
        ("(inputs.a", (1, 10), ") is missing", "add )"),
        ("inputs.in == 1", (1, 8), "in is a reserved word", '["in"]'),
        ("steps.fetch-data.output.ok", (1, 1), "is a subtraction", 'did you mean steps["fetch-data"]?'),
        ("inputs.a &&\n  steps.fetch-2.output.ok", (2, 3), "is a subtraction", 'steps["fetch-2"]'),
        ("fetch.output.count > 0", (1, 1), "there is no fetch", "did you mean steps.fetch?"),
        ("fetchdata.output.ok", (1, 1), "there is no fetchdata", 'did you mean steps["fetch-data"]?'),
        ("step.fetch.output.ok", (1, 1), "there is no step", "did you mean steps?"),
        ("inputs.a == True", (1, 13), "there is no True", "write true"),
        ("on", (1, 1), "there is no on", "in quotes"),
        ("len(inputs.a) > 0", (1, 1), "there is no function len", "size(x)"),
        ("inputs.a.lowerASCII() == 'x'", (1, 10), "there is no function lowerASCII", "did you mean lowerAscii?"),
        ("now() > timestamp(inputs.at)", (1, 1), "there is no function now", "clock"),
        ("size(inputs.a, 1)", (1, 1), "does not take these arguments", "how many"),
        ("has(inputs['a'])", (1, 11), "has()", '"b" in a'),
        ("1 + 'a' == 2", (1, 3), "+ does not take an integer and a string", "convert"),
        ("inputs.a == 1 && size(3) > 0", (1, 22), "size does not take an integer", "convert"),
        ("size(inputs.a)", (1, 5), "gives an integer, which is not a boolean", "compare it"),
        ("[1]", (1, 1), "gives a list, which is not a boolean", "compare it"),
        ("'ä' == inputs.ö", (1, 15), "'ö' is not part of the language", ""),
    ],
)
def test_a_condition_that_does_not_compile_says_where_why_and_what_to_write(
    text: str, place: tuple[int, int], message: str, remedy: str
) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        compile_condition(text, ["fetch", "fetch-data"])
    error = caught.value
    assert error.position is not None
    assert (error.position.line, error.position.column) == place
    assert message in error.message
    assert remedy in error.remedy
    (problem,) = check_condition(text, "spec.steps[0].if", BATCH_RUNTIME, ["fetch", "fetch-data"])
    assert (problem.message, problem.position, problem.excerpt) == (error.message, error.position, error.excerpt)


@pytest.mark.parametrize(
    ("text", "place", "message", "remedy"),
    [
        ("steps.fetch.output.cuont > 0", (1, 19), "steps.fetch.output.cuont is missing", "steps.fetch.output.count?"),
        ("steps.fetsh.output.count > 0", (1, 6), "steps.fetsh is missing", "did you mean steps.fetch?"),
        ("inputs.redy == true", (1, 7), "inputs.redy is missing", "did you mean inputs.ready?"),
        ("inputs.zzz == true", (1, 7), "inputs.zzz is missing", "has(inputs.zzz) && ..."),
        ("inputs.map['z z'] == 1", (1, 11), 'inputs.map["z z"] is missing', '"z z" in inputs.map'),
        ("inputs.list[7] == 1", (1, 12), "inputs.list[7] is missing", "size(inputs.list) > 7"),
        ("inputs.text.x == 1", (1, 12), "inputs.text is a string, not an object", ""),
        ("inputs.map.nothing.x == 1", (1, 19), "inputs.map.nothing is null, not an object", ""),
        ("inputs.text > 1", (1, 13), "> does not take a string and an integer", "int(x)"),
        (
            "inputs.n + inputs.ratio > 1.0",
            (1, 10),
            "+ does not take an integer and a floating point number",
            "double(x)",
        ),
        ("inputs.text && inputs.ready", (1, 13), "&& does not take a string and a bool", "compare it"),
        ("1 / (inputs.n - 5) == 1", (1, 3), "/ by zero", "divisor"),
        ("inputs.n + 9223372036854775807 > 0", (1, 10), "+ leaves the range", "double(x)"),
        ("int(inputs.text) == 1", (1, 4), "int() cannot read a string", "check"),
        ("inputs.records.all(r, r.ok)", (1, 24), "ok is missing in an element", "has(x.ok)"),
        ("inputs.n.all(x, x)", (1, 13), "not over an integer", ""),
        ("inputs.text", (1, 1), "gave a string, which is not a boolean", "compare it"),
        ("inputs.map", (1, 1), "gave an object, which is not a boolean", "compare it"),
        ("packet.id == 1", (1, 1), "there is no packet here", "use inputs or steps"),
    ],
)
def test_an_error_names_place_types_and_the_nearest_name(
    text: str, place: tuple[int, int], message: str, remedy: str
) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate_condition(text, _VARIABLES, finished=True)
    error = caught.value
    assert error.position is not None
    assert (error.position.line, error.position.column) == place
    assert message in error.message
    assert remedy in error.remedy
    assert "hunter2" not in str(error)


def test_an_error_shows_the_place_with_a_caret() -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate_condition("inputs.ready &&\n  steps.fetch.output.cuont > 0", _VARIABLES)
    assert str(caught.value).split("\n") == [
        "steps.fetch.output.cuont is missing (line 2, column 21); did you mean steps.fetch.output.count?",
        "    steps.fetch.output.cuont > 0",
        "                      ^",
    ]


@pytest.mark.parametrize(
    ("text", "steps", "roots", "unknown"),
    [
        ("steps.a.output.x > 0", {"a"}, {"steps"}, False),
        (".steps.a.output.x > 0", {"a"}, {"steps"}, False),
        ('steps["my-step"].output.ok && steps[\'other\'].output["k"] == 1', {"my-step", "other"}, {"steps"}, False),
        ("has(steps.a.output) && 'b' in steps && steps.?c.hasValue()", {"a", "b", "c"}, {"steps"}, False),
        ("cel.bind(s, steps.a, s.output.x == s.output.y)", {"a"}, {"steps"}, False),
        ("cel.bind(all, steps, all.a.output.x == 1)", {"a"}, {"steps"}, False),
        ("cel.bind(s, steps.a, true)", {"a"}, {"steps"}, False),
        ("steps.a.output.items.all(i, i.steps.b == steps.c.output.x)", {"a", "c"}, {"steps"}, False),
        ("inputs.l.exists(steps, steps.a == 1)", set(), {"inputs"}, False),
        ("inputs.l.exists(steps, .steps.a.output.ok)", {"a"}, {"inputs", "steps"}, False),
        ("steps[inputs.which].output.ok", set(), {"inputs", "steps"}, True),
        ("steps[steps.a.output.next].output.ok", {"a"}, {"steps"}, True),
        ("steps.exists(name, steps[name].output.ok)", set(), {"steps"}, True),
        ("size(steps) > 1", set(), {"steps"}, True),
        ("(inputs.x ? steps.a : steps.b).output.ok", {"a", "b"}, {"inputs", "steps"}, False),
        ("[steps.a, steps.b].all(s, s.output.ok)", {"a", "b"}, {"steps"}, False),
        ("'steps.a.output' == inputs.x // steps.b", set(), {"inputs"}, False),
        ("steps.a.", set(), set(), False),
        ("true", set(), set(), False),
        ("{{ steps.a.output.x }}", {"a"}, {"steps"}, False),
    ],
)
def test_what_is_read_is_known_from_the_text(text: str, steps: set[str], roots: set[str], unknown: bool) -> None:
    found = condition_references(text)
    assert (set(found.steps), set(found.roots), found.unknown_steps) == (steps, roots, unknown)


def test_functions_are_known() -> None:
    found = condition_references("size(inputs.l) > 0 && math.abs(inputs.n) == 1 && inputs.s.matches('a')")
    assert {"size", "_>_", "_&&_", "math.abs", "matches"} <= found.functions


@pytest.mark.parametrize(
    ("text", "constant", "steps"),
    [
        ("true", True, 0),
        ("1 + 1 == 2", True, 5),
        ("[1, 2].all(x, x > 0)", True, 22),
        ("inputs.n == 1", False, 4),
        ("inputs.l.all(x, x > 0)", False, None),
        ("{{ 1 }}", False, 3),
        ("{{ range inputs.l }}x{{ end }}", False, None),
    ],
)
def test_constants_and_bounds_are_known(text: str, constant: bool, steps: int | None) -> None:
    assert is_constant_condition(text) is constant
    assert most_steps(text) == steps


def test_a_scope_limits_the_roots() -> None:
    text = "inputs.a == 1 && packet.id == 2"
    (problem,) = check_condition(text, "if", BATCH_RUNTIME)
    assert problem.message == "packet is not available in batch-runtime expressions"
    assert problem.position is not None
    assert problem.position.column == 18
    assert not check_condition(text, "if", REALTIME_RUNTIME)
    assert [problem.message for problem in check_condition("steps.a.output.x == 1", "if", REALTIME_STATIC)] == [
        "steps is not available in realtime-static expressions"
    ]


@pytest.mark.parametrize(
    ("text", "limits", "limit"),
    [
        ("inputs.a == '" + "x" * 3000 + "'", EvaluationLimits(), "expression_characters"),
        ("inputs" + ".a" * 100, EvaluationLimits(), "expression_depth"),
        ("inputs.?a" + ".optMap(x, x)" * 5 + ".hasValue()", EvaluationLimits(), "expression_macros"),
        ("inputs.many.all(x, x == 1)", EvaluationLimits(), "iterations"),
        ("size(inputs.many) > 0", EvaluationLimits(input_bytes=100), "input_bytes"),
        ("size(inputs.deep) > 0", EvaluationLimits(depth=3), "depth"),
        ("size(inputs.many) > 0", EvaluationLimits(steps=100), "steps"),
    ],
)
def test_a_limit_is_named(text: str, limits: EvaluationLimits, limit: str) -> None:
    variables = {"inputs": {"many": [1] * 20_000, "deep": [[[[[1]]]]]}}
    with pytest.raises(LimitExceededError) as caught:
        evaluate_condition(text, variables, limits=limits)
    assert caught.value.limit == limit
    assert caught.value.position is not None


@pytest.mark.parametrize(
    ("text", "column"),
    [("inputs.n == 1 && size(inputs.many) > 0", 29), ("inputs.n == 1 && size(inputs.deep) > 0", 29)],
)
def test_data_beyond_a_limit_is_told_at_the_place_that_reads_it(text: str, column: int) -> None:
    variables = {"inputs": {"n": 1, "many": [1] * 2_000, "deep": [[[[[1]]]]]}}
    with pytest.raises(LimitExceededError) as caught:
        evaluate_condition(text, variables, limits=EvaluationLimits(depth=3, input_bytes=1_000))
    assert caught.value.position == Position(1, column)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("inputs.n == 1", 1, 200),
        ("inputs.list.all(x, x > 0)", 1_000, 100_000),
        ("inputs.list.map(x, x).size() > 0", 1_000_000, UNBOUNDED),
        ("inputs.list.all(x, inputs.list.all(y, x == y))", 1_000_000, UNBOUNDED),
        ("inputs.text.matches(inputs.text)", UNBOUNDED, UNBOUNDED),
        ("inputs.text.matches('^a+$')", 200, 2_000),
        ("inputs.text.matches('a{1000}')", 10_000, 100_000),
        ("inputs.text.matches('(a{1000}){100}')", 1_000_000, UNBOUNDED),
        (r"inputs.text.matches('\\pL')", UNBOUNDED, UNBOUNDED),
        ("'%.9f'.format([1.0]) == ''", UNBOUNDED, UNBOUNDED),
        ("has(inputs.list)", 1, 50),
    ],
)
def test_the_cost_is_bounded_from_the_text_and_the_size_of_the_data(text: str, least: int, most: int) -> None:
    variables = {"inputs": {"n": 1, "list": [1] * 1_000, "text": "aaa"}}
    assert least <= compile_condition(text).ask(variables, Meter(EvaluationLimits())).ticks <= most


def test_only_what_is_read_is_handed_over() -> None:
    variables = {"inputs": {"n": 1, "secret": "hunter2"}, "steps": {"a": {"output": {"x": 1, "y": 2}}}}
    question = compile_condition("inputs.n == steps.a.output.x && has(steps.a.output.y)").ask(
        variables, Meter(EvaluationLimits())
    )
    assert question.bindings.data == {"inputs": {"n": 1}, "steps": {"a": {"output": {"x": 1, "y": True}}}}


_NAMES = st.sampled_from(["a", "b", "my-step", "c"])
_READS = st.one_of(
    _NAMES.map(lambda name: f'steps["{name}"].output.x'),
    _NAMES.map(lambda name: f'has(steps["{name}"].output.x)'),
    _NAMES.map(lambda name: f'"{name}" in steps'),
    st.sampled_from(
        [
            *("steps.a.output.x", "steps.b.output.l.all(i, i > 0)", "steps[inputs.which].output.x", "size(steps)"),
            *("cel.bind(s, steps, s.a.output.x)", "cel.bind(s, steps.b, s.output.x)", "inputs.n", "inputs.l.size()"),
            *("steps.exists(k, steps[k].output.x == 1)", "steps.?b.output.x.hasValue()", "inputs.l.map(i, i)"),
        ]
    ),
)
_EXPRESSIONS = st.recursive(
    _READS.map(lambda read: f"dyn({read})"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["==", "!="]), inner).map(lambda p: f"dyn({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda p: f"dyn({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"dyn({p[0]} ? {p[1]} : {p[2]})"),
        inner.map(lambda part: f"dyn([{part}, 1].exists(z, z == 1))"),
    ),
    max_leaves=5,
)


def _outcome(text: str, variables: dict[str, Any]) -> Any:
    try:
        return evaluate_condition(f"{text} == 1 || {text} == true", variables, finished=True)
    except ExpressionError as error:
        return type(error)


@settings(max_examples=150, deadline=None)
@given(_EXPRESSIONS)
def test_steps_that_are_not_named_make_no_difference(text: str) -> None:
    inputs = {"n": 1, "l": [1, 2], "which": "c"}
    everything = {name: {"output": {"x": 1, "l": [1]}} for name in ("a", "b", "my-step", "c")}
    found = condition_references(text)
    if found.unknown_steps:
        return
    named = {name: entry for name, entry in everything.items() if name in found.steps}
    assert _outcome(text, {"inputs": inputs, "steps": everything}) == _outcome(text, {"inputs": inputs, "steps": named})


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="inputs.x steps['\"a]() &&||!=<>+-*/?:{}[,1\n\\äß", max_size=60))
def test_any_text_is_a_condition_or_a_problem_with_a_place(text: str) -> None:
    problems = check_condition(text, "if")
    assert all(problem.position is not None for problem in problems)
    error = _outcome_of(text, {"inputs": {"x": 1}, "steps": {}})
    assert error is not None or not problems


def _outcome_of(text: str, variables: dict[str, Any]) -> ExpressionError | None:
    try:
        evaluate_condition(text, variables, finished=True)
    except ExpressionError as error:
        return error
    return None


def _ticks(text: str, inputs: dict[str, Any]) -> int:
    meter = Meter(EvaluationLimits())
    return compile_condition(text).ask({"inputs": inputs, "steps": {}}, meter, finished=True).ticks


def test_a_counted_pattern_over_a_list_is_as_cheap_as_it_is() -> None:
    names = [f"item-{number:03}" for number in range(45)]

    assert _ticks("inputs.l.all(x, x.matches('^[a-z]{4}-[0-9]{3}$'))", {"l": names}) < MAX_LOOP_TICKS
    assert _ticks("inputs.l.all(x, x.matches('^(a{100}){100}$'))", {"l": names}) > MAX_LOOP_TICKS
    assert _ticks(f"inputs.s.matches('[ab]*a{'.' * 90}')", {"s": "ab" * 5_000}) > MAX_LOOP_TICKS
