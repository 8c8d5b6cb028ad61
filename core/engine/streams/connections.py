"""The streams of one realtime run in this process: which have begun, and since when none of them is connected.

A stream has begun once its StepRun exists; from then on the steps that need it may start, too. What is known of its
connection is what the executor has observed last. Steps that serve no stream do not count.
Source: streaming contract 3 and 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from core.engine.plan import StepPlan
from core.engine.ports import LiveStream
from core.engine.wakeup import WakeUp


@dataclass(frozen=True, slots=True)
class _Connection:
    is_there: bool
    lost_at: datetime | None = None
    """Since when it is away, after it was there."""
    why: str = field(default="", compare=False)
    """Why it is away, for people. Another text alone is not a change."""


class Streams:
    """``changed`` is woken whenever a stream begins, is connected or lost, or ends."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._connections: dict[str, _Connection] = {}
        self._notify: Callable[[str], None] | None = None
        self.changed = WakeUp()

    @property
    def begun(self) -> Set[str]:
        return self._begun

    @contextmanager
    def notifying(self, notify: Callable[[str], None]) -> Iterator[None]:
        """Inside the block, ``notify`` is called with each step whose stream begins."""
        self._notify = notify
        try:
            yield
        finally:
            self._notify = None

    def begin(self, step: StepPlan) -> None:
        """The StepRun of ``step`` exists."""
        if not step.serves_stream or step.name in self._begun:
            return
        self._begun.add(step.name)
        if self._notify is not None:
            self._notify(step.name)

    def saw(self, step: StepPlan, live: LiveStream | None, now: datetime) -> None:
        """What the executor has observed; None: no workload serves the step now."""
        if not step.serves_stream:
            return
        if live is not None and not live.has_client:
            return  # the hub serves it, and says nothing about whether the streams of the run are away
        before = self._connections.get(step.name, _Connection(False))
        lost_at = (live.disconnected_since if live is not None else None) or before.lost_at
        if live is not None and live.is_connected:
            found = _Connection(True)
        else:
            why = live.message if live is not None else ""
            found = _Connection(False, lost_at or (now if before.is_there else None), why)
        self._connections[step.name] = found
        if found != before:
            self.changed.wake()

    def ended(self, step: str) -> None:
        if self._connections.pop(step, None) is not None:
            self.changed.wake()

    @property
    def any_connected(self) -> bool:
        return any(one.is_there for one in self._connections.values())

    @property
    def all_lost_since(self) -> datetime | None:
        """When the last connection was lost; None while there is one, and if there never was one."""
        if self.any_connected:
            return None
        return max((one.lost_at for one in self._connections.values() if one.lost_at is not None), default=None)

    @property
    def why_lost(self) -> str:
        """Why the connection that was lost last is away; empty: nobody says so."""
        lost = [(one.lost_at, one.why) for one in self._connections.values() if one.lost_at is not None]
        return max(lost)[1] if lost else ""
