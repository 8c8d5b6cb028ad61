"""A source of decisions that can be replayed and simplified.

A generator asks ``Choices`` at each point where several ways are possible. Only these answers determine its result, so
a failing case is a list of numbers, and a simpler case is a shorter list of smaller numbers. At every decision 0 is the
simplest outcome. A list that has come to its end answers 0.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_SCALE = 1 << 16


class Choices:
    """Decisions, first from a list and then from ``source``; ``taken`` has all decisions made so far."""

    def __init__(self, prefix: Sequence[int] = (), source: random.Random | None = None) -> None:
        self._prefix = prefix
        self._source = source
        self.taken: list[int] = []

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound - 1``."""
        position = len(self.taken)
        if position < len(self._prefix):
            choice = min(self._prefix[position], bound - 1)
        else:
            choice = self._source.randrange(bound) if self._source else 0
        self.taken.append(choice)
        return choice

    def one_of(self, options: Sequence[T]) -> T:
        """One of ``options``; the first is the simplest."""
        return options[self.below(len(options))]

    def rarely(self, probability: float) -> bool:
        """True with this frequency; false is simpler."""
        return self.below(_SCALE) >= _SCALE * (1 - probability)

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """One option of the ``(weight, option)`` pairs, as often as its weight says; the first is the simplest."""
        drawn = self.below(sum(weight for weight, _option in options))
        for weight, option in options:
            if drawn < weight:
                return option
            drawn -= weight
        raise AssertionError("unreachable: the draw is below the sum of the weights")
