"""Which clients have come and gone: for the status of bindings. It says when something is news. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from hub.topology import Place

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who serves a step."""

    is_connected: bool = False
    generation: int | None = None
    """Of the client that came last."""
    connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    """None while a client is there."""
    refusal: str = ""
    """Why the last client with a genuine token was refused, if none was admitted since."""


NOBODY: Final = Attendance()


class AttendanceBook:
    """The attendance of all steps.

    Args:
        now: the wall clock.
        on_change: called with the step whose client has come or gone.
    """

    def __init__(
        self, now: Callable[[], datetime] = lambda: _EPOCH, on_change: Callable[[Place], None] = lambda place: None
    ) -> None:
        self._now = now
        self._on_change = on_change
        self._found: dict[Place, Attendance] = {}

    def of(self, place: Place) -> Attendance:
        return self._found.get(place, NOBODY)

    def came(self, place: Place, generation: int) -> None:
        self._found[place] = Attendance(is_connected=True, generation=generation, connected_at=self._now())
        self._on_change(place)

    def went(self, place: Place) -> None:
        self._found[place] = replace(self.of(place), is_connected=False, disconnected_at=self._now())
        self._on_change(place)

    def refused(self, place: Place, why: str) -> None:
        self._found[place] = replace(self.of(place), refusal=why)

    def forget(self, place: Place) -> None:
        """The step has another binding now, or none."""
        self._found.pop(place, None)
