"""Taps: people who look at the packets of a step as they pass.

A tap costs the stream nothing that depends on its reader. What exceeds its rate, that of all taps together, or its
queue is counted and not even read; the counts reach the reader with the next lines. A step without taps pays for one
look at an attribute for each packet. Source: streaming contract 5.5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import trio

from bubu_wire.inspection import Inspected

if TYPE_CHECKING:
    from hub.topology import Place

DEFAULT_RATE: Final = 10
MAX_RATE: Final = 50
"""Packets a second of one tap, in each direction: one does not hide the other."""
MAX_RATE_OF_ALL: Final = 100
MAX_TAPS: Final = 16
MAX_TAPS_OF_STEP: Final = 4
MAX_QUEUED: Final = 64
"""Lines that wait for the reader."""


class TooManyTapsError(Exception):
    """There is no room for another tap. The message says how many there may be."""


class TapDirection(StrEnum):
    """Which packets are shown, seen from the step."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class SampleBudget:
    """So many samples in each second, and at most one second's at once."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._left = max(rate, 1.0)
        self._at = clock()

    def has_one(self) -> bool:
        now = self._clock()
        self._left = min(max(self._rate, 1.0), self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left >= 1.0

    def take(self) -> None:
        self._left -= 1.0


Render = Callable[[str, Sequence[str], Inspected, Mapping[str, Any] | None], bytes]
"""The line for a packet: direction, the steps at the other end, the packet, the JSON of its frame if it is known."""


class StreamTap:
    """One reader. ``sent`` and ``got`` are called in the middle of a stream: they never wait and never raise."""

    def __init__(self, direction: TapDirection, rate: float, shared: SampleBudget, render: Render) -> None:
        self.missed = 0
        """Packets that were not shown since the last ``take``."""
        self._in = direction is not TapDirection.OUT
        self._out = direction is not TapDirection.IN
        rates = dict.fromkeys((TapDirection.IN, TapDirection.OUT), min(rate, MAX_RATE))
        self._own = {each: SampleBudget(most, trio.current_time) for each, most in rates.items()}
        self._shared = shared
        self._render = render
        self._lines: deque[bytes] = deque()
        self._news = trio.Event()

    def sent(self, targets: Sequence[str], packet: Inspected, content: Mapping[str, Any] | None) -> None:
        """A packet of the step goes to ``targets``."""
        if self._out:
            self._note(TapDirection.OUT, targets, packet, content)

    def got(self, source: str, packet: Inspected, content: Mapping[str, Any] | None) -> None:
        """A packet comes to the step from ``source``."""
        if self._in:
            self._note(TapDirection.IN, (source,), packet, content)

    def take(self) -> tuple[list[bytes], int]:
        """The lines that wait, and how many packets were not shown."""
        lines, missed = list(self._lines), self.missed
        self._lines.clear()
        self.missed = 0
        return lines, missed

    async def wait(self, seconds: float) -> None:
        """Return when a line waits, after ``seconds`` at the latest."""
        if self._lines:
            await trio.lowlevel.checkpoint()
            return
        self._news = trio.Event()
        with trio.move_on_after(seconds):
            await self._news.wait()

    def _note(
        self, direction: TapDirection, others: Sequence[str], packet: Inspected, content: Mapping[str, Any] | None
    ) -> None:
        own = self._own[direction]
        if len(self._lines) >= MAX_QUEUED or not (own.has_one() and self._shared.has_one()):
            self.missed += 1
            return
        own.take()
        self._shared.take()
        self._lines.append(self._render(direction, others, packet, content))
        self._news.set()


class TapBook:
    """All taps of a hub."""

    def __init__(self) -> None:
        self.on_change: Callable[[Place], None] = lambda place: None
        self._open: dict[Place, tuple[StreamTap, ...]] = {}
        self._shared: SampleBudget | None = None

    def of(self, place: Place) -> tuple[StreamTap, ...]:
        return self._open.get(place, ())

    @contextmanager
    def opened(
        self,
        place: Place,
        direction: TapDirection,
        rate: float,
        now: Callable[[], datetime],
        redact_fields: Iterable[str] = (),
    ) -> Iterator[StreamTap]:
        """A tap of a step while the block runs.

        Raises:
            TooManyTapsError: there is no room for it.
        """
        from hub.tap_sample import HiddenFields, sample_of  # a hub that nobody looks into does not load it

        if len(self.of(place)) >= MAX_TAPS_OF_STEP:
            raise TooManyTapsError(f"{MAX_TAPS_OF_STEP} commands already show packets of this step; end one of them")
        of_namespace = sum(len(taps) for each, taps in self._open.items() if each.run.namespace == place.run.namespace)
        if of_namespace >= MAX_TAPS // 2:
            raise TooManyTapsError(f"{of_namespace} commands already show packets of this namespace; end one of them")
        if sum(map(len, self._open.values())) >= MAX_TAPS:
            raise TooManyTapsError(f"{MAX_TAPS} commands already show packets of this hub; end one of them")
        hidden = HiddenFields(redact_fields)

        def render(
            direction: str, others: Sequence[str], packet: Inspected, content: Mapping[str, Any] | None
        ) -> bytes:
            return sample_of(direction, others, packet, content, now(), hidden)

        if self._shared is None:
            self._shared = SampleBudget(MAX_RATE_OF_ALL, trio.current_time)
        tap = StreamTap(direction, rate, self._shared, render)
        self._open[place] = (*self.of(place), tap)
        self.on_change(place)
        try:
            yield tap
        finally:
            left = tuple(each for each in self.of(place) if each is not tap)
            if left:
                self._open[place] = left
            else:
                del self._open[place]
            self.on_change(place)
