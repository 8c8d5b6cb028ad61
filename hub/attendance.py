"""Which clients have come and gone: for the status of bindings. It says when something is news. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hub.client_refusal import ClientRefusal
from hub.topology import Place

SHOWN_EVERY: Final = timedelta(seconds=30)
"""Between two refusals that are shown for one step."""
SHOWN_AT_ONCE: Final = 20
"""Refusals that are shown for all steps at a time; then one each second."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class LastRefusal:
    """A client of a step that was refused."""

    reason: ClientRefusal
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who serves a step."""

    is_connected: bool = False
    generation: int | None = None
    """Of the client that came last."""
    connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    """None while a client is there."""
    refusal: LastRefusal | None = None
    """The last one that is shown."""


NOBODY: Final = Attendance()


class AttendanceBook:
    """The attendance of all steps.

    Refusals are shown seldom: whoever knows the name of a binding can cause them, and each is a write of the hub. The
    last one of a step is kept until it may be shown.

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
        self._unshown: dict[Place, LastRefusal] = {}
        self._shown_at: dict[Place, datetime] = {}
        self._may_show = float(SHOWN_AT_ONCE)
        self._since = _EPOCH

    def of(self, place: Place) -> Attendance:
        """Who serves ``place`` now. A refusal that had to wait is in it as soon as it may be shown."""
        if place in self._unshown:
            self._show(place)
        return self._found.get(place, NOBODY)

    def came(self, place: Place, generation: int) -> None:
        refusal = self.of(place).refusal
        self._found[place] = Attendance(True, generation, self._now(), refusal=refusal)
        self._on_change(place)

    def went(self, place: Place) -> None:
        self._found[place] = replace(self.of(place), is_connected=False, disconnected_at=self._now())
        self._on_change(place)

    def refused(self, place: Place, reason: ClientRefusal, message: str) -> None:
        """A client that is ``place``, or says so, was refused."""
        self._unshown[place] = LastRefusal(reason, message, self._now())
        if self._show(place):
            self._on_change(place)

    def forget(self, place: Place) -> None:
        """The step has another binding now, or none."""
        self._found.pop(place, None)
        self._unshown.pop(place, None)
        self._shown_at.pop(place, None)

    def _show(self, place: Place) -> bool:
        """Show the newest refusal of a step, if that may be; returns whether it was."""
        now, shown_at = self._now(), self._shown_at.get(place)
        if shown_at is not None and timedelta() <= now - shown_at < SHOWN_EVERY:
            return False
        passed = max(0.0, (now - self._since).total_seconds())
        self._may_show, self._since = min(float(SHOWN_AT_ONCE), self._may_show + passed), now
        if self._may_show < 1:
            return False
        self._may_show -= 1
        self._shown_at[place] = now
        self._found[place] = replace(self._found.get(place, NOBODY), refusal=self._unshown.pop(place))
        return True
