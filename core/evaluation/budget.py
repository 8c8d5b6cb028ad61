"""How much of the workers' time one namespace may use: an allowance that is refilled as time passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

PERIOD_SECONDS: Final = 60.0
_TIDY_AT: Final = 256


class Budget:
    """So many seconds a minute for each namespace, refilled evenly; unused time is kept for a minute.

    A question may begin while something is left, and is charged when it has ended. What it has taken too much is paid
    back by waiting, whether or not others want the worker.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        Args:
            seconds: of a minute, asked each time, so that a change counts at once; zero: as much as anybody wants.
        """
        self._seconds = seconds
        self._left: dict[str, tuple[float, float]] = {}
        """By namespace, how much was left at which instant; who has never used any, or has everything, is absent."""
        self._tidy_at = _TIDY_AT

    def seconds_until_free(self, namespace: str) -> float:
        """How long the namespace has to wait before its next question may begin."""
        allowance = self._seconds()
        left = self._left_of(namespace, allowance)
        if allowance <= 0 or left > 0:
            return 0.0
        # A little more than nothing: what is left right then must not be rounded to nothing.
        return (0.001 - left) * PERIOD_SECONDS / allowance

    def charge(self, namespace: str, seconds: float) -> None:
        """The namespace has used a worker for so long."""
        allowance = self._seconds()
        if allowance <= 0:
            return
        self._left[namespace] = (self._left_of(namespace, allowance) - seconds, trio.current_time())
        if len(self._left) >= self._tidy_at:
            self._forget_the_idle(allowance)

    def _left_of(self, namespace: str, allowance: float) -> float:
        left, at = self._left.get(namespace, (allowance, 0.0))
        return min(allowance, left + (trio.current_time() - at) * allowance / PERIOD_SECONDS)

    def _forget_the_idle(self, allowance: float) -> None:
        idle = [name for name in self._left if self._left_of(name, allowance) >= allowance]
        for name in idle:
            del self._left[name]
        self._tidy_at = max(_TIDY_AT, 2 * len(self._left))
