"""How the engine calls a port: it retries while the world is unavailable, and never abandons a write half-way.

The server may still execute a cancelled HTTP request. So the engine waits for the answer of a write that has been sent,
at most ``WRITE_DEADLINE_SECONDS``; cancellation takes effect after that.
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
    """Growing pauses between retries of one call; ``reset`` after a success.

    ``report`` is called with each obstacle that a person must fix, e.g. a missing permission, and with None once it is
    fixed.
    """

    def __init__(
        self, jitter: Callable[[], float], report: Callable[[ObstacleError | None], None] = lambda obstacle: None
    ) -> None:
        self._jitter = jitter
        self._report = report
        self._reported = False
        self._repetitions = 0

    def reset(self) -> None:
        self._repetitions = 0
        if self._reported:
            self._reported = False
            self._report(None)

    def next_seconds(self, error: Exception | None = None) -> float:
        """How long to wait now: doubles from 10 ms to 15 s, plus up to half as long again by jitter.

        The server's ``Retry-After`` is used if it is longer.
        """
        if isinstance(error, ObstacleError):
            self._reported = True
            self._report(error)
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._repetitions, 20), LONGEST_PAUSE_SECONDS)
        self._repetitions += 1
        wanted = error.retry_after_seconds if isinstance(error, UnavailableError) else None
        return max(pause * (1 + self._jitter() / 2), wanted or 0.0)


async def committed(write: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """The answer of ``write(*args)``. Waits for it even if the caller is being cancelled.

    Raises:
        UnavailableError: no answer within ``WRITE_DEADLINE_SECONDS``; the write may or may not have happened.
        PortError: any error that the port raises.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_DEADLINE_SECONDS):
        return await write(*args)
    raise UnavailableError(f"no answer to a write within {WRITE_DEADLINE_SECONDS:.0f} s")


async def persistently(write: Callable[[*Ts], Awaitable[T]], *args: *Ts, pace: Pace) -> T:
    """The answer of a write, once it has been accepted. Retries with the same arguments.

    Raises:
        RejectedError: the write will never be accepted.
    """
    while True:
        try:
            return await committed(write, *args)
        except RejectedError:
            raise
        except PortError as error:
            await trio.sleep(pace.next_seconds(error))


async def patiently(read: Callable[[*Ts], Awaitable[T]], *args: *Ts, pace: Pace) -> T:
    """The answer of ``read(*args)``. Retries while the port is unavailable; the caller's scope limits the wait."""
    while True:
        try:
            answer = await read(*args)
        except UnavailableError as error:
            await trio.sleep(pace.next_seconds(error))
        else:
            pace.reset()
            return answer
