"""Steps that wait for a change of what their expressions can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.engine.wakeup import WakeUp


class Watchers:
    """``wake`` must be called at each change of a variable, or of the phase of a step."""

    __slots__ = ("_wakeups",)

    def __init__(self) -> None:
        self._wakeups: dict[str, WakeUp] = {}

    @contextmanager
    def watching(self, step: str, wakeup: WakeUp) -> Iterator[None]:
        """Inside the block, each change wakes ``wakeup``."""
        self._wakeups[step] = wakeup
        try:
            yield
        finally:
            self._wakeups.pop(step, None)

    def wake(self) -> None:
        for wakeup in self._wakeups.values():
            wakeup.wake()
