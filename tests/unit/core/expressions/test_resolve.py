"""Values, conditions, errors with their places, and waiting for steps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.expressions import (
    BlockedError,
    EvaluationError,
    ExpressionError,
    ForbiddenFunctionError,
    OffloadedDataError,
    Position,
    TemplateSyntaxError,
    VariableScope,
    evaluate_condition,
    resolve_object,
    resolve_value,
)
from core.expressions.limits import EvaluationLimits, Meter
from core.expressions.resolve import Resolver
from core.expressions.template.functions import Context

_SCOPE = VariableScope(
    {"n": 12345678901234567, "l": [{"a": 1}], "m": {"x y": {"z": [10, 20]}}},
    {"my-step": {"output": {"ok": True}, "outputs": {"ok": True}}, "waiting": {"signals": {}}},
)


def _resolve(value: Any, **extra: Any) -> Any:
    return resolve_value(value, {**_SCOPE.variables, **extra})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ inputs.l[0].a }}", 1),
        ("{{ inputs.l[0] }}", {"a": 1}),
        ("{{ steps['my-step'].output }}", {"ok": True}),
        ('{{ steps["my-step"].output.ok }}', True),
        ("{{ steps.my_step.output.ok }}", True),
        ("{{ inputs['m']['x y'].z[1] }}", 20),
        ("{{ $['inputs'].n }}", 12345678901234567),
        ("{{ $x := inputs.m }}{{ $x['x y'].z }}", "[10 20]"),
        ("{{ inputs.n }}", 12345678901234567),
    ],
)
def test_subscripts_lead_to_values_of_their_type(text: str, expected: object) -> None:
    assert _resolve(text) == expected


def test_results_are_not_evaluated_again() -> None:
    assert resolve_value("{{ inputs.evil }}", {"inputs": {"evil": "{{ env `HOME` }}"}}) == "{{ env `HOME` }}"


def test_an_error_names_field_line_column_and_remedy() -> None:
    with pytest.raises(EvaluationError) as caught:
        _resolve({"a": [{"b": "text\n  {{ upper inputs.n }}"}]})
    assert caught.value.field == "a[0].b"
    assert caught.value.position == Position(2, 12)
    assert str(caught.value) == (
        "a[0].b: upper needs string, not float64 (line 2, column 12); convert with toString, or give a default\n"
        "    {{ upper inputs.n }}\n"
        "             ^"
    )


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("{{ inputs.a == 1 }}", Position(1, 13), "write eq"),
        ("{{ steps.my-step.output }}", Position(1, 12), 'steps["my-step"]'),
        ("a\n{{ if true }}", Position(2, 1), "{{ end }}"),
        ("{{ payload.x }}", Position(1, 4), "write .payload"),
        ("{{ unknown 1 }}", Position(1, 4), ""),
        ("{{ /* c */ }}", Position(1, 4), "{{/* text */}}"),
        ("{{ 08 }}", Position(1, 4), "octal"),
    ],
)
def test_a_syntax_error_says_where_and_what_to_write(text: str, position: Position, hint: str) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        _resolve(text)
    assert caught.value.position == position
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["env", "expandenv", "getHostByName"])
def test_functions_that_read_the_operators_world_are_refused_by_name(name: str) -> None:
    with pytest.raises(ForbiddenFunctionError, match=f"function {name} is not available"):
        _resolve(f'{{{{ {name} "HOME" }}}}')


def test_a_function_that_is_missing_says_so_by_name() -> None:
    with pytest.raises(TemplateSyntaxError, match="bcrypt is not available: it is made to be slow"):
        _resolve('{{ bcrypt "x" }}')


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("{{ inputs.mm }}", 'for an optional value write {{ inputs.mm | default "" }}'),
        ("{{ input.n }}", "did you mean inputs?"),
        ("{{ step.my_step.output }}", "did you mean steps?"),
        ("{{ payload.n }}", "write .payload for a variable"),
        ("a\n{{ inputs.n | uper }}", "did you mean upper?"),
        ("{{ to_json inputs.n }}", "did you mean toJson?"),
        ("{{ .input.n }}", "did you mean inputs?"),
        ("{{ steps.my_stepp.output.ok }}", "did you mean steps.my_step?"),
        ("{{ steps['my-stp'].output.ok }}", "did you mean steps"),
        ("{{ steps.my_step.output.okk }}", "did you mean steps.my_step.output.ok?"),
        ("{{ inputs['m']['x  y'] }}", 'did you mean inputs.m["x y"]?'),
        ("{{ inputs.l[0].aaa }}", "for an optional value"),
        ("{{ inputs['l'][7] }}", 'for an optional value write {{ inputs.l[7] | default "" }}'),
        ("{{ inputs['m']['z z'] }}", 'for an optional value write {{ inputs.m["z z"] | default "" }}'),
    ],
)
def test_a_missing_key_is_told_with_the_nearest_known_one(text: str, remedy: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        _resolve(text)
    assert remedy in caught.value.remedy


def test_a_long_key_is_compared_with_nothing() -> None:
    with pytest.raises(ExpressionError, match="for an optional value"):
        resolve_value("{{ inputs." + "a" * 100 + " }}", {"inputs": {"a" * 99: 1}})


def test_a_path_into_a_missing_step_names_the_step() -> None:
    with pytest.raises(BlockedError) as caught:
        _resolve("{{ steps.gone.output.x }}")
    assert (caught.value.steps, caught.value.settled) == (frozenset({"gone"}), False)


def test_a_missing_key_of_a_delivered_output_is_settled() -> None:
    with pytest.raises(BlockedError) as caught:
        _resolve("{{ steps.my_step.output.x }}")
    assert caught.value.settled


def test_a_step_that_only_has_signals_has_not_delivered() -> None:
    with pytest.raises(BlockedError) as caught:
        _resolve("{{ steps.waiting.output.x }}")
    assert not caught.value.settled


def test_a_larger_template_over_a_missing_step_waits() -> None:
    with pytest.raises(BlockedError) as caught:
        _resolve('{{ if eq steps.gone.output.x "a" }}{{ steps["other"].output.y.z }}{{ end }}')
    assert caught.value.steps == frozenset({"gone", "other"})


def test_a_template_that_copes_with_a_missing_step_gives_its_value() -> None:
    assert _resolve('{{ dig "gone" "output" "x" "none" steps }}') == "none"


def test_wrapped_variables_are_resolved_and_hide_the_outer_ones() -> None:
    wrapper = {
        "$bubuTemplate": "{{ .v }}{{ inputs.n }}",
        "$bubuTemplateVars": {"v": "{{ inputs.l[0].a }}", "inputs": {"n": "!"}},
    }
    assert _resolve({"x": wrapper}) == {"x": "1!"}


def test_resolve_object_refuses_other_results() -> None:
    assert resolve_object(None, _SCOPE.variables) is None
    with pytest.raises(EvaluationError, match="not an object"):
        resolve_object({"$bubuTemplate": "{{ inputs.l }}"}, _SCOPE.variables)


def test_a_condition_without_braces_is_cel() -> None:
    assert evaluate_condition("inputs.ready == true", {"inputs": {"ready": True}})
    assert not evaluate_condition("inputs.ready == true", {"inputs": {"ready": "true"}})


def test_what_is_no_boolean_is_told_by_its_type_and_never_shown() -> None:
    with pytest.raises(EvaluationError, match="gave a string, which is not a boolean") as caught:
        evaluate_condition("{{ inputs.token }}", {"inputs": {"token": "hunter2"}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["{{ inputs.big }}", "inputs.big.flag"])
def test_a_condition_in_object_storage_has_to_be_fetched(text: str) -> None:
    with pytest.raises(OffloadedDataError):
        evaluate_condition(text, {"inputs": {"big": {"$bubuStorageRef": "outputs/n/s"}}}, finished=True)


@pytest.mark.parametrize("text", ["{{ inputs.big.flag }}", '{{ default "x" inputs.big.flag }}', "{{ len inputs.l }}"])
def test_of_a_root_that_is_stored_in_part_only_plain_paths_are_read(text: str) -> None:
    variables = {"inputs": {"big": {"$bubuStorageRef": "outputs/n/s"}, "l": [1]}}
    resolver = Resolver(Context(Meter(EvaluationLimits())), stored=frozenset({"inputs"}))

    assert resolver.value("{{ inputs.l }}", variables) == [1]
    with pytest.raises(OffloadedDataError):
        resolver.value(text, variables)


def test_only_templates_that_look_into_what_is_stored_see_it() -> None:
    plain = {"inputs": {"big": {"$bubuStorageRef": "outputs/n/s"}}}
    own = {"$bubuTemplate": "{{ add inputs.big .mine }}", "$bubuTemplateVars": {"mine": 5}}
    value = {"path": "{{ inputs.big }}", "sum": "{{ add inputs.big 1 }}", "own": own}

    resolved = Resolver(Context(Meter(EvaluationLimits())), {"inputs": {"big": 2}}).value(value, plain)

    assert resolved == {"path": plain["inputs"]["big"], "sum": "3", "own": "7"}


def test_now_is_the_time_of_the_given_clock() -> None:
    clock = lambda: datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)  # noqa: E731 - a clock is a callable
    assert resolve_value('{{ now | date "2006-01-02T15:04:05" }}', {}, now=clock) == "2026-02-03T04:05:06"


@pytest.mark.parametrize("text", ["{{ now }}", "{{ uuidv4 }}", "{{ randAlpha 3 }}", "{{ randInt 1 9 }}"])
def test_deterministic_evaluation_refuses_time_and_chance(text: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="where results must be repeatable"):
        resolve_value(text, {}, deterministic=True)
    assert resolve_value(text, {}, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def test_an_error_text_is_bounded_and_printable() -> None:
    with pytest.raises(ExpressionError) as caught:
        resolve_value("{{ fail inputs.x }}", {"inputs": {"x": "é" * 5000}})
    assert len(str(caught.value)) <= 1024
