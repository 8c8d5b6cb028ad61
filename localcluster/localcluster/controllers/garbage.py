"""The garbage collector: deletes objects whose owners are gone, and completes deletions that wait for dependents.

- If all owners of an object are gone, the object is deleted. If some are gone, their references are removed.
- ``foregroundDeletion``: the dependents are deleted first; the owner is deleted when no dependent blocks it any more.
- ``orphan``: the dependents lose the reference and stay.

Before anything is deleted, the registry is asked whether an owner exists; the feeds only provide the candidates.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from localcluster.controllers.context import ControllerContext
from localcluster.controllers.feed import Feed, Key, key_of
from localcluster.controllers.workqueue import WorkQueue
from localcluster.server.errors import StatusError
from localcluster.server.objectmeta import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from localcluster.server.options import Propagation
from localcluster.server.types import Object

_RECHECK_SECONDS: Final = 0.2
_OURS: Final = frozenset({FOREGROUND_FINALIZER, ORPHAN_FINALIZER})


class _Item(NamedTuple):
    group: str
    plural: str
    key: Key


class GarbageCollector:
    """Handles every object of every type."""

    def __init__(self, context: ControllerContext) -> None:
        self._context = context
        self._queue: WorkQueue[_Item] = WorkQueue("garbage", self._reconcile)
        context.feeds.listen(self._changed)

    async def run(self) -> None:
        await self._queue.run()

    def _changed(self, feed: Feed, obj: Object, gone: bool) -> None:
        metadata = obj["metadata"]
        if gone:
            for other, dependent in self._dependents(metadata["uid"]):
                self._queue.add(_item(other, dependent))
            self._notify_waiting_owners(metadata)
        elif _waits(metadata) or not self._owners_are_known(metadata):
            self._queue.add(_item(feed, obj))

    def _notify_waiting_owners(self, metadata: Object) -> None:
        for reference in metadata.get("ownerReferences") or ():
            found = self._find(reference, metadata.get("namespace") or "")
            if found is not None and _waits(found[1]["metadata"]):
                self._queue.add(_item(*found))

    async def _reconcile(self, item: _Item) -> None:
        feed = self._feed(item.group, item.plural)
        obj = feed.get(item.key) if feed else None
        if feed is None or obj is None:
            return
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            if ORPHAN_FINALIZER in metadata.get("finalizers", ()):
                await self._orphan_dependents(feed, obj)
            elif FOREGROUND_FINALIZER in metadata.get("finalizers", ()):
                await self._delete_dependents(feed, obj)
        elif metadata.get("ownerReferences"):
            await self._judge(feed, obj)

    async def _judge(self, feed: Feed, obj: Object) -> None:
        """Delete ``obj`` if all its owners are gone; else remove the references to owners that are gone."""
        references: list[Object] = obj["metadata"]["ownerReferences"]
        namespace = obj["metadata"].get("namespace") or ""
        present = [reference for reference in references if await self._exists(reference, namespace)]
        if not present:
            await self._context.delete(feed, obj)
        elif len(present) < len(references):
            await self._context.patch(feed, obj, {"metadata": {"ownerReferences": present}})

    async def _orphan_dependents(self, feed: Feed, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for other, dependent in self._dependents(uid):
            kept = [entry for entry in dependent["metadata"]["ownerReferences"] if entry["uid"] != uid]
            await self._context.patch(other, dependent, {"metadata": {"ownerReferences": kept}})
        await self._let_go(feed, owner, ORPHAN_FINALIZER)

    async def _delete_dependents(self, feed: Feed, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        blocking = 0
        for other, dependent in self._dependents(uid):
            reference = next(entry for entry in dependent["metadata"]["ownerReferences"] if entry["uid"] == uid)
            blocking += bool(reference.get("blockOwnerDeletion"))
            if not dependent["metadata"].get("deletionTimestamp"):
                has_own = bool(self._dependents(dependent["metadata"]["uid"]))
                await self._context.delete(
                    other, dependent, Propagation.FOREGROUND if has_own else Propagation.BACKGROUND
                )
        if not blocking:
            await self._let_go(feed, owner, FOREGROUND_FINALIZER)
        else:
            self._queue.add_after(_item(feed, owner), _RECHECK_SECONDS)

    async def _let_go(self, feed: Feed, owner: Object, finalizer: str) -> None:
        kept = [name for name in owner["metadata"].get("finalizers", ()) if name != finalizer]
        await self._context.patch(feed, owner, {"metadata": {"finalizers": kept}})

    async def _exists(self, reference: Object, namespace: str) -> bool:
        """Whether the owner exists, by its UID. An owner whose kind is not served counts as present."""
        group, _, version = str(reference["apiVersion"]).rpartition("/")
        resource = self._context.registry.find_kind(group, version, reference["kind"])
        if resource is None:
            return True
        try:
            owner = await self._context.registry.get(
                resource, namespace if resource.namespaced else None, reference["name"]
            )
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return False
        return bool(owner["metadata"]["uid"] == reference["uid"])

    def _owners_are_known(self, metadata: Object) -> bool:
        namespace = metadata.get("namespace") or ""
        for reference in metadata.get("ownerReferences") or ():
            found = self._find(reference, namespace)
            if found is None or found[1]["metadata"]["uid"] != reference["uid"]:
                return False
        return True

    def _find(self, reference: Object, namespace: str) -> tuple[Feed, Object] | None:
        group = str(reference["apiVersion"]).rpartition("/")[0]
        for feed in self._context.feeds.all():
            resource = feed.resource
            if resource.group == group and resource.kind == reference["kind"]:
                owner = feed.get((namespace if resource.namespaced else "", reference["name"]))
                return (feed, owner) if owner is not None else None
        return None

    def _dependents(self, uid: str) -> list[tuple[Feed, Object]]:
        return [(feed, obj) for feed in self._context.feeds.all() for obj in feed.owned_by(uid)]

    def _feed(self, group: str, plural: str) -> Feed | None:
        for feed in self._context.feeds.all():
            if (feed.resource.group, feed.resource.plural) == (group, plural):
                return feed
        return None


def _item(feed: Feed, obj: Object) -> _Item:
    return _Item(feed.resource.group, feed.resource.plural, key_of(obj))


def _waits(metadata: Object) -> bool:
    """Whether the object is being deleted and waits for this controller."""
    finalizers = metadata.get("finalizers") or ()
    return bool(metadata.get("deletionTimestamp")) and not _OURS.isdisjoint(finalizers)
