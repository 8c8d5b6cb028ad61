"""Which objects this process works for. One process owns the whole cluster today; several would divide it.

A key is a namespace and a name. It stands for the object of that name of every kind, so that each object has exactly
one owner, whatever its kind. What the engine makes for a run (StepRuns, Jobs, Pods, accounts) belongs to whoever owns
the run. A run that a step calls is a run of its own: another process may own it, and the two then meet in the API
server only.

A key changes hands in this order:

1. ``owns`` of the old owner says no. From then on it begins nothing for the key, and the fence refuses its writes.
2. The old owner ends its work for the key (``manager.assembly.Operator.release``): what was sent is answered.
3. ``owns`` of the new owner says yes, and it begins (``Operator.adopt``) from what is stored.

What spans keys is decided by each process for the keys it owns. Before a second process works, these must be divided,
or be given to one owner; docs/architecture.md says how:

- limits on steps (``core.engine.slots``): a process counts the steps of its own runs;
- turns of runs of one Story (``core.engine.concurrency``): two processes may let two runs begin within the same moment.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

OwnedKey: TypeAlias = tuple[str, str]
"""Namespace, empty for a cluster-scoped object, and name. ``RunKey`` and the ``Key`` of controllers are such keys."""


class Ownership(Protocol):
    """What supervisor, router, queues, resync and fence ask."""

    def owns(self, key: OwnedKey) -> bool:
        """Whether this process may work for the key at this moment.

        Asked at every event and every write: it must be cheap, must not wait and must not raise.
        """


class WholeCluster:
    """One shard: this process owns every key as long as it works at all."""

    def owns(self, key: OwnedKey) -> bool:
        del key
        return True


WHOLE_CLUSTER = WholeCluster()
