"""Sorting in pieces gives the same result as sorting at once."""

from __future__ import annotations

import random

import pytest

from core.expressions.ordering import ordered


@pytest.mark.parametrize("count", [0, 1, 2, 8_192, 8_193, 50_000, 100_001])
def test_texts_of_any_number_are_sorted(count: int) -> None:
    shuffled = random.Random(count)
    texts = [f"{shuffled.randrange(count)}-é{shuffled.randrange(9)}" for _ in range(count)]

    assert ordered(texts) == sorted(texts)
    assert ordered(dict.fromkeys(texts)) == sorted(set(texts))


def test_equal_texts_keep_their_order() -> None:
    shuffled = random.Random(1)
    texts = [f"{shuffled.choice('aA')}{number}" for number in range(30_000)]

    assert ordered(texts, key=lambda text: text[0].lower()) == texts
    assert ordered(texts, key=lambda text: text.lower()) == sorted(texts, key=lambda text: text.lower())
