"""A template that would cost too much, in whatever way, ends in an error that names the limit."""

from __future__ import annotations

import time

import pytest

from core.expressions import EvaluationError, EvaluationLimits, ExpressionError, LimitExceededError, resolve_value
from core.expressions.limits import Meter, Slice, SliceSpentError
from core.expressions.resolve import Resolver
from core.expressions.template.functions import Context

_MANY_KEYS = {f"key {number * 7919 % 99_991}": 1 for number in range(99_991)}
_NOTHING: dict[str, object] = {"inputs": {}, "steps": {}}
_DOUBLE_LIST = "{{ $x := list 1 }}{{ range 40 }}{{ $x = concat $x $x }}{{ end }}"
_DOUBLE_TEXT = '{{ $x := "ab" }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}'
_MILLION = '{{ $x := repeat 1000000 "x" }}'
_ENDLESS = '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" }}'
_SHARED_LIST = "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}"


def _limit_of(text: str, limits: EvaluationLimits | None = None) -> str:
    with pytest.raises(LimitExceededError) as caught:
        resolve_value(text, _NOTHING, limits=limits or EvaluationLimits())
    assert caught.value.position is not None
    return caught.value.limit


def test_a_silent_loop_ends_at_the_step_budget() -> None:
    assert _limit_of("{{ range 9000 }}{{ range 9000 }}{{ end }}{{ end }}") == "steps"


def test_a_huge_range_is_refused_before_it_starts() -> None:
    assert _limit_of("{{ range 1000000000 }}{{ end }}") == "range_items"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param(_DOUBLE_LIST, "collection_items", id="doubling a list"),
        pytest.param(_DOUBLE_TEXT, "text_bytes", id="doubling a text"),
        pytest.param('{{ $x := repeat 1000000 "x" }}{{ replace "" $x $x | len }}', "text_bytes", id="replace"),
        pytest.param('{{ repeat 2000000000 "x" | len }}', "text_bytes", id="repeat"),
        pytest.param('{{ indent 2000000000 "x" | len }}', "text_bytes", id="indent"),
        pytest.param(
            '{{ $x := repeat 1000000 "x" }}{{ join $x (splitList "" "abcdef") | len }}', "text_bytes", id="join"
        ),
        pytest.param('{{ $x := repeat 1000000 "x" }}{{ splitList "" $x | len }}', "collection_items", id="splitList"),
        pytest.param('{{ $x := printf "%999999d" 1 }}{{ print $x $x $x $x $x | len }}', "text_bytes", id="printf"),
        pytest.param(_SHARED_LIST + "{{ $x | toJson | len }}", "text_bytes", id="json of a shared list"),
        pytest.param(_SHARED_LIST + "{{ $x | print | len }}", "text_bytes", id="printing a shared list"),
        pytest.param(_SHARED_LIST + "{{ deepEqual $x $x }}", "steps", id="comparing a shared list"),
        pytest.param(_SHARED_LIST + "{{ deepCopy $x | len }}", "steps", id="copying a shared list"),
        pytest.param(_ENDLESS, "include_depth", id="recursion"),
        pytest.param('{{ printf "%1000000d" (until 5000) | len }}', "text_bytes", id="width of many"),
        pytest.param('{{ printf "%.1000000f" (list 1.5 2.5) | len }}', "text_bytes", id="precision of many"),
        pytest.param('{{ date (repeat 200000 "1 ") 0 | len }}', "layout_characters", id="layout of a date"),
        pytest.param('{{ toDate (repeat 9000 "2 ") (repeat 9000 "3 ") }}', "layout_characters", id="layout to parse"),
        pytest.param('{{ snakecase (repeat 900000 "-") | len }}', "steps", id="character by character"),
    ],
)
def test_growth_is_refused_before_it_happens(text: str, limit: str) -> None:
    assert _limit_of(text) == limit


def test_methods_within_methods_are_compiled_once() -> None:
    text = "{{ " + "now.Format (" * 90 + "`2006`" + ")" * 90 + " }}"
    with pytest.raises(EvaluationError, match="not available here"):
        resolve_value(text, _NOTHING)


def test_output_is_limited_in_utf8_bytes() -> None:
    limits = EvaluationLimits(output_bytes=4)
    assert resolve_value("{{ `éé` }}", _NOTHING, limits=limits) == "éé"
    assert _limit_of("{{ `éé` }}x", limits) == "output_bytes"


def test_output_limit_of_zero_means_unlimited() -> None:
    assert len(resolve_value('{{ repeat 100000 "x" }}', _NOTHING, limits=EvaluationLimits(output_bytes=0))) == 100_000


def test_time_is_limited() -> None:
    ticks = iter(range(1_000_000))
    context = Context(Meter(EvaluationLimits(wall_seconds=5), monotonic=lambda: float(next(ticks))))
    with pytest.raises(LimitExceededError) as caught:
        Resolver(context).string("{{ range 9000 }}x{{ end }}", _NOTHING)
    assert caught.value.limit == "wall_seconds"


def test_values_nested_too_deeply_are_refused() -> None:
    value: object = "{{ 1 }}"
    for _ in range(129):
        value = [value]
    with pytest.raises(LimitExceededError, match="nested deeper than 128"):
        resolve_value(value, _NOTHING)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(LimitExceededError, match="nested deeper"):
        resolve_value(value, _NOTHING)


@pytest.mark.parametrize(
    "text",
    ["{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "{{ if true }}" * 300 + "{{ end }}" * 300],
    ids=["parentheses", "blocks"],
)
def test_text_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="nested deeper than 100"):
        resolve_value(text, _NOTHING)


def test_one_meter_counts_all_strings_of_a_value() -> None:
    with pytest.raises(LimitExceededError):
        resolve_value(["{{ range 9000 }}{{ end }}"] * 20, _NOTHING)


def test_a_grant_ends_with_its_own_signal() -> None:
    context = Context(Meter(EvaluationLimits(), grant=Slice(steps=1000, seconds=60)))
    with pytest.raises(SliceSpentError):
        Resolver(context).string("{{ range 9000 }}{{ end }}", _NOTHING)


def test_a_grant_is_used_up_before_a_long_text_is_worked_on() -> None:
    text = "{{ upper inputs.s | len }}"
    variables = {"inputs": {"s": "x" * 5_000}}
    context = Context(Meter(EvaluationLimits(), grant=Slice(steps=1000, seconds=60, text=4_096)))
    with pytest.raises(SliceSpentError):
        Resolver(context).string(text, variables)
    assert Resolver(Context(Meter(EvaluationLimits()))).string(text, variables) == "5000"


@pytest.mark.parametrize("call", ["print inputs.m", "toJson inputs.m", "printf `%v` inputs.m", "keys inputs.m"])
def test_a_grant_is_used_up_before_many_keys_are_sorted(call: str) -> None:
    context = Context(Meter(EvaluationLimits(), grant=Slice(steps=1000, seconds=60)))
    began = time.thread_time()
    with pytest.raises(SliceSpentError):
        Resolver(context).string(f"{{{{ {call} | len }}}}", {"inputs": {"m": _MANY_KEYS}})
    assert time.thread_time() - began < 0.005


def test_limits_must_make_sense() -> None:
    with pytest.raises(ValueError, match="negative"):
        EvaluationLimits(wall_seconds=-1)
    with pytest.raises(ValueError, match="at least 1"):
        EvaluationLimits(steps=0)


def test_the_time_is_an_error_without_a_clock() -> None:
    with pytest.raises(EvaluationError, match="not available here"):
        resolve_value("{{ now }}", _NOTHING)
