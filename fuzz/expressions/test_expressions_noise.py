"""Any bytes as a template: the result is a value, or an expression error with a position."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from core.expressions import EvaluationLimits, ExpressionError, TemplateSyntaxError, check_value, resolve_value
from fuzz.expressions import grammar

_LIMITS: Final = EvaluationLimits(steps=2_000)
_VARIABLES: Final[dict[str, Any]] = {
    "inputs": {"s": "text", "n": 5, "l": [1, "b", None], "m": {"a": {"b": 2}}},
    "steps": {"a": {"output": {"x": 1}, "outputs": {"x": 1}}},
}
_EXAMPLES: Final = 400


def _error_of(text: str) -> ExpressionError | None:
    """The expression error of the text, if any; any other exception is a bug."""
    try:
        resolve_value(text, _VARIABLES, limits=_LIMITS)
    except ExpressionError as error:
        return error
    return None


def _is_answered(text: str) -> bool:
    """Whether the result is a value, or an error whose position is in the text."""
    error = _error_of(text)
    if error is None:
        return True
    place, lines = error.position, text.split("\n")
    return place is not None and bool(str(error)) and place.column <= len(lines[place.line - 1]) + 1


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_a_template_or_an_error(data: bytes) -> None:
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1"), data.decode("utf-16", "replace")):
        assert _is_answered(text)
        assert _is_answered("{{" + text + "}}")
        assert "{{" in text or _error_of(text) is None


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_template_with_bytes_in_the_wrong_place_is_one_or_an_error(seed: int, data: st.DataObject) -> None:
    case, _taken = grammar.from_seed(seed, 0)
    at = data.draw(st.integers(0, len(case.template)))
    until = data.draw(st.integers(at, min(at + 5, len(case.template))))
    noise = data.draw(st.binary(max_size=6)).decode("utf-8", "surrogateescape")
    text = case.template[:at] + noise + case.template[until:]

    problems = check_value(text, "with")

    assert _is_answered(text)
    assert bool(problems) is isinstance(_error_of(text), TemplateSyntaxError)
    assert all(problem.position is not None for problem in problems)


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.text(max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_noise_in_an_action_is_placed_in_its_line(noise: str, before: int, behind: int) -> None:
    assert _is_answered("x\n" * before + "{{ " + noise + " }}" + " y" * behind)
