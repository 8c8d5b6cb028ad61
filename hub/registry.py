"""Who serves which step: at most one client, of the highest generation that has connected.

Of two clients of one generation the newer one serves, because the older one is usually the rest of a broken connection.
Pure. Source: streaming contract 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from core.api.objects import NamespacedName
from hub.topology import Place

Holder = TypeVar("Holder")


class StaleGenerationError(Exception):
    """A newer generation has served the step."""


@dataclass(slots=True)
class Registry(Generic[Holder]):
    """Holders by place."""

    _holders: dict[Place, Holder] = field(default_factory=dict)
    _generations: dict[Place, int] = field(default_factory=dict)
    """The highest generation of each place. It stays when its holder leaves."""

    def __len__(self) -> int:
        return len(self._holders)

    def generation(self, place: Place) -> int:
        """The highest generation that has served ``place``; 0 if none has."""
        return self._generations.get(place, 0)

    def holder(self, place: Place) -> Holder | None:
        return self._holders.get(place)

    def take(self, place: Place, generation: int, holder: Holder) -> Holder | None:
        """``holder`` serves ``place`` from now on; returns whom it has replaced.

        Raises:
            StaleGenerationError: a higher generation has served it; nothing has changed.
        """
        if generation < (current := self.generation(place)):
            raise StaleGenerationError(f"generation {generation} was replaced by generation {current}")
        replaced = self._holders.get(place)
        self._holders[place] = holder
        self._generations[place] = generation
        return None if replaced is holder else replaced

    def leave(self, place: Place, holder: Holder) -> bool:
        """``holder`` is gone; returns whether it was the one that served."""
        if self._holders.get(place) is not holder:
            return False
        del self._holders[place]
        return True

    def begin_again(self, place: Place) -> None:
        """Generations are counted from the start: ``place`` has another binding now."""
        self._holders.pop(place, None)
        self._generations.pop(place, None)

    def holders(self) -> tuple[Holder, ...]:
        return tuple(self._holders.values())

    def of_run(self, run: NamespacedName) -> Iterator[Holder]:
        """The holders of a run."""
        return iter([holder for place, holder in self._holders.items() if place.run == run])

    def forget(self, run: NamespacedName) -> None:
        """The run has ended: nothing of it counts any more."""
        for place in [place for place in self._generations if place.run == run]:
            self._holders.pop(place, None)
            del self._generations[place]
