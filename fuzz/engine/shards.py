"""The owners of runs when two processes share the work: a function of the run's name that changes at given instants.

The first shard owns every key until it is handed over, also keys of child runs: a run and its child runs may have
different owners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from core.ownership.ownership import OwnedKey

FIRST_SHARD: Final = 0
"""The shard of the process that ``World.start`` starts."""
SECOND_SHARD: Final = 1


@dataclass(frozen=True)
class Change:
    """A change of the owner of a key."""

    after: int
    """The number of the last write before the change."""
    at: float
    """The time of Trio's clock."""
    key: OwnedKey
    giver: int | None
    """The owner before; None: nobody."""
    shard: int | None
    """The new owner; None: nobody, because the old owner is about to release the key."""
    let_go: bool
    """Whether the owner before had already stopped its work for the key."""


@dataclass
class Shards:
    """The shards of one world. ``newest`` returns the number of the last write, ``now`` the time of Trio's clock."""

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
        """The keys that were handed over to this shard, and not to another one afterwards."""
        return [key for key, owner in self._owners.items() if owner == shard]


@dataclass(frozen=True)
class Shard:
    """The ``Ownership`` of a process: the keys of its shard."""

    shards: Shards
    number: int

    def owns(self, key: OwnedKey) -> bool:
        return self.shards.owner_of(key) == self.number
