"""The environment of a process in the model besides the cluster: a clock, and a recorder of its Events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import trio

from core.api.objects import Object
from core.engine.clock import WallClock
from core.engine.ports import EventType


@dataclass
class RecordedEvents:
    told: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, reason, message."""

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None:
        self.told.append((str(type_), str(reason), message))


def virtual_clock(epoch: datetime, stepped: Callable[[], timedelta] = timedelta) -> WallClock:
    """The wall clock of a world that starts at ``epoch`` with Trio's mock clock at zero; ``stepped`` is its offset."""
    return WallClock(lambda: epoch + timedelta(seconds=trio.current_time()) + stepped())
