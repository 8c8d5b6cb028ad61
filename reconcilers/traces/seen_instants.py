"""When this process saw things happen, which is more exact than what is recorded: a status has whole seconds.

An instant only refines a recorded one. A process that was not there, or saw it late, uses the recorded one, so a trace
does not depend on who exports it, except for the fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

_LATE: Final = timedelta(seconds=2)
"""A change that is seen later than this after the recorded second tells nothing about when it happened."""
_MOST: Final = 65_536
"""Objects that are remembered; forgetting one costs fractions of seconds."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Of one StoryRun or StepRun."""

    created_at: datetime | None = None
    ended_at: datetime | None = None


UNSEEN: Final = Sight()


class SeenInstants:
    """By UID."""

    def __init__(self) -> None:
        self._sights: dict[str, Sight] = {}

    def created(self, uid: str, at: datetime) -> None:
        if len(self._sights) >= _MOST:
            del self._sights[next(iter(self._sights))]
        self._sights.setdefault(uid, Sight(created_at=at))

    def ended(self, uid: str, at: datetime) -> None:
        self._sights[uid] = replace(self.of(uid), ended_at=at)

    def of(self, uid: str) -> Sight:
        return self._sights.get(uid, UNSEEN)

    def forget(self, uid: str) -> None:
        self._sights.pop(uid, None)


def refined(recorded: datetime | None, seen: datetime | None) -> datetime | None:
    """``recorded``, or ``seen`` if that is the same instant seen more exactly."""
    if recorded is None or seen is None:
        return recorded
    return seen if recorded <= seen < recorded + _LATE else recorded
