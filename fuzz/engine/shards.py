"""Who owns which run, where two processes share the work: a function of the run's name that changes at given instants.

Everything belongs to the first shard until it is handed over, runs that steps call included: a run and what it calls
may have different owners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from core.ownership.ownership import OwnedKey

FIRST_SHARD: Final = 0
"""That of the process which ``World.start`` starts."""
SECOND_SHARD: Final = 1


@dataclass(frozen=True)
class Change:
    """A key has another owner from now on."""

    after: int
    """The number of the last write before."""
    at: float
    """Trio's time."""
    key: OwnedKey
    giver: int | None
    """Who had it before."""
    shard: int | None
    """None: nobody; its owner is about to let it go."""
    let_go: bool
    """Whether the owner before was not at work for it any more."""


@dataclass
class Shards:
    """Of one world. ``newest`` is the number of the last write, ``now`` Trio's time."""

    newest: Callable[[], int]
    now: Callable[[], float]
    changes: list[Change] = field(default_factory=list)
    _owners: dict[OwnedKey, int | None] = field(default_factory=dict)

    def owner_of(self, key: OwnedKey) -> int | None:
        return self._owners.get(key, FIRST_SHARD)

    def give(self, key: OwnedKey, shard: int | None, *, let_go: bool = True) -> None:
        self.changes.append(Change(self.newest(), self.now(), key, self.owner_of(key), shard, let_go))
        self._owners[key] = shard

    def keys_of(self, shard: int) -> list[OwnedKey]:
        """What was handed over to it, and not away again."""
        return [key for key, owner in self._owners.items() if owner == shard]


@dataclass(frozen=True)
class Shard:
    """The ``Ownership`` of a process."""

    shards: Shards
    number: int

    def owns(self, key: OwnedKey) -> bool:
        return self.shards.owner_of(key) == self.number
