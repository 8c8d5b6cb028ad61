"""The caches of one process, which its watches feed late, twice, out of order or not at all.

The caches are those of production (``core.kube.store``), so reads are never older than the process's own writes, and no
late event reverts these. A watch that was cut resumes with the events that it missed, or lists again if the server has
lost its history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

import trio

from core.api.objects import NamespacedName, Object
from core.kube.store import Change, InformerStore
from fuzz.engine.cluster import Cluster, RefusedError, Write
from reconcilers import effectclaim, storytrigger
from reconcilers.adapters.watched_kind import WatchedKind

OF_STREAMS: Final = ("Deployment", "TransportBinding")
KINDS: Final = ("Story", "StoryRun", "StepRun", "Job", "Pod", *OF_STREAMS, "Engram", "EngramTemplate")
"""The kinds that a process watches; it asks the server for all other objects."""
OF_CLIENTS: Final[Mapping[str, WatchedKind]] = {
    watched.resource.kind: watched
    for row in (storytrigger.CONTROLLER, effectclaim.CONTROLLER)
    for watched in row.informers
}
"""The kinds that it watches in addition if there are clients: with the indexes of production, and as much of each
object as production keeps.
"""

OWNER_UID: Final = "controller-uid"
STEP_RUN_NAME: Final = "step-run"
LATE_SECONDS: Final = 0.7

Tell: TypeAlias = Callable[[str, Change], None]


class Delivery(StrEnum):
    """The fate of one watch event on its way to one process."""

    NOW = "now"
    TWICE = "twice"
    LATE = "late"
    """Later events overtake it."""
    LOST = "lost"
    """The process misses the change until the next list."""


class Known:
    """The caches of one process. ``tell`` gets every change of them, like the handlers of an informer."""

    def __init__(self, tell: Tell, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = kinds
        self.also: list[Tell] = []
        """Who gets every change as well, before ``tell``."""
        self._tell = tell
        self._stores = {
            kind: InformerStore(OF_CLIENTS[kind].indexes if kind in OF_CLIENTS else _INDEXERS) for kind in kinds
        }

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._stores[kind].get(NamespacedName(namespace, name))

    def by_owner(self, kind: str, uid: str) -> list[Object]:
        return [*self._stores[kind].by_index(OWNER_UID, uid)]

    def pods_of(self, namespace: str, step_run: str) -> list[Object]:
        return [*self._stores["Pod"].by_index(STEP_RUN_NAME, f"{namespace}/{step_run}")]

    def by_index(self, kind: str, index: str, value: str) -> list[Object]:
        """For the kinds of ``OF_CLIENTS``."""
        return [*self._stores[kind].by_index(index, value)]

    def all(self, kind: str) -> list[Object]:
        return [*self._stores[kind].list(None)]

    def remember(self, obj: Object) -> None:
        """Store the answer to a write of this process."""
        self._publish(obj["kind"], self._stores[obj["kind"]].put(_kept(obj), in_order=False))

    def forget(self, obj: Object) -> None:
        """Remove an object: the server accepted this process's delete."""
        metadata = obj["metadata"]
        if not metadata.get("finalizers"):
            key = NamespacedName(metadata["namespace"], metadata["name"])
            self._publish(obj["kind"], self._stores[obj["kind"]].forget(key, metadata["uid"]))

    def take(self, write: Write) -> None:
        """Apply one watch event."""
        kind = write.place[0]
        if write.new is not None:
            self._publish(kind, self._stores[kind].put(_kept(write.new)))
            return
        assert write.old is not None
        last = write.old | {"metadata": write.old["metadata"] | {"resourceVersion": str(write.number)}}
        self._publish(kind, self._stores[kind].remove(_kept(last)))

    def list_anew(self, cluster: Cluster, kind: str) -> None:
        store = self._stores[kind]
        number = store.begin_list()
        found = (_kept(obj) for place, obj in cluster.objects.items() if place[0] == kind)
        listed = [store.listed(obj, obj) for obj in found]
        self._publish(kind, store.replace_all(listed, str(cluster.newest), number, trust=False))

    def _publish(self, kind: str, changes: Iterable[Change]) -> None:
        for change in changes:
            for tell in (*self.also, self._tell):
                tell(kind, change)


@dataclass
class Watches:
    """The streams of events from the server to one process."""

    cluster: Cluster
    known: Known
    nursery: trio.Nursery
    deliveries: Mapping[int, Delivery]
    """By number of the event, in the order of all kinds."""
    lags: Mapping[str, float]
    """By kind: the delay of its stream in seconds."""
    seen: dict[Delivery, int] = field(default_factory=lambda: dict.fromkeys(Delivery, 0))
    _number: int = 0
    _cut_at: int | None = None
    """The number of the last write before the streams were cut."""
    _over: bool = False

    def open(self) -> None:
        for kind in self.known.kinds:
            self.known.list_anew(self.cluster, kind)
        self.cluster.listeners.append(self.see)

    def close(self) -> None:
        self._over = True
        if self.see in self.cluster.listeners:
            self.cluster.listeners.remove(self.see)

    def see(self, write: Write) -> None:
        if write.place[0] not in self.known.kinds or self._cut_at is not None:
            return
        number, self._number = self._number, self._number + 1
        delivery = self.deliveries.get(number, Delivery.NOW)
        self.seen[delivery] += 1
        lag = self.lags.get(write.place[0], 0.0) + (LATE_SECONDS if delivery is Delivery.LATE else 0.0)
        if delivery is Delivery.LOST:
            return
        for _ in range(2 if delivery is Delivery.TWICE else 1):
            if lag:
                self.nursery.start_soon(self._later, write, lag)
            else:
                self.known.take(write)

    def cut(self) -> None:
        """The connection is lost; events already in transit still arrive."""
        if self._cut_at is None:
            self._cut_at = self.cluster.newest

    def resume(self) -> None:
        """The connection works again: missed events are delivered in order, or everything is listed."""
        since, self._cut_at = self._cut_at, None
        if since is None:
            return
        for kind in self.known.kinds:
            try:
                missed = self.cluster.writes_since(kind, since)
            except RefusedError:
                self.known.list_anew(self.cluster, kind)
            else:
                for write in missed:
                    self.known.take(write)

    def list_anew(self) -> None:
        """Relist after a gap that the process noticed."""
        if self._cut_at is None and not self._over:
            for kind in self.known.kinds:
                self.known.list_anew(self.cluster, kind)

    async def _later(self, write: Write, seconds: float) -> None:
        await trio.sleep(seconds)
        if not self._over:
            self.known.take(write)


def _kept(obj: Object) -> Object:
    """The part of an object that a process keeps."""
    watched = OF_CLIENTS.get(obj["kind"])
    return obj if watched is None else watched.trim(obj)


def controller_owner(obj: Object) -> Object | None:
    """The owner reference with ``controller: true``."""
    references: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def controlled_by(obj: Object, uid: str) -> bool:
    owner = controller_owner(obj)
    return owner is not None and owner.get("uid") == uid


def _owner_uids(obj: Object) -> list[str]:
    owner = controller_owner(obj)
    return [] if owner is None else [str(owner.get("uid"))]


def _step_runs(obj: Object) -> list[str]:
    name = (obj.get("spec") or {}).get("stepRun") if obj["kind"] == "Pod" else None
    return [] if name is None else [f"{obj['metadata']['namespace']}/{name}"]


_INDEXERS = {OWNER_UID: _owner_uids, STEP_RUN_NAME: _step_runs}
