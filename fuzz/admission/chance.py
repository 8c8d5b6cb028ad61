"""Random choices for the modules that make objects. The default choice is the smallest one, so that examples shrink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

_BYTES: Final = st.binary(min_size=32, max_size=32)
_SMALL: Final = 64
"""Numbers with fewer values come from one byte: each value then has nearly the same share of its 256 values."""


class Chance:
    """Makes the choices for the examples of a property; ``draw`` is the draw function of the example."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self._bytes: Iterator[int] = iter(b"")

    def number(self, least: int, most: int) -> int:
        """A number from ``least`` to ``most``, each nearly as often. Small ranges use bytes, which are drawn many at a
        time.

        An object needs about 170 numbers, and Hypothesis needs as long for one number as for all these bytes.
        """
        if most - least >= _SMALL:
            found: int = self._draw(_integers(least, most))
            return found
        byte = next(self._bytes, None)
        if byte is None:
            self._bytes = iter(self._draw(_BYTES))
            byte = next(self._bytes)
        return least + byte % (most - least + 1)

    def yes(self, one_in: int = 2) -> bool:
        """True once in ``one_in`` times."""
        return self.number(1, one_in) == one_in

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices; examples shrink towards the first."""
        return choices[self.number(0, len(choices) - 1)] if len(choices) > 1 else choices[0]

    def some(self, choices: Sequence[T], most: int, least: int = 0) -> list[T]:
        """``least`` to ``most`` different choices, in any order."""
        rest = list(choices)
        count = self.number(min(least, len(rest)), min(most, len(rest)))
        return [rest.pop(self.number(0, len(rest) - 1)) for _ in range(count)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.some(items, len(items), len(items))


@cache
def _integers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)
