"""Lines of several logs in order of time, with no more of them in memory than necessary. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class LogSource(NamedTuple):
    """The attempt of a step that has written a line."""

    step: str
    """Its path: ``fan/left`` for a branch."""
    attempt: int
    """Counted from 1."""

    def __str__(self) -> str:
        return f"{self.step}[{self.attempt}]"


class WaitingLine(NamedTuple):
    """A line that is not printed yet; they are compared by their first two fields."""

    order: datetime
    number: int
    source: LogSource
    at: datetime | None
    text: str


@dataclass
class LinesInOrder:
    """Lines that wait to be printed. No line of a Pod is older than the Pod. So when the next Pod is known, everything
    older than it can be printed.
    """

    _waiting: list[WaitingLine] = field(default_factory=list)
    _added: int = 0

    def add(self, source: LogSource, lines: Iterable[tuple[datetime | None, str]]) -> None:
        """Add one log. Its lines stay in their order; one without a time comes just after the line before it."""
        order = _EARLIEST
        for at, text in lines:
            order = max(at, order) if at is not None else order
            heapq.heappush(self._waiting, WaitingLine(order, self._added, source, at, text))
            self._added += 1

    def older_than(self, until: datetime | None) -> Iterator[WaitingLine]:
        """Take out the lines that are older, in order; without an instant, none."""
        while until is not None and self._waiting and self._waiting[0].order < until:
            yield heapq.heappop(self._waiting)

    def rest(self) -> Iterator[WaitingLine]:
        """Take out all other lines, in order."""
        while self._waiting:
            yield heapq.heappop(self._waiting)
