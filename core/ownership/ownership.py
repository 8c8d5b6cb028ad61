"""Which objects this process works for. Today one process owns the whole cluster; later several may divide it.

A key is a namespace and a name. It stands for the objects of all kinds with that name, so that each object has exactly
one owner, whatever its kind. The objects that the engine creates for a run (StepRuns, Jobs, Pods, accounts) belong to
the owner of the run. A run that a step calls is a run of its own: another process may own it, and the two processes
then interact only through the API server.

A key moves to another owner in this order:

1. ``owns`` of the old owner returns False. From then on that process starts nothing for the key, and the fence refuses
   its writes.
2. The old owner ends its work for the key (``manager.assembly.Operator.release``): every write that was sent has been
   answered.
3. ``owns`` of the new owner returns True, and it starts (``Operator.adopt``) from what is stored.

What concerns several keys is decided by each process for the keys that it owns. Before a second process works, these
must be divided, or must be given to one owner; docs/architecture.md says how:

- limits on steps (``core.engine.slots``): a process counts the steps of its own runs;
- turns of runs of one Story (``core.engine.concurrency``): two processes may let two runs start at the same moment.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

OwnedKey: TypeAlias = tuple[str, str]
"""Namespace (empty for a cluster-scoped object) and name, such as a ``NamespacedName``."""


class Ownership(Protocol):
    """What supervisor, router, queues, resync and fence ask."""

    def owns(self, key: OwnedKey) -> bool:
        """Whether this process may work for the key now.

        It is called at every event and every write, so it must be cheap, must not wait and must not raise.
        """


class WholeCluster:
    """One shard: this process owns every key as long as it works at all."""

    def owns(self, key: OwnedKey) -> bool:
        del key
        return True


WHOLE_CLUSTER = WholeCluster()
