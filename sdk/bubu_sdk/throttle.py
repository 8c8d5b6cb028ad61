"""Limits on submissions: how many at the same time, and how many per second. It delays, and rejects only on request.

First the caller gets one of the slots, in order of arrival; then the rate decides when it may go on. A cancelled caller
gives back both. The limits count for this process only: two replicas submit twice as much.
Source: Trigger contract 5.6.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bubu_sdk.cancellation import Cancellation, Clock
from bubu_sdk.delivery import Limits
from bubu_sdk.trigger_errors import TriggerCancelledError, TriggerThrottledError

_EXPECTED_SLOT_SECONDS: Final = 1.0
"""The estimate for a caller that may not wait for a slot."""


class Throttle:
    """The limits of one process. Blocking; thread-safe."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[_Waiter] = deque()
        self._interval_seconds = 1.0 / limits.per_second if limits.per_second else 0.0
        self._tolerance_seconds = ((limits.burst or limits.per_second) - 1) * self._interval_seconds
        self._next = float("-inf")
        """When the next submission would be on time, if all earlier ones kept to the rate without a burst."""

    @contextmanager
    def admitted(
        self,
        cancellation: Cancellation,
        *,
        patience_seconds: float | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Wait for a slot and for the rate; hold the slot while entered.

        Args:
            patience_seconds: the longest time to wait; ``None`` for no limit.
            on_wait: called once, after a wait that succeeded and before a refusal; not after a cancellation.
        Raises:
            TriggerCancelledError: cancelled while waiting; slot and turn are given back.
            TriggerThrottledError: the wait would be longer than ``patience_seconds``.
        """
        deadline = None if patience_seconds is None else self._clock.monotonic() + patience_seconds
        try:
            waited = self._take_slot(cancellation, deadline)
            try:
                waited = self._take_turn(cancellation, deadline) or waited
            except BaseException:
                self._release()
                raise
        except TriggerThrottledError:
            on_wait()
            raise
        try:
            if waited:
                on_wait()
            yield
        finally:
            self._release()

    def _take_slot(self, cancellation: Cancellation, deadline: float | None) -> bool:
        """Returns whether the caller had to wait."""
        with self._lock:
            if not self._limits.in_flight or (self._running < self._limits.in_flight and not self._waiting):
                self._running += 1
                return False
            waiter = _Waiter()
            self._waiting.append(waiter)
        with cancellation.calling(waiter.woken.set):
            left = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
            self._clock.wait(waiter.woken, left)
        with self._lock:
            if not waiter.admitted:
                self._waiting.remove(waiter)
        if cancellation.is_cancelled:
            if waiter.admitted:
                self._release()
            raise TriggerCancelledError("cancelled while waiting for a slot of the throttle")
        if not waiter.admitted:
            raise TriggerThrottledError(
                f"all {self._limits.in_flight} slots of the throttle are in use",
                retry_after_seconds=_EXPECTED_SLOT_SECONDS,
            )
        return True

    def _take_turn(self, cancellation: Cancellation, deadline: float | None) -> bool:
        """Returns whether the caller had to wait."""
        if not self._interval_seconds:
            return False
        with self._lock:
            now = self._clock.monotonic()
            on_time = max(self._next, now)
            wait_seconds = on_time - self._tolerance_seconds - now
            if deadline is not None and wait_seconds > max(0.0, deadline - now):
                raise TriggerThrottledError(
                    f"more than {self._limits.per_second} submissions per second", retry_after_seconds=wait_seconds
                )
            self._next = on_time + self._interval_seconds
        if wait_seconds <= 0:
            return False
        if self._clock.wait(cancellation.event, wait_seconds):
            with self._lock:
                self._next -= self._interval_seconds
            raise TriggerCancelledError("cancelled while waiting for the rate of the throttle")
        return True

    def _release(self) -> None:
        """Hand the slot to the caller that waits longest, if any."""
        with self._lock:
            if self._waiting:
                waiter = self._waiting.popleft()
                waiter.admitted = True
                waiter.woken.set()
            else:
                self._running -= 1


class _Waiter:
    """A caller that waits for a slot."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        """Set when it has the slot, and when it is cancelled."""
        self.admitted = False
