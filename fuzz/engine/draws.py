"""Draws that cost little: a strategy that is built for one draw costs several times as much as the draw.

Hypothesis validates and labels each new strategy, so ``draw(st.sampled_from(choices))`` in a composite does this again
for every step of every Story. Strategies for integers are few, and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


@cache
def below(limit: int) -> st.SearchStrategy[int]:
    """Integers from 0 to ``limit - 1``."""
    return st.integers(0, limit - 1)


def pick(draw: st.DrawFn, choices: Sequence[T]) -> T:
    """One of ``choices``; shrinks towards the first, as ``sampled_from`` does."""
    return choices[draw(below(len(choices)))]


@cache
def _orders(length: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(length))


def shuffled(draw: st.DrawFn, items: Sequence[T]) -> list[T]:
    """All items in some order; shrinks towards the given one, as ``permutations`` does."""
    return [items[position] for position in draw(_orders(len(items)))]


def one_in(draw: st.DrawFn, times: int) -> bool:
    """True once in ``times`` draws; shrinks towards True."""
    return draw(below(times)) == 0
