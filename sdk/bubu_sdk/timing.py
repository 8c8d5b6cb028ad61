"""Clocks, pauses and threads of this process, in one place, so that a simulation can replace them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The wall clock. Only this function of the SDK reads it."""
    return datetime.now(UTC)


class Timing:
    """The real ones."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now

    def now(self) -> datetime:
        """The wall clock, with time zone UTC: for instants that other processes compare."""
        return self._now()

    def monotonic(self) -> float:
        """Seconds that never go back: for deadlines of this process."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Block until ``event`` is set or ``seconds`` have passed; returns whether it is set."""
        return event.wait(seconds)

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        """Run ``work`` in a thread of its own; returns a function that blocks until it has ended."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread.join


class Backoff:
    """The pauses between the retries of one operation, until its time is up."""

    def __init__(self, timing: Timing, seconds: float, *, first_seconds: float = 0.1, max_seconds: float = 5.0) -> None:
        self._timing = timing
        self._deadline = timing.monotonic() + seconds
        self._next_seconds = first_seconds
        self._max_seconds = max_seconds
        self._never = threading.Event()

    @property
    def remaining_seconds(self) -> float:
        """Not negative."""
        return max(0.0, self._deadline - self._timing.monotonic())

    def pause(self, least_seconds: float = 0.0, stop: threading.Event | None = None) -> bool:
        """Wait longer than the last time, and at least ``least_seconds``.

        Returns:
            False, without a wait, if the time would be up; also False when ``stop`` was set.
        """
        seconds = max(self._next_seconds, least_seconds)
        self._next_seconds = min(self._next_seconds * 2, self._max_seconds)
        if seconds >= self.remaining_seconds:
            return False
        return not self._timing.wait(stop or self._never, seconds)
