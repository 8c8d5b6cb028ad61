"""Which outputs fit into a status."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.phases import Reason
from core.engine.step.inline_output import (
    MAX_INLINE_BYTES,
    MAX_INLINE_DEPTH,
    MAX_INLINE_VALUES,
    why_not_inline,
)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("limit", [21, None])
def test_a_small_output_fits(limit: int | None) -> None:
    assert why_not_inline({"text": "0123456789"}, limit) is None


def test_an_output_above_the_limit_names_it_and_the_remedy() -> None:
    refused = why_not_inline({"text": "01234567890"}, 20)

    assert refused is not None
    assert refused.reason is Reason.OUTPUT_TOO_LARGE
    assert "has 22 bytes, more than the 20 that execution.maxInlineSize allows" in refused.message
    assert "raise execution.maxInlineSize" in refused.message
    assert "controller.storage.provider" in refused.message


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_zero_allows_no_output(limit: int) -> None:
    assert why_not_inline({}, limit) is not None


@pytest.mark.parametrize("limit", [None, 10 * MAX_INLINE_BYTES])
def test_no_policy_allows_more_than_a_status_has_room_for(limit: int | None) -> None:
    room = MAX_INLINE_BYTES - len('{"text":""}')

    assert why_not_inline({"text": "x" * room}, limit) is None
    assert why_not_inline({"text": "x" * (room + 1)}, limit) is not None


def test_values_and_depth_are_limited_as_well() -> None:
    many = why_not_inline({"a": [1] * (MAX_INLINE_VALUES + 1)}, None)
    deep = why_not_inline({"a": nested(MAX_INLINE_DEPTH)}, None)

    assert many is not None
    assert "values" in many.message
    assert deep is not None
    assert "levels" in deep.message
    assert why_not_inline({"a": nested(MAX_INLINE_DEPTH - 1)}, None) is None
