"""Which producers must wait: a full consumer holds everybody who sends to it, until it has room again.

A held producer is not read. Its packets stay in its connection, the window of its stream closes, and in the end its
program waits in its own send: hop by hop the pressure reaches the source. Pure. Source: streaming contract 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class FillGate:
    """Hysteresis over the fill level of one buffer, in percent: closed from ``pause`` on, open again at ``resume``."""

    pause: float
    resume: float
    is_closed: bool = False

    def update(self, percent: float) -> bool:
        """Note the level; returns whether the gate has opened or closed."""
        closed = percent > self.resume if self.is_closed else percent >= self.pause
        changed, self.is_closed = closed != self.is_closed, closed
        return changed


@dataclass(slots=True)
class Pressure:
    """Who is held by whom. ``producers`` has for each consumer the steps that send to it."""

    producers: Mapping[str, tuple[str, ...]]
    _holds: dict[str, set[str]] = field(default_factory=dict)
    """For each held producer the consumers that hold it."""

    def hold(self, consumer: str) -> None:
        """``consumer`` is full."""
        for producer in self.producers[consumer]:
            self._holds.setdefault(producer, set()).add(consumer)

    def release(self, consumer: str) -> tuple[str, ...]:
        """``consumer`` has room; returns the producers that no consumer holds up any more."""
        free = []
        for producer in self.producers[consumer]:
            held_by = self._holds.get(producer)
            if held_by is None or consumer not in held_by:
                continue
            held_by.remove(consumer)
            if not held_by:
                del self._holds[producer]
                free.append(producer)
        return tuple(free)

    def is_held(self, producer: str) -> bool:
        return producer in self._holds

    def holders(self, producer: str) -> tuple[str, ...]:
        """Which consumers ``producer`` waits for, by name."""
        return tuple(sorted(self._holds.get(producer, ())))


@dataclass(slots=True)
class ReadingClock:
    """How long the packets of a step have been read in its session: time does not count while the step is held."""

    started: float | None = None
    """When the part that counts began; None while the clock stands."""
    counted: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.started is not None

    def read(self, now: float) -> float:
        """Seconds of reading until ``now``."""
        return self.counted + (now - self.started if self.started is not None else 0.0)

    def run(self, now: float, *, running: bool) -> None:
        """The step is read from now on, or it is held."""
        if running and self.started is None:
            self.started = now
        elif not running and self.started is not None:
            self.counted, self.started = self.read(now), None
