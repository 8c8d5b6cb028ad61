"""One process of the operator in the model, with all its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from core.api.objects import NamespacedName
from core.engine.run.supervisor import Supervisor
from fuzz.engine.housekeeping import Housekeeping
from fuzz.engine.process import Process
from fuzz.engine.shards import FIRST_SHARD
from fuzz.engine.watches import Watches


@dataclass
class Incarnation:
    """One process of the operator, from its start until its last task has ended."""

    process: Process
    supervisor: Supervisor
    watches: Watches
    house: Housekeeping | None
    started_at: float
    """Trio's time."""
    shard: int = FIRST_SHARD
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)

    async def release(self, key: NamespacedName) -> None:
        """Release the run as ``manager.assembly.Operator.release`` does."""
        await self.supervisor.release(key)
        if self.house is not None:
            await self.house.release(key)

    def adopt(self, key: NamespacedName) -> None:
        """Adopt the run as ``manager.assembly.Operator.adopt`` does, including the lists that it requires."""
        self.watches.list_anew()
        if self.house is not None:
            self.house.adopt(key)
        else:
            self.supervisor.adopt(key)
