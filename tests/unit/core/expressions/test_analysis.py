"""What the analysis says about expressions without evaluating them, and that evaluation agrees with it."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.expressions import (
    EvaluationLimits,
    ExpressionError,
    Position,
    check_condition,
    check_value,
    compile_template,
    condition_references,
    is_constant,
    references_of,
    resolve_value,
)
from core.expressions.analysis import is_timeless
from core.expressions.expression import FUNCTIONS
from core.expressions.limits import Meter
from core.expressions.template import nodes, parser
from core.expressions.template.functions import Context


@pytest.mark.parametrize(
    ("text", "steps", "unknown"),
    [
        ("{{ steps.a.output.x }}", {"a"}, False),
        ("{{ steps['my-step'].output }}{{ $.steps.b.output }}", {"my-step", "b"}, False),
        ('{{ index .steps "a" "output" }}', {"a"}, False),
        ('{{ (index steps "a").output.x | default 1 }}', {"a"}, False),
        ('{{ get steps "a" | toJson }}{{ dig "b" "output" "x" steps }}', {"a", "b"}, False),
        ("{{ if steps.a }}{{ range steps.b.output.l }}{{ steps.c.output }}{{ end }}{{ end }}", {"a", "b", "c"}, False),
        ('{{ define "t" }}{{ $.steps.a }}{{ .steps.b }}{{ end }}{{ template "t" . }}', {"a", "b"}, False),
        ('{{ define "t" }}{{ .output.steps.z }}{{ end }}{{ template "t" steps.a }}', {"a"}, False),
        ('{{ define "t" }}{{ .a.x }}{{ end }}{{ template "t" steps }}', {"a"}, False),
        ('{{ define "t" }}{{ toJson . }}{{ end }}{{ template "t" steps }}', set(), True),
        (
            '{{ define "t" }}{{ template "u" .steps }}{{ end }}{{ define "u" }}{{ .b }}{{ end }}{{ template "t" . }}',
            {"b"},
            False,
        ),
        ("{{ with .steps.a }}{{ .output.x }}{{ .steps.b }}{{ end }}", {"a"}, False),
        ("{{ with .steps }}{{ .a.output.x }}{{ end }}", {"a"}, False),
        ("{{ with .steps }}{{ .a.output.x }}{{ else }}none{{ end }}", {"a"}, True),
        ("{{ with .steps }}{{ with .a }}{{ .output }}{{ $.steps.c }}{{ end }}{{ end }}", {"a", "c"}, False),
        ("{{ range .steps.a.output.items }}{{ .name }}{{ end }}", {"a"}, False),
        ("{{ range $name, $step := .steps }}{{ $step.output }}{{ end }}", set(), True),
        ("{{ range $i, $e := .inputs.l }}{{ $e.steps.a }}{{ $.steps.b.output }}{{ end }}", {"b"}, False),
        ("{{ range inputs.l }}{{ steps.a.output.x }}{{ end }}", {"a"}, False),
        ("{{ $x := .steps.a }}{{ $x.output.y }}", {"a"}, False),
        ("{{ $x := .steps }}{{ $x.a.output }}{{ index $x `b` }}", {"a", "b"}, False),
        ("{{ $x := . }}{{ $x.steps.a }}{{ $y := $x.steps }}{{ get $y `b` }}", {"a", "b"}, False),
        ("{{ $x := .inputs }}{{ if .inputs.z }}{{ $x = .steps }}{{ end }}{{ $x.a }}", {"a"}, False),
        ("{{ $x := .inputs }}{{ range .inputs.l }}{{ $x.a }}{{ $x = $.steps }}{{ end }}", {"a"}, False),
        ("{{ $x := .steps }}{{ $x }}", set(), True),
        ("{{ $x := .steps }}", set(), False),
        ("{{ index . `steps` `a` `output` }}", {"a"}, False),
        ("{{ index . .inputs.root }}", set(), True),
        ('{{ .steps | dig "a" "output" "x" 0 }}', {"a"}, False),
        ("{{ get .steps .inputs.which }}", set(), True),
        ("{{ index .steps.a.output .inputs.which }}", {"a"}, False),
        ("{{ (or .steps.a .steps.b).output }}", {"a", "b"}, False),
        ("{{ hasKey .steps `a` }}", {"a"}, False),
        ("{{ index .steps .inputs.which }}", set(), True),
        ("{{ steps | toJson }}", set(), True),
        ("{{ . | toJson }}", set(), True),
        ("{{ range inputs.l }}{{ . }}{{ end }}", set(), False),
        ("see steps.v1.json", set(), False),
        ("{{ print `steps.a.output` }}", set(), False),
        ("{{ steps.a.", set(), False),
    ],
)
def test_names_the_steps_of_a_text(text: str, steps: set[str], unknown: bool) -> None:
    found = references_of({"x": [text]})
    assert (set(found.steps), found.unknown_steps) == (steps, unknown)
    assert condition_references(text) == found


def test_names_roots_and_functions() -> None:
    found = references_of(["{{ inputs.a | upper }}", "{{ .story.name }}{{ packet.x }}{{ (now).Year }}"])
    assert found.roots == {"inputs", "story", "packet"}
    assert found.functions == {"upper", "now"}


def test_lists_all_problems_with_path_and_place() -> None:
    value = {"a": "{{ nope }}", "b": [1, {"c": "{{ if }}"}], "$bubuTemplate": 5, "ok": "{{ inputs.x }}"}
    problems = check_value(value, "spec.steps[0].with")
    assert [problem.path for problem in problems] == [
        "spec.steps[0].with.a",
        "spec.steps[0].with.b[1].c",
        "spec.steps[0].with.$bubuTemplate",
    ]
    assert problems[0].position == Position(1, 4)


def test_a_condition_without_braces_is_a_word_or_cel() -> None:
    assert not check_condition("Yes", "if")
    assert not check_condition("", "if")
    assert not check_condition("inputs.ready == true", "if")
    assert check_condition("inputs.ready = true", "if")[0].remedy == "write == to compare"


@pytest.mark.parametrize(
    ("value", "constant"),
    [("a", True), (["a", {"b": 1}], True), ({"b": "{{ 1 }}"}, False), ({"$bubuTemplate": "x"}, False), (None, True)],
)
def test_knows_what_needs_no_evaluation(value: object, constant: bool) -> None:
    assert is_constant(value) is constant


@pytest.mark.parametrize(
    ("text", "timeless"),
    [
        ("", True),
        ("true", True),
        ("steps.a.output.ok && inputs.x > 1", True),
        ("timestamp(inputs.at) > timestamp('2026-01-01T00:00:00Z')", True),
        ("{{ eq steps.a.output.state `paid` }}", True),
        ('{{ gt (toDate "2006-01-02" inputs.at | unixEpoch | int) 5 }}', True),
        ("{{ gt (now | unixEpoch | int) 5 }}", False),
        ('{{ define "t" }}{{ now }}{{ end }}{{ template "t" }}', False),
        ("{{ if inputs.x }}{{ eq (randInt 0 9) 3 }}{{ end }}", False),
        ('{{ eq (date "15" inputs.hour) "12" }}', False),
        ("{{ gt (ago inputs.at) `1h` }}", False),
        ("{{ nope", True),
    ],
)
def test_knows_whether_time_or_chance_change_a_condition(text: str, timeless: bool) -> None:
    assert is_timeless(text) is timeless


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_function_that_is_called_timeless_looks_at_the_clock(name: str) -> None:
    """Each function is called with arguments of many kinds. A timeless function must not use time or chance."""
    asked: list[str] = []

    class Watched(random.Random):
        def getrandbits(self, k: int, /) -> int:
            asked.append("chance")
            return super().getrandbits(k)

        def random(self) -> float:
            asked.append("chance")
            return super().random()

    def now() -> datetime:
        asked.append("time")
        return datetime(2026, 1, 2, tzinfo=UTC)

    if name in ("call", "fail"):
        return
    for count in range(4):
        for arguments in itertools.product(('"2006"', "1.5", '(list 3 "a")'), repeat=count):
            text = f"{{{{ {name} {' '.join(arguments)} }}}}"
            context = Context(Meter(EvaluationLimits()), now=now, chance=Watched(1))
            with contextlib.suppress(ExpressionError):
                compile_template(text).evaluate({}, context)
    assert not asked or not is_timeless(f"{{{{ {name} 1 }}}}")


# Laws over random templates.

_NAMES = st.sampled_from(["a", "b", "my-step", "c"])
_PATHS = st.one_of(
    _NAMES.filter(lambda name: "-" not in name).map(lambda name: f"steps.{name}.output.x"),
    _NAMES.map(lambda name: f'steps["{name}"].output.x'),
    _NAMES.map(lambda name: f"steps['{name}'].output"),
    _NAMES.map(lambda name: f'(index .steps "{name}").output'),
    _NAMES.map(lambda name: f'(get steps "{name}")'),
    _NAMES.map(lambda name: f'(dig "{name}" "output" "x" 1 steps)'),
    st.sampled_from(
        [
            *("$.steps.b.output", "steps", ".", "$", "inputs.l", "inputs.which", "(index .steps inputs.which)", "$v"),
            *("$v.a", "$v.steps.b.output", ".a.output", ".steps.a", "(steps | dig `a` `output` 1)", "(index $v `b`)"),
        ]
    ),
)
_LITERALS = st.sampled_from(["1", '"a"', "true", "nil", "2.5", "'x'"])
_OPERANDS = st.recursive(
    st.one_of(_PATHS, _LITERALS),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["print", "list", "and", "or", "eq", "default", "coalesce"]), inner, inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from(["not", "toJson", "len", "first", "keys", "empty"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(inner, st.sampled_from(["toString", "print 1", "default 2", "int"])).map(
            lambda p: f"({p[0]} | {p[1]})"
        ),
    ),
    max_leaves=6,
)
_PIPES = _OPERANDS
_BLOCKS = st.recursive(
    st.one_of(st.sampled_from(["text", " \n", "}}"]), _PIPES.map(lambda pipe: f"{{{{ {pipe} }}}}")),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["if", "with", "range"]), _PIPES, inner, inner).map(
            lambda p: f"{{{{ {p[0]} {p[1]} }}}}{p[2]}{{{{ else }}}}{p[3]}{{{{ end }}}}"
        ),
        st.tuples(_PIPES, inner).map(lambda p: f"{{{{ $v := {p[0]} }}}}{p[1]}"),
        st.tuples(_PIPES, inner).map(lambda p: f"{{{{ $v = {p[0]} }}}}{p[1]}"),
        st.tuples(_PIPES, inner).map(lambda p: f"{{{{ with {p[0]} }}}}{p[1]}{{{{ end }}}}"),
        _PIPES.map(lambda pipe: f'{{{{ template "t" {pipe} }}}}'),
        st.lists(inner, min_size=2, max_size=3).map("".join),
    ),
    max_leaves=5,
)
_DEFINED = st.sampled_from([".a.output", "$.b", "$.steps.a", ".steps.b", ".", "toJson ."])
_TEMPLATES = st.tuples(_BLOCKS, _DEFINED).map(
    lambda parts: f'{{{{ define "t" }}}}{{{{ {parts[1]} }}}}{{{{ end }}}}{{{{ $v := 0 }}}}{parts[0]}'
)


class _Watched(dict[str, Any]):
    """A map that records which keys were read."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.touched: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.touched.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.touched.add(key)
        return super().get(key, default)

    def values(self) -> Any:
        self.touched.update(self)
        return super().values()

    def __iter__(self) -> Iterator[str]:
        self.touched.update(self)
        return super().__iter__()


@settings(max_examples=150, deadline=None)
@given(_TEMPLATES)
def test_parsing_the_rendered_tree_gives_the_same_tree(text: str) -> None:
    tree = parser.parse(text, FUNCTIONS)
    rendered = nodes.render(tree)
    assert parser.parse(rendered, FUNCTIONS) == tree
    assert nodes.render(parser.parse(rendered, FUNCTIONS)) == rendered


@settings(max_examples=200, deadline=None)
@given(_TEMPLATES)
def test_evaluation_touches_only_the_steps_that_are_named(text: str) -> None:
    steps = _Watched({name: {"output": {"x": [1, "y"]}} for name in ("a", "b", "my-step", "d")})
    variables = {"inputs": {"l": [1, {"x": 2}], "which": "d"}, "steps": steps}
    found = references_of(text)
    template = compile_template(text)
    steps.touched.clear()
    with contextlib.suppress(ExpressionError):
        template.program.render(variables, Context(Meter(EvaluationLimits(steps=2000))))
    assert found.unknown_steps or steps.touched <= found.steps


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="{}.$ |()[]\"'`a1steps-=:,\n/*", max_size=40))
def test_any_text_either_has_problems_or_can_be_evaluated_within_its_budget(noise: str) -> None:
    text = "{{" + noise + "}}"
    problems = check_value(text, "f")
    assert all(problem.position is not None for problem in problems)
    error = _error_of(text)
    assert error is None or (error.position is not None and str(error))
    assert error is not None or not problems


def _error_of(text: str) -> ExpressionError | None:
    try:
        resolve_value(text, {"inputs": {}, "steps": {}}, limits=EvaluationLimits(steps=1000))
    except ExpressionError as error:
        return error
    return None
