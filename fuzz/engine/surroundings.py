"""What a process of the model has beside the cluster: a clock, and somebody who hears its Events."""

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
    """The wall clock of a world that starts at ``epoch`` with Trio's mock clock at zero; ``stepped`` moves it apart."""
    return WallClock(lambda: epoch + timedelta(seconds=trio.current_time()) + stepped())
