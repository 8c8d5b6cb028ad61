"""The part of the workers' time that one namespace may use: an allowance that is refilled over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

PERIOD_SECONDS: Final = 60.0
_TIDY_AT: Final = 256


class Budget:
    """A number of seconds per minute for each namespace, refilled evenly; unused time is kept for a minute.

    A question may start while some allowance is left, and is charged when it has ended. If it took more than was left,
    the namespace waits until the debt is refilled, whether or not others want the worker.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        Args:
            seconds: per minute; called each time, so that a change takes effect at once; zero: no limit.
        """
        self._seconds = seconds
        self._left: dict[str, tuple[float, float]] = {}
        """By namespace: the allowance left, and the instant of that value; a namespace with its full allowance is
        absent.
        """
        self._tidy_at = _TIDY_AT

    def seconds_until_free(self, namespace: str) -> float:
        """How many seconds the namespace must wait before its next question may start."""
        allowance = self._seconds()
        left = self._left_of(namespace, allowance)
        if allowance <= 0 or left > 0:
            return 0.0
        # A little more than zero, so that the allowance at that moment is not rounded to zero.
        return (0.001 - left) * PERIOD_SECONDS / allowance

    def charge(self, namespace: str, seconds: float) -> None:
        """The namespace has used a worker for ``seconds``."""
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
