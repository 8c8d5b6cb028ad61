"""The time by the clock of the API server, which verifies the operator's certificates.

The API server refuses a certificate that is valid by the operator's clock and not by its own, so its ``Date`` header
decides. Between two answers monotonic time is added, so that steps of the local wall clock change nothing. The local
clock is only used until the first answer, and where a server sends no date.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import trio

from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.kube.errors import KubeError

_GRANULARITY: Final = timedelta(seconds=2)
"""Dates have whole seconds and take time to arrive: within this difference the clocks agree, and ours is more
precise.
"""


class VerifierClock:
    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._asked: tuple[datetime, float] | None = None
        """The server's time, and Trio's time at that moment."""

    async def ask(self) -> datetime:
        """The server's time now; without an answer, the time calculated from the last answer."""
        try:
            answer = await self._client.request("GET", "/version")
        except KubeError:
            return self.now()
        date = _date_of(answer.headers.get("date"))
        if date is None:
            self._asked = None
        else:
            local = self._clock.now()
            agree = abs(date - local) < _GRANULARITY
            self._asked = (local if agree else date, trio.current_time())
        return self.now()

    def now(self) -> datetime:
        """The server's time as far as it is known."""
        if self._asked is None:
            return self._clock.now()
        server, at = self._asked
        return server + timedelta(seconds=trio.current_time() - at)

    def on_our_clock(self, instant: datetime) -> datetime:
        """The time on our wall clock when the server's shows ``instant``, if both continue as now."""
        return self._clock.now() + (instant - self.now())


class LocalTime:
    """The local clock, for a server whose callers are not API servers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def ask(self) -> datetime:
        await trio.lowlevel.checkpoint()
        return self.now()

    def now(self) -> datetime:
        return self._clock.now()


def _date_of(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None
