"""How fast messages pass: counts become rates, over the time since the last look. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

SHORTEST_SECONDS: Final = 0.9
"""Over less time the rate would be chance."""


class PerMinute(NamedTuple):
    """Messages in a minute, at the pace of the last seconds."""

    received: int = 0
    delivered: int = 0


STILL: Final = PerMinute()


class _Sample(NamedTuple):
    at: float
    received: int
    delivered: int


class RateMeter:
    """The rate of one step."""

    def __init__(self) -> None:
        self._last: _Sample | None = None
        self._rate = STILL

    def look(self, now: float, received: int, delivered: int) -> PerMinute:
        """Note the counts at ``now``, in monotonic seconds; returns the rate. The first look knows none."""
        sample, last = _Sample(now, received, delivered), self._last
        if last is None:
            self._last = sample
        elif now - last.at >= SHORTEST_SECONDS:
            per = 60.0 / (now - last.at)
            self._rate = PerMinute(
                max(0, round((received - last.received) * per)), max(0, round((delivered - last.delivered) * per))
            )
            self._last = sample
        return self._rate
