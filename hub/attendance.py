"""Which clients have come and gone: for the status of bindings. It says when something is news. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant
from hub.client_refusal import ClientRefusal
from hub.topology import BoundStep, Client, Place

SHOWN_EVERY: Final = timedelta(seconds=30)
"""Between two refusals that are shown for one step."""
SHOWN_AT_ONCE: Final = 20
"""Refusals that are shown for all steps at a time; then one each second."""

RETURN_SETTLES: Final = timedelta(milliseconds=500)
"""From the first attempt of a source that connects again until the operator is asked: as long as a node may take to
report that the process before it has ended.
"""

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
    client: Client | None = None
    """The one that came last."""
    connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    """None while a client is there."""
    refusal: LastRefusal | None = None
    """The last one that is shown."""
    returning: datetime | None = None
    """Since when a client asks to connect again, and waits for the operator."""


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
        self._knocked: dict[Place, datetime] = {}
        """When a client that connects again has tried for the first time."""
        self._unshown: dict[Place, LastRefusal] = {}
        self._shown_at: dict[Place, datetime] = {}
        self._may_show = float(SHOWN_AT_ONCE)
        self._since = _EPOCH

    def of(self, place: Place) -> Attendance:
        """Who serves ``place`` now. A refusal that had to wait is in it as soon as it may be shown."""
        if place in self._unshown:
            self._show(place)
        return self._found.get(place, NOBODY)

    def may_come(self, bound: BoundStep, client: Client) -> bool:
        """Whether a client of a source may serve it now.

        A process that ends well is started again by its node, and would send everything a second time before the
        operator has said that the step is finished. So a client may be the first one of its generation, or the same
        process as before; any other one waits until the operator has looked, and has allowed it.
        """
        found = self.of(bound.place)
        last = found.client or bound.former
        if last is None or last.generation != client.generation or (client.process and client == last):
            return True
        now = self._now()
        if found.returning is not None:
            return format_instant(found.returning) == bound.may_return
        if not timedelta() <= now - self._knocked.setdefault(bound.place, now) < RETURN_SETTLES:
            self._found[bound.place] = replace(found, returning=now)
            self._on_change(bound.place)
        return False

    def came(self, place: Place, client: Client) -> None:
        refusal = self.of(place).refusal
        self._knocked.pop(place, None)
        self._found[place] = Attendance(True, client, self._now(), refusal=refusal)
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
        self._knocked.pop(place, None)
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
