"""A keyed work queue: each key at most once in it, never two workers on one key, failures delayed per key.

As in other work queues for controllers, a key that is added while a worker has it is processed once more afterwards, so
no event is lost between "read" and "done". Functions without ``await`` are atomic under Trio: there are no locks. Keys
may belong to tenants, who then take turns: a tenant with a thousand keys delays another's by one, and never has all
workers.
Source: operator contract 11.3.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, inf
from typing import Final, Generic, TypeVar

import trio

from core.fairness.queue import FairQueue

Key = TypeVar("Key", bound=Hashable)

LONG_SECONDS: Final = 600.0
TOGETHER_SECONDS: Final = 1.0
"""A delay of ``LONG_SECONDS`` or more may be longer by as much, so that keys become due together: there may be one for
each finished run, and a timer for each would take as much memory as the run.
"""

_MAX_EXPONENT: Final = 40


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    ready: int
    """Keys that wait for a worker."""
    delayed: int
    """Keys that wait for their delay to pass."""
    working: int
    failing: int
    """Keys with at least one failure since their last success."""


class _Timer(Generic[Key]):
    """Keys that become ready at the same time."""

    __slots__ = ("due", "is_long", "keys")

    def __init__(self, due: float, *, is_long: bool) -> None:
        self.due = due
        self.is_long = is_long
        self.keys: list[Key] = []


class _Timekeeper:
    """``until``: the time that it waits for."""

    __slots__ = ("until", "woken")

    def __init__(self, until: float) -> None:
        self.until = until
        self.woken = trio.Event()


def _nobody(_: object) -> Hashable:
    """All keys belong to one tenant."""
    return ""


class WorkQueue(Generic[Key]):
    """First come, first served; ``base_delay`` doubles with every failure of a key, up to ``max_delay``."""

    def __init__(
        self,
        *,
        base_delay: timedelta,
        max_delay: timedelta,
        tenant_of: Callable[[Key], Hashable] = _nobody,
        of_one_tenant: float = inf,
        after_long: Callable[[Key], None] | None = None,
    ) -> None:
        """
        Args:
            tenant_of: returns the tenant of a key.
            of_one_tenant: the number of keys of one tenant that may be processed at a time.
            after_long: called in place of ``add`` when a delay of ``LONG_SECONDS`` or more has passed.
        """
        self._base_seconds = base_delay.total_seconds()
        self._max_seconds = max_delay.total_seconds()
        self._tenant_of = tenant_of
        self._of_one_tenant = of_one_tenant
        self._ready = FairQueue[Key]()
        """By tenant."""
        self._at_work: dict[Hashable, int] = {}
        self._dirty: set[Key] = set()
        self._working: dict[Key, float] = {}
        """Since when, as Trio time."""
        self._ready_at: dict[Key, float] = {}
        self.added = self.retried = 0
        """Keys that were added by ``add``, and after a failure, since the start."""
        self.observe_wait: Callable[[float], None] | None = None
        """Called with the seconds that a key was ready until a worker took it."""
        self._after_long = after_long or self.add
        self._due: dict[Key, _Timer[Key]] = {}
        self._schedule: list[tuple[float, int, _Timer[Key]]] = []
        """A heap of the timers. A key of a timer counts only if ``_due`` has this timer for it."""
        self._shared: dict[float, _Timer[Key]] = {}
        """Those of long delays, by their times."""
        self._sequence = itertools.count()
        self._failures: dict[Key, int] = {}
        self._done: dict[Key, trio.Event] = {}
        """Of keys that are worked on, where a task waits for the end."""
        self._idle = trio.lowlevel.ParkingLot()
        """Workers without a key. Each ready key wakes one of them, not all."""
        self._timekeeper: _Timekeeper | None = None
        """The one idle worker that also waits for the next delay to pass."""

    def __repr__(self) -> str:
        return f"<WorkQueue {self.statistics()}>"

    def add(self, key: Key) -> None:
        """Process ``key`` as soon as a worker is free; cancels a pending delay."""
        self._due.pop(key, None)
        if key in self._dirty:
            return
        self._dirty.add(key)
        self.added += 1
        if key not in self._working:
            self._make_ready(key)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Process ``key`` after ``delay``; of several delays the shortest counts."""
        if key in self._dirty:
            return
        seconds = max(delay.total_seconds(), 0.0)
        due, is_long = trio.current_time() + seconds, seconds >= LONG_SECONDS
        if is_long:
            due = ceil(due / TOGETHER_SECONDS) * TOGETHER_SECONDS
        before = self._due.get(key)
        if before is None or due < before.due:
            timer = self._shared.get(due) if is_long else None
            if timer is None:
                timer = self._new_timer(due, is_long)
            timer.keys.append(key)
            self._due[key] = timer

    def _new_timer(self, due: float, is_long: bool) -> _Timer[Key]:
        timer: _Timer[Key] = _Timer(due, is_long=is_long)
        if is_long:
            self._shared[due] = timer
        heapq.heappush(self._schedule, (due, next(self._sequence), timer))
        if self._timekeeper is not None and due < self._timekeeper.until:
            self._timekeeper.woken.set()
        return timer

    def retry(self, key: Key) -> timedelta:
        """Count a failure of ``key`` and retry it after its back-off; returns the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retried += 1
        seconds = min(self._base_seconds * 2.0 ** min(failures, _MAX_EXPONENT), self._max_seconds)
        delay = timedelta(seconds=seconds)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Record a success: the next failure of ``key`` starts from the base delay."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """The next key; the caller has it until ``done(key)``."""
        await trio.lowlevel.checkpoint()
        while True:
            next_due = self._promote_due()
            key = self._ready.get_nowait(self._may_work)
            if key is not None:
                self._begin(key)
                return key
            if self._timekeeper is None:
                await self._keep_time(next_due)
            else:
                await self._idle.park()

    async def _keep_time(self, until: float) -> None:
        """Return when there may be a key, or another time to wait for."""
        keeper = self._timekeeper = _Timekeeper(until)
        try:
            with trio.move_on_at(until):
                await keeper.woken.wait()
        except trio.Cancelled:
            self._idle.unpark()  # another one takes over
            raise
        finally:
            self._timekeeper = None

    def done(self, key: Key) -> None:
        """The caller has finished with ``key``; if it was added meanwhile, it is ready now."""
        tenant = self._tenant_of(key)
        self._working.pop(key, None)
        if key in self._done:
            self._done.pop(key).set()
        self._at_work[tenant] -= 1
        was_full = self._at_work[tenant] + 1 >= self._of_one_tenant
        if not self._at_work[tenant]:
            del self._at_work[tenant]
        if key in self._dirty:
            self._make_ready(key)
        elif was_full and self._ready.count_of(tenant):
            self._wake()

    async def until_done(self, key: Key) -> None:
        """Return once no worker has ``key``; at once if none has. It may be in the queue all the same."""
        if key in self._working:
            await self._done.setdefault(key, trio.Event()).wait()

    def _make_ready(self, key: Key) -> None:
        self._ready.put(self._tenant_of(key), key)
        self._ready_at[key] = trio.current_time()
        self._wake()

    def _may_work(self, tenant: Hashable) -> bool:
        return self._at_work.get(tenant, 0) < self._of_one_tenant

    def _begin(self, key: Key) -> None:
        self._dirty.discard(key)
        now = self._working[key] = trio.current_time()
        waited = now - self._ready_at.pop(key)
        if not self._dirty:
            self._dirty.clear()  # at the start all keys are in it; an empty set keeps the memory for them
            self._ready_at.clear()
        if self.observe_wait is not None:
            self.observe_wait(waited)
        tenant = self._tenant_of(key)
        self._at_work[tenant] = self._at_work.get(tenant, 0) + 1

    def working_seconds(self) -> list[float]:
        """For how long each key is being processed."""
        now = trio.current_time()
        return [now - since for since in self._working.values()]

    def statistics(self) -> QueueStatistics:
        return QueueStatistics(len(self._ready), len(self._due), len(self._working), len(self._failures))

    def _promote_due(self) -> float:
        """Make keys ready whose delay has passed; returns the time of the next one."""
        now = trio.current_time()
        while self._schedule:
            due, _, timer = self._schedule[0]
            while timer.keys and self._due.get(timer.keys[-1]) is not timer:
                timer.keys.pop()
            if timer.keys and due > now:
                return due
            heapq.heappop(self._schedule)
            if timer.is_long:
                del self._shared[due]
            wake = self._after_long if timer.is_long else self.add
            for key in timer.keys:
                if self._due.get(key) is timer:
                    del self._due[key]
                    wake(key)
        return float("inf")

    def _wake(self) -> None:
        """There is a key for one more worker.

        If the timekeeper takes it, nobody else was idle: another worker that was is awake now, and becomes timekeeper.
        """
        if not self._idle.unpark() and self._timekeeper is not None:
            self._timekeeper.woken.set()
