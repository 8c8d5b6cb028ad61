"""Which calls are retried, and when.

A read may be repeated after any transient error, a write only when it is certain that the server did nothing. Waits
grow exponentially with full jitter. They are never shorter than the server's ``Retry-After``, plus a small random time,
so that many clients with the same ``Retry-After`` do not return at the same moment.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from core.kube.errors import ApiError, KubeError, is_retryable, nothing_was_done

T = TypeVar("T")

_RETRY_AFTER_SPREAD_SECONDS: Final = 0.9
"""Random time added to the server's ``Retry-After``: never early, and less than a second late."""


@dataclass(frozen=True, slots=True)
class CallRetries:
    """How often and for how long a call is tried."""

    attempts: int = 6
    """All tries, including the first; 1 means no retry."""
    base_seconds: float = 0.1
    max_seconds: float = 10.0
    deadline_seconds: float = 60.0
    """The latest start of a try, after the first; the call's own deadline comes on top."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_seconds <= 0 or self.max_seconds < self.base_seconds:
            raise ValueError(f"retry policy must have positive attempts and ordered times: {self}")


DEFAULT_POLICY: Final = CallRetries()
ONCE: Final = CallRetries(attempts=1)


class Backoff:
    """Waits between attempts of a task that never ends, such as a watch."""

    def __init__(self, base_seconds: float, max_seconds: float) -> None:
        self._base = base_seconds
        self._max = max_seconds
        self._failures = 0

    @property
    def failures(self) -> int:
        """The number of failures since the last success."""
        return self._failures

    def reset(self) -> None:
        self._failures = 0

    def next_seconds(self, error: BaseException | None = None) -> float:
        """The wait before the next attempt, in seconds; counts one failure."""
        self._failures += 1
        return wait_seconds(self._failures, self._base, self._max, error)


def wait_seconds(attempt: int, base_seconds: float, max_seconds: float, error: BaseException | None = None) -> float:
    """How long to wait after failure number ``attempt``, counted from one."""
    ceiling = min(max_seconds, base_seconds * 2.0 ** min(attempt - 1, 30))
    wait = random.uniform(ceiling / 10, ceiling)  # noqa: S311 - jitter, not a secret; never zero, so no hot loop
    if isinstance(error, ApiError) and error.retry_after is not None:
        requested = error.retry_after + random.uniform(0, _RETRY_AFTER_SPREAD_SECONDS)  # noqa: S311 - as above
        return max(wait, requested)
    return wait


async def with_retries(
    call: Callable[[], Awaitable[T]], *, policy: CallRetries = DEFAULT_POLICY, idempotent: bool
) -> T:
    """The first successful result of ``call``, or its last error.

    Args:
        idempotent: whether calling twice has the same effect as calling once; if not, only failures after which the
            server certainly did nothing are retried.
    Raises:
        KubeError: the error of the last try; raised at once when a retry cannot help.
    """
    give_up_at = trio.current_time() + policy.deadline_seconds
    for attempt in range(1, policy.attempts + 1):
        try:
            return await call()
        except KubeError as error:
            may_repeat = is_retryable(error) if idempotent else nothing_was_done(error)
            wait = wait_seconds(attempt, policy.base_seconds, policy.max_seconds, error)
            if not may_repeat or attempt == policy.attempts or trio.current_time() + wait > give_up_at:
                raise
        await trio.sleep(wait)
    raise AssertionError("the last attempt must return or raise")
