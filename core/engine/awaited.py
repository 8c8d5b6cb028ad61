"""Steps that wait for definitions, such as an Engram that is applied after the run has started.

One registry serves all runs of a process. Informers report each change of a definition; only the steps that wait for it
are woken, and look again. Nothing polls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from core.engine.errors import Definition
from core.engine.wakeup import WakeUp


class AwaitedDefinitions:
    """Which step waits for which definitions."""

    def __init__(self) -> None:
        self._waiting: dict[Definition, dict[WakeUp, None]] = {}

    @contextmanager
    def watching(self, definitions: Collection[Definition], wakeup: WakeUp) -> Iterator[None]:
        """Inside the block, each change of one of the definitions wakes ``wakeup``."""
        for definition in definitions:
            self._waiting.setdefault(definition, {})[wakeup] = None
        try:
            yield
        finally:
            for definition in definitions:
                waiting = self._waiting[definition]
                del waiting[wakeup]
                if not waiting:
                    del self._waiting[definition]

    def changed(self, definition: Definition) -> None:
        """A definition has appeared or has changed. Never blocks and never fails."""
        for wakeup in self._waiting.get(definition, ()):
            wakeup.wake()

    def rules_changed(self) -> None:
        """The operator's settings have changed: another reference may be allowed now."""
        for definition in self._waiting:
            self.changed(definition)

    def __len__(self) -> int:
        """The number of definitions that steps wait for."""
        return len(self._waiting)
