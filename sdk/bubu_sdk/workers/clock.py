"""The clock for the limits of a worker. It goes on while the machine is suspended, where the system has such a clock.

All processes of a machine have it in common. ``time.monotonic`` stands still on a machine that is suspended, while the
operator, on another one, takes the worker for lost.
"""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds since an instant that does not matter."""
    return time.clock_gettime(_CLOCK)


def as_monotonic(instant: float) -> float:
    """What ``time.monotonic`` will show at an instant of this clock, unless the machine is suspended until then."""
    return instant - now() + time.monotonic()
