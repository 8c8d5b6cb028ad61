"""Draws in the words in which objects are made. What is drawn by default is what is smallest, for shrinking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Chance:
    """Decides what the examples of a property look like; ``draw`` is that of the example."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def number(self, least: int, most: int) -> int:
        found: int = self._draw(_integers(least, most))
        return found

    def yes(self, one_in: int = 2) -> bool:
        """Once in ``one_in`` times."""
        return self.number(1, one_in) == one_in

    def pick(self, choices: Sequence[T]) -> T:
        """One of them, rather an early one in the end."""
        return choices[self.number(0, len(choices) - 1)] if len(choices) > 1 else choices[0]

    def some(self, choices: Sequence[T], most: int, least: int = 0) -> list[T]:
        """``least`` to ``most`` different ones, in any order."""
        rest = list(choices)
        count = self.number(min(least, len(rest)), min(most, len(rest)))
        return [rest.pop(self.number(0, len(rest) - 1)) for _ in range(count)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.some(items, len(items), len(items))


@cache
def _integers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)
