"""Any text gives a value or one of our own errors, with a place."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.expressions import (
    EvaluationLimits,
    ExpressionError,
    check_condition,
    check_value,
    evaluate_condition,
    resolve_value,
)
from core.expressions.errors import MAX_ERROR_CHARACTERS

_LIMITS = EvaluationLimits(steps=2_000)
_VARIABLES: dict[str, Any] = {"inputs": {"a": 1, "l": [1], "m": {"k": None}}, "steps": {"a": {"output": {"x": "y"}}}}
_BYTES = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
_TEXTS = st.one_of(_BYTES, st.text(st.characters(exclude_categories=()), max_size=60))
_WORDS = st.sampled_from(
    [
        *("{{", "}}", "{{-", "-}}", "/*", "*/", "if", "else", "end", "range", "with", "define", "template", "block"),
        *("break", "continue", "nil", "true", "1", "0x1p-2", "1i", "'x'", '"s"', "`r`", "|", ":=", "=", ",", "(", ")"),
        *(".", "$", "$v", ".a", "inputs.l", "steps.a.output", "index", "print", "printf", "eq", "and", "dict", "list"),
        *("toJson", "fromJson", "regexMatch", "repeat", "[0]", '["k"]', "&&", "||", "!", "==", "<", "+", "-", "?", ":"),
        *("has(", "size(", ".all(x,", "in", "matches(", "{", "}", "[", "]", "\n", "\t", "\\", "é", "\ud800", "\x00"),
    ]
)
_SOUP = st.lists(_WORDS, max_size=14).map(" ".join)


def _error_of_template(text: str) -> ExpressionError | None:
    try:
        resolve_value(text, _VARIABLES, limits=_LIMITS)
    except ExpressionError as error:
        return error
    return None


def _error_of_condition(text: str) -> ExpressionError | None:
    try:
        evaluate_condition(text, _VARIABLES, limits=_LIMITS, finished=True)
    except ExpressionError as error:
        return error
    return None


def _check(error: ExpressionError | None) -> None:
    if error is not None:
        assert error.position is not None
        assert len(str(error)) <= MAX_ERROR_CHARACTERS + 1
        assert str(error).encode()


@settings(max_examples=200, deadline=None)
@given(st.one_of(_TEXTS, _SOUP))
def test_any_text_is_a_template_or_our_own_error(text: str) -> None:
    for written in (text, "{{" + text + "}}"):
        error = _error_of_template(written)
        _check(error)
        assert error is not None or not check_value(written, "f")


@settings(max_examples=200, deadline=None)
@given(st.one_of(_TEXTS, _SOUP))
def test_any_text_is_a_condition_or_our_own_error(text: str) -> None:
    error = _error_of_condition(text)
    _check(error)
    assert error is not None or not check_condition(text, "if")
