"""Whether a step is done with everything that its producers have sent, so that its container may be stopped.

A step is drained when the steps that it needs have finished, and nothing that goes to it has been left for a while:
what it makes of its last packet may leave it a moment after the acknowledgement. It stays drained. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(slots=True)
class DrainWatch(Generic[Key]):
    """Since when nothing is left for each step."""

    _empty_since: dict[Key, float] = field(default_factory=dict)
    _drained: set[Key] = field(default_factory=set)

    def look(self, step: Key, *, is_empty: bool, linger_seconds: float, now: float) -> bool:
        """Note the state of a step whose needs have finished; returns whether it is drained."""
        if step in self._drained:
            return True
        if not is_empty:
            self._empty_since.pop(step, None)
            return False
        if now < self._empty_since.setdefault(step, now) + linger_seconds:
            return False
        self._drained.add(step)
        del self._empty_since[step]
        return True

    def is_drained(self, step: Key) -> bool:
        return step in self._drained

    def forget(self, step: Key) -> None:
        """The step is gone, or begins again."""
        self._empty_since.pop(step, None)
        self._drained.discard(step)
