"""One process of the operator, from outside: its requests can be faulty, and it can be dead.

A kill is not a cancel. After ``Process.dead`` is set, every call raises ``Killed``, which nothing in the engine
catches, so that clean-up code has no effect outside. A call has three moments: before the server receives it, applied
but not yet answered, answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import trio

from core.engine.errors import GoneError, StaleError, UnavailableError
from core.ownership.acting import current_key
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from fuzz.engine.cluster import Cluster, RefusedError
from fuzz.engine.watches import Known

T = TypeVar("T")


class Killed(BaseException):
    """The process no longer exists."""


class Fault(StrEnum):
    """The fate of one request of a process."""

    UNAVAILABLE = "unavailable"
    """The request never reaches the server."""
    LOST_ANSWER = "lost answer"
    """The server applies the request, but the caller gets an error that the server is unavailable."""
    STALE = "stale"
    """409 for a write with preconditions; otherwise like UNAVAILABLE."""
    SLOW = "slow"
    """The request takes half a virtual second, the answer another half."""
    LATE_ANSWER = "late answer"
    """The server applies it at once; the caller gets the answer a virtual second later, after all other processes."""
    ERROR = "error"
    """500; the caller does not know whether it was applied. It was not."""
    ERROR_APPLIED = "error, applied"
    """500 although it was applied."""
    BUSY = "busy"
    """429 with a ``Retry-After`` of two seconds."""
    TIMEOUT = "timeout"
    """No answer for almost as long as the engine waits for a write; applied at the end."""
    FULL = "full"
    """From this request on, the server refuses every write with 507 for a while, and answers reads: its disk is full.

    For the process, or for all clients: the invariants know whom a fault disturbs.
    """


RETRY_AFTER_SECONDS = 2.0
FULL_SECONDS = 15.0
SLOW_SECONDS = 0.5
LATE_SECONDS = 1.0
TIMEOUT_SECONDS = 29.0
"""The time of the trip to the server and back with this fault."""
_BEFORE_SECONDS: dict[Fault | None, float] = {Fault.SLOW: SLOW_SECONDS, Fault.TIMEOUT: TIMEOUT_SECONDS}
"""The time that a request takes to the server."""
_AFTER_SECONDS: dict[Fault | None, float] = {Fault.TIMEOUT: 0.0, Fault.LATE_ANSWER: LATE_SECONDS}
"""The time that its answer takes back."""


@dataclass
class Process:
    """One incarnation: its epoch, its faults by number of the request, whether it lives, and its caches."""

    epoch: int = 0
    faults: Mapping[int, Fault] = field(default_factory=dict)
    dead: bool = False
    calls: int = 0
    latency_seconds: float = 0.0
    on_the_wire: list[Callable[[], object]] = field(default_factory=list)
    """Requests whose caller was cancelled before they reached the server; they still reach it."""
    abandoned: trio.Event = field(default_factory=trio.Event)
    """Set when there is such a request."""
    known: Known = field(default_factory=lambda: Known(lambda kind, change: None))
    faulted: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    full_until: float = 0.0
    """In virtual time: until then its writes are refused."""
    healed: bool = False
    """Its requests have no more faults."""
    ownership: Ownership = WHOLE_CLUSTER

    @property
    def actor(self) -> str:
        return f"operator-{self.epoch}"

    async def write(self, cluster: Cluster, apply: Callable[[], T], *, versioned: bool = False) -> T:
        """Like ``call``, but sent only while the process owns the key that the task works for (core.kube.fence)."""
        if not self.may_write():
            await trio.lowlevel.checkpoint()
            self.check()
            raise UnavailableError("the key belongs to another process: nothing was sent")
        return await self.call(cluster, apply, versioned=versioned, writes=True)

    def may_write(self) -> bool:
        """The fence: whether the process owns the key that the current task works for."""
        key = current_key()
        return key is None or self.ownership.owns(key)

    async def call(
        self, cluster: Cluster, apply: Callable[[], T], *, versioned: bool = False, writes: bool = False
    ) -> T:
        """Send one request to the server, and return its answer."""
        fault = None if self.healed else self.faults.get(self.calls)
        self.calls += 1
        if fault is not None:
            self.faulted[fault] += 1
        latency = _BEFORE_SECONDS.get(fault, self.latency_seconds)
        try:
            await trio.sleep(latency)
        except trio.Cancelled:
            if not self.dead:
                self.on_the_wire.append(apply)
                self.abandoned.set()
            raise
        self.check()
        if cluster.down:
            raise UnavailableError("the server is down")
        match fault:
            case Fault.STALE if versioned:
                raise StaleError("injected: out of date")
            case Fault.UNAVAILABLE | Fault.STALE | Fault.ERROR:
                raise UnavailableError("injected: not done")
            case Fault.BUSY:
                raise UnavailableError("injected: too many requests", retry_after_seconds=RETRY_AFTER_SECONDS)
            case Fault.FULL:
                self.full_until = trio.current_time() + FULL_SECONDS
        if writes and not self.healed and trio.current_time() < self.full_until:
            raise UnavailableError("injected: no space left")
        answer = _translated(apply)
        await trio.sleep(_AFTER_SECONDS.get(fault, latency))
        self.check()
        if fault in (Fault.LOST_ANSWER, Fault.ERROR_APPLIED):
            raise UnavailableError("injected: the answer was lost")
        return answer

    def check(self) -> None:
        """Raise ``Killed`` if the process is dead: a dead process neither reads nor writes."""
        if self.dead:
            raise Killed


def _translated(apply: Callable[[], T]) -> T:
    try:
        return apply()
    except RefusedError as refused:
        if refused.code in (404, 422):
            raise GoneError(str(refused)) from refused
        raise StaleError(str(refused)) from refused
