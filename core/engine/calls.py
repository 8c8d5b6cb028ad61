"""How the engine calls a port: repeated while the world is unavailable, and never abandoned half-way through a write.

A cancelled HTTP request may still be executed by the server. So a write that has left is awaited to its answer, bounded
by ``WRITE_DEADLINE_SECONDS``; cancellation takes effect after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

from core.engine.errors import ObstacleError, PortError, RejectedError, UnavailableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WRITE_DEADLINE_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.01
LONGEST_PAUSE_SECONDS: Final = 15.0


class Pace:
    """Growing pauses between repetitions of one thing; ``reset`` once it went well.

    ``report`` hears of what somebody must mend, e.g. a right that is lacking, and of None once it is mended.
    """

    def __init__(
        self, jitter: Callable[[], float], report: Callable[[ObstacleError | None], None] = lambda obstacle: None
    ) -> None:
        self._jitter = jitter
        self._report = report
        self._told = False
        self._repetitions = 0

    def reset(self) -> None:
        self._repetitions = 0
        if self._told:
            self._told = False
            self._report(None)

    def next_seconds(self, error: Exception | None = None) -> float:
        """How long to wait now: doubling from 10 ms to 15 s, up to half as long again by jitter.

        The server's ``Retry-After`` is honoured when it is longer.
        """
        if isinstance(error, ObstacleError):
            self._told = True
            self._report(error)
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._repetitions, 20), LONGEST_PAUSE_SECONDS)
        self._repetitions += 1
        wanted = error.retry_after_seconds if isinstance(error, UnavailableError) else None
        return max(pause * (1 + self._jitter() / 2), wanted or 0.0)


async def committed(write: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """The answer of ``write(*args)``, awaited even when the caller is being cancelled.

    Raises:
        UnavailableError: no answer within ``WRITE_DEADLINE_SECONDS``; it may or may not have happened.
        PortError: whatever the port answers.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_DEADLINE_SECONDS):
        return await write(*args)
    raise UnavailableError(f"no answer to a write within {WRITE_DEADLINE_SECONDS:.0f} s")


async def persistently(write: Callable[[*Ts], Awaitable[T]], *args: *Ts, pace: Pace) -> T:
    """The answer of a write that may be repeated as it is, once it has been accepted.

    Raises:
        RejectedError: it never will be.
    """
    while True:
        try:
            return await committed(write, *args)
        except RejectedError:
            raise
        except PortError as error:
            await trio.sleep(pace.next_seconds(error))


async def patiently(read: Callable[[*Ts], Awaitable[T]], *args: *Ts, pace: Pace) -> T:
    """The answer of ``read(*args)``, asked again while the port is unavailable; the caller's scope bounds the wait."""
    while True:
        try:
            answer = await read(*args)
        except UnavailableError as error:
            await trio.sleep(pace.next_seconds(error))
        else:
            pace.reset()
            return answer
