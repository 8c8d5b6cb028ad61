"""A missing key is an error with its place, unless it is asked about or has a default."""

from __future__ import annotations

from typing import Any

import pytest

from core.expressions import BlockedError, EvaluationError, evaluate_condition, resolve_value

VARIABLES: dict[str, Any] = {
    "inputs": {"name": "Ann", "null": None, "m": {"city": "Bern"}, "l": [{"id": 1}, {}], "key": "hidden"},
    "steps": {"a": {"output": {"count": 1}, "outputs": {"count": 1}}},
}


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("Hello {{ inputs.nmae }}", "inputs.nmae is missing", 10),
        ("x {{ .inputs.m.ctiy }}", "inputs.m.ctiy is missing", 6),
        ("x {{ $.inputs.m.ctiy }}", "inputs.m.ctiy is missing", 6),
        ("x {{ inputs.m.a.b.c }}", "inputs.m.a is missing", 6),
        ("{{ upper inputs.x }}", "inputs.x is missing", 10),
        ('{{ printf "%v" inputs.x }}', "inputs.x is missing", 16),
        ("{{ toJson inputs.x }}", "inputs.x is missing", 11),
        ("{{ inputs.x | toString }}", "inputs.x is missing", 4),
        ("{{ list 1 (inputs.x) }}", "inputs.x is missing", 12),
        ('{{ dict "a" inputs.x | toJson }}', "inputs.x is missing", 13),
        ("{{ len inputs.x }}", "inputs.x is missing", 8),
        ("{{ range inputs.l }}{{ .id }}{{ end }}", "id is missing", 24),
        ("{{ with inputs.m }}{{ .ctiy }}{{ end }}", "ctiy is missing", 23),
        ("{{ $x := inputs.x }}{{ $x }}", "inputs.x is missing", 10),
        ("{{ $x := inputs.m }}{{ $x.ctiy }}", "$x.ctiy is missing", 24),
        ("{{ $x := inputs.x }}{{ $y := $x }}{{ quote $y }}", "inputs.x is missing", 10),
        ('x {{ index inputs "ab" }}', "inputs.ab is missing", 6),
        ('x {{ index inputs "m" "a-b" }}', 'inputs.m["a-b"] is missing', 6),
        ("x {{ index inputs.m inputs.key }}", "inputs.m[.inputs.key] is missing", 6),
        ("x {{ inputs['a-b'] }}", 'inputs["a-b"] is missing', 6),
        ("x {{ (index inputs `m`).ctiy }}", "ctiy is missing", 7),
        ("{{ if inputs.x }}a{{ else }}{{ inputs.x }}{{ end }}", "inputs.x is missing", 32),
        ("{{ default inputs.x inputs.y }}", "this is null, which has no text", 4),
        ("{{ inputs.null }}x", "this is null, which has no text", 4),
        ("{{ html inputs.null }}", "html: null has no text", 4),
        ("x {{ steps.a.output.cuont }}", "steps.a.output.cuont is missing", 6),
    ],
)
def test_a_missing_key_is_an_error_with_its_place(text: str, message: str, column: int) -> None:
    with pytest.raises(EvaluationError) as caught:
        resolve_value({"w": text}, VARIABLES)

    assert not isinstance(caught.value, BlockedError)
    assert message in caught.value.message
    assert caught.value.field == "w"
    assert caught.value.position is not None
    assert caught.value.position.column == column
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('x{{ inputs.x | default "d" }}', "xd"),
        ('x{{ default "d" inputs.x }}', "xd"),
        ('x{{ coalesce inputs.x inputs.y "d" }}', "xd"),
        ('x{{ or inputs.x "d" }}', "xd"),
        ("x{{ and inputs.x 1 | not }}", "xtrue"),
        ('x{{ ternary "y" inputs.x true }}', "xy"),
        ('x{{ hasKey inputs "x" }} {{ exists inputs.x }} {{ empty inputs.x }}', "xfalse false true"),
        ("x{{ if inputs.x }}a{{ else if inputs.y }}b{{ else }}c{{ end }}", "xc"),
        ("x{{ with inputs.x }}a{{ else }}c{{ end }}{{ range inputs.x }}a{{ else }}d{{ end }}", "xcd"),
        ('x{{ eq inputs.x "a" }} {{ ne inputs.x nil }} {{ not inputs.x }}', "xfalse false true"),
        ("x{{ type_of inputs.x }} {{ kindOf inputs.x }}", "xnull invalid"),
        ('x{{ dig "m" "x" "d" inputs }}', "xd"),
        ("{{ $x := inputs.x }}{{ $x | default 1 }}{{ $x = 2 }}{{ $x }}", "12"),
        ("{{ $x := 2 }}{{ $x = inputs.x }}{{ if $x }}a{{ end }}b", "b"),
        ("{{ index inputs `x` | default `d` }}!", "d!"),
        ("{{ toJson inputs.null }}", "null"),
        ("{{ range inputs.l }}{{ .id | default 0 }}{{ end }}", "10"),
        ('{{ define "t" }}{{ . | default "d" }}{{ end }}x{{ template "t" inputs.x }}', "xd"),
    ],
)
def test_functions_and_blocks_for_missing_keys_take_them(text: str, value: str) -> None:
    assert resolve_value(text, VARIABLES) == value
    assert resolve_value(text, VARIABLES, missing_as_text=True) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Hello {{ inputs.nmae }}", "Hello <no value>"),
        ("x{{ inputs.null }}", "x<no value>"),
        ("{{ html inputs.null }}", "&lt;no value&gt;"),
        ("x{{ index inputs `ab` }}", "x<no value>"),
        ("{{ $x := inputs.x }}{{ $x }}{{ len inputs.x }}", "<no value>0"),
    ],
)
def test_as_text_it_renders_as_in_go(text: str, value: str) -> None:
    assert resolve_value(text, VARIABLES, missing_as_text=True) == value


def test_the_most_similar_key_is_suggested() -> None:
    for text, guess in (
        ("x {{ inputs.nmae }}", "did you mean inputs.name?"),
        ("x {{ index inputs `m` `ctiy` }}", "did you mean inputs.m.city?"),
        ("x {{ inputs.q }}", 'for an optional value write inputs.q | default ""'),
    ):
        with pytest.raises(EvaluationError) as caught:
            resolve_value(text, VARIABLES)
        assert caught.value.remedy == guess


def test_a_step_that_has_no_output_yet_is_waited_for() -> None:
    with pytest.raises(BlockedError) as caught:
        resolve_value("x {{ steps.late.output.n }}", VARIABLES)
    assert caught.value.steps == {"late"}


def test_conditions_fail_alike() -> None:
    with pytest.raises(EvaluationError, match=r"inputs\.x is missing"):
        evaluate_condition("{{ gt (len inputs.x) 0 }}", VARIABLES)
    assert evaluate_condition("{{ gt (len inputs.x) 0 }}", VARIABLES, missing_as_text=True) is False
    assert evaluate_condition('{{ eq inputs.x "a" }}', VARIABLES) is False
