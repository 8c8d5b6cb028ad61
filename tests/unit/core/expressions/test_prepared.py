"""A prepared value has the results and the errors of ``resolve_value``. (core/expressions/prepared.py)"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.expressions.errors import EvaluationError, ExpressionError, LimitExceededError
from core.expressions.limits import EvaluationLimits, Meter
from core.expressions.prepared import NOT_PLAIN, PreparedValue
from core.expressions.resolve import resolve_value
from core.expressions.template.functions import Context

VARIABLES = {"inputs": {"n": 5, "name": "Ada", "tags": ["a"]}, "packet": {"text": "hi", "metadata": {"user": "u"}}}
TEXTS = st.sampled_from(
    [
        "plain",
        "{{ packet.text }}",
        "{{ inputs.tags }}",
        "{{ packet }}",
        "Hello {{ inputs.name }}",
        "{{ upper inputs.name }}",
        "{{ inputs.missing }}",
        "{{ upper inputs.n }}",
        "{{ extra }}",
        "{{ broken",
        "{{ uuidv4 | len }}",
    ]
)
WRAPPERS = st.fixed_dictionaries(
    {"$bubuTemplate": TEXTS | st.just(1)}, optional={"$bubuTemplateVars": st.dictionaries(st.just("extra"), TEXTS)}
)
VALUES = st.recursive(
    TEXTS | st.none() | st.integers() | WRAPPERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def prepared(value: Any, **context: Any) -> Any:
    return PreparedValue(value).value(VARIABLES, Context(Meter(EvaluationLimits()), **context))


def outcome(evaluate: Any, value: Any, **context: Any) -> Any:
    try:
        return evaluate(value, **context)
    except ExpressionError as error:
        return type(error), error.field, str(error.position), error.message


@given(VALUES, st.booleans())
def test_prepared_values_are_resolved_values(value: Any, deterministic: bool) -> None:
    expected = outcome(
        lambda value, **more: resolve_value(value, VARIABLES, **more), value, deterministic=deterministic
    )
    found = outcome(prepared, value, deterministic=deterministic)

    if isinstance(found, tuple) and isinstance(expected, tuple):
        assert found == expected or _compiles_not(value)  # what does not compile is found before anything is evaluated
    else:
        assert found == expected or _compiles_not(value)


def _compiles_not(value: Any) -> bool:
    try:
        PreparedValue(value)
    except ExpressionError:
        return True
    return False


@given(VALUES)
def test_what_is_found_plainly_is_the_value(value: Any) -> None:
    try:
        found = PreparedValue(value).plain_value(VARIABLES)
    except ExpressionError:
        return
    assert found is NOT_PLAIN or found == resolve_value(value, VARIABLES)


def test_paths_to_values_are_found_plainly_and_nothing_else_is() -> None:
    def found(value: Any) -> Any:
        return PreparedValue(value).plain_value({**VARIABLES, "steps": {"a": {"x": {"$bubuStorageRef": "k"}}}})

    assert found({"a": ["{{ packet.text }}", 1], "b": {}}) == {"a": ["hi", 1], "b": {}}
    for text in ("{{ packet.no }}", "x {{ packet.text }}", "{{ steps.a.x.y }}", "{{ steps }}"):
        assert found({"a": text}) is NOT_PLAIN
    assert found({"a": ["{{ packet.text }}"] * 101}) is NOT_PLAIN


def test_what_does_not_compile_is_named_at_once() -> None:
    with pytest.raises(ExpressionError) as caught:
        PreparedValue({"a": [1, "{{ broken"]})
    assert caught.value.field == "a[1]"
    with pytest.raises(EvaluationError, match="must be a string"):
        PreparedValue({"$bubuTemplate": 1})
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(LimitExceededError):
        PreparedValue(deep)


def test_it_is_known_what_is_read() -> None:
    def only_content(value: Any) -> bool:
        return PreparedValue(value).reads_only_below("packet", "metadata")

    assert only_content({"a": "{{ packet.text }}", "b": "{{ inputs.name }}", "c": 1})
    for text in ("{{ packet }}", "{{ packet.metadata.user }}", "{{ . }}", 'x{{ index . "packet" }}'):
        assert not only_content({"a": text})
    assert PreparedValue({"a": [1, "b"]}).is_constant
