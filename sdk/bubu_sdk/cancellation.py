"""Calls that wait and may be cancelled while they wait, and the clock that they wait with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """The time that passes; tests replace it."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant."""

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait until ``event`` is set or the time has passed (``None``: no limit); returns whether it is set."""


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        return event.wait(seconds)


class Cancellation:
    """Whether one call is cancelled. Thread-safe; a cancellation is final."""

    def __init__(self) -> None:
        self.event = threading.Event()
        """Set by the cancellation."""
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def is_cancelled(self) -> bool:
        return self.event.is_set()

    def cancel(self) -> None:
        """Cancel the call. Any thread may call it, more than once."""
        self.event.set()
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """While entered, a cancellation calls ``callback``; at once if the call is cancelled already."""
        with self._lock:
            self._callbacks.append(callback)
        if self.is_cancelled:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
