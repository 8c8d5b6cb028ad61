"""Steps of this process that would execute the same at the same time: one does it, the others may wait for its result.

It is a matter of economy, not of correctness: two processes, or a process after a restart, may execute the same twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio


@dataclass(slots=True)
class EqualWork:
    """The executions under way, by key; and who does each."""

    _under_way: dict[str, tuple[str, trio.Event]] = field(default_factory=dict)

    def begin(self, key: str, who: str) -> str:
        """Take the work, unless another has it. Returns who has it now."""
        return self._under_way.setdefault(key, (who, trio.Event()))[0]

    def end(self, key: str, who: str) -> None:
        """Give the work back, and wake all who wait for it. Does nothing if another has it, or if it is free."""
        found = self._under_way.get(key)
        if found is not None and found[0] == who:
            del self._under_way[key]
            found[1].set()

    async def ended(self, key: str) -> None:
        """Return when no task has this work any more."""
        if key in self._under_way:
            await self._under_way[key][1].wait()
        else:
            await trio.lowlevel.checkpoint()
