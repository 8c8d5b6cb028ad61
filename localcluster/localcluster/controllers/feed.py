"""The controllers' cache of the cluster: current objects of every resource type, indexed by owner.

A feed follows its resource through the registry's own watch. A controller passes its own writes to ``learn``, so that
its next decision already sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import trio

from kubewire import WatchEventType
from localcluster.log import get_logger
from localcluster.server.errors import StatusError
from localcluster.server.options import ListOptions
from localcluster.server.registry import Registry
from localcluster.server.types import Object, ResourceType

_log = get_logger("localcluster.controllers")

Listener = Callable[["Feed", Object, bool], None]
"""Called with the feed, the object as last seen, and whether the object is gone."""

_AT_ONCE: Final = 500
"""Number of objects; after so many of a list, other tasks have their turn."""

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def controller_uid(obj: Object) -> str | None:
    """The UID of the object's controller: the one owner that manages it."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return None


class Feed:
    """Objects of one resource type; of a custom one only the metadata, which is all that its owner decides by."""

    def __init__(self, registry: Registry, resource: ResourceType) -> None:
        self.resource = resource
        self._registry = registry
        self._objects: dict[Key, Object] = {}
        self._by_owner: dict[str, dict[Key, Object]] = {}
        self._listeners: list[Listener] = []

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def objects(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def owned_by(self, uid: str) -> list[Object]:
        """Objects that name ``uid`` among their owners."""
        return list(self._by_owner.get(uid, {}).values())

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` for every object that exists, and at every change from now on."""
        self._listeners.append(listener)
        for obj in self.objects():
            listener(self, obj, False)

    def learn(self, obj: Object) -> None:
        """Store ``obj``, unless the feed already has the same or a newer version."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is not None and _revision(known) >= _revision(obj):
            return
        if self.resource.custom:
            obj = _without_contents(obj)
        if known is not None:
            self._unindex(key, known)
        self._objects[key] = obj
        for reference in obj["metadata"].get("ownerReferences") or ():
            self._by_owner.setdefault(reference["uid"], {})[key] = obj
        self._notify(obj, gone=False)

    def forget(self, obj: Object) -> None:
        """Remove ``obj``, which no longer exists; a newer object of the same name stays."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self._objects[key]
            self._unindex(key, known)
            self._notify(obj, gone=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the resource until it is no longer served; started once all current objects are known."""
        while True:
            page = await self._registry.page(self.resource, None, ListOptions())
            present = {obj["metadata"]["uid"] for obj in page.objects}
            for obj in self.objects():
                if obj["metadata"]["uid"] not in present and _revision(obj) <= page.revision:
                    self.forget(obj)
            for number, obj in enumerate(page.objects):
                self.learn(obj)
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await trio.lowlevel.checkpoint()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                await self._follow(str(page.revision))
                return
            except StatusError as error:
                _log.info("feed_lists_again", resource=self.resource.plural, why=str(error))
                await trio.sleep(0.05)

    async def _follow(self, revision: str) -> None:
        options = ListOptions(resource_version=revision)
        async with self._registry.open_watch(self.resource, None, options) as events:
            async for event in events:
                if event.type is WatchEventType.DELETED:
                    self.forget(event.object)
                elif event.type in (WatchEventType.ADDED, WatchEventType.MODIFIED):
                    self.learn(event.object)

    def _notify(self, obj: Object, *, gone: bool) -> None:
        for listener in self._listeners:
            listener(self, obj, gone)

    def _unindex(self, key: Key, obj: Object) -> None:
        for reference in obj["metadata"].get("ownerReferences") or ():
            owned = self._by_owner.get(reference["uid"])
            if owned is not None:
                owned.pop(key, None)
                if not owned:
                    del self._by_owner[reference["uid"]]


class Feeds:
    """One feed per resource type that can be watched; custom types come and go with their definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._listeners: list[Listener] = []
        self._definitions_changed = trio.Event()

    def of(self, group: str, plural: str) -> Feed:
        """The feed of a built-in type."""
        return self._feeds[(group, plural)]

    def all(self) -> list[Feed]:
        return list(self._feeds.values())

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` for every object of every type, now and later."""
        self._listeners.append(listener)
        for feed in self._feeds.values():
            feed.listen(listener)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow every type; started once all current objects are known."""
        async with trio.open_nursery() as nursery:
            await self._start_missing(nursery)
            definitions = self.of("apiextensions.k8s.io", "customresourcedefinitions")
            definitions.listen(lambda *_: self._definitions_changed.set())
            task_status.started()
            while True:
                await self._definitions_changed.wait()
                self._definitions_changed = trio.Event()
                await self._start_missing(nursery)

    async def _start_missing(self, nursery: trio.Nursery) -> None:
        for resource in self._registry.types():
            key = (resource.group, resource.plural)
            # Events and Leases own nothing, are owned by nothing, and change all the time.
            if key in self._feeds or "watch" not in resource.verbs or resource.plural in ("events", "leases"):
                continue
            if resource.version != resource.storage_version:
                continue
            feed = Feed(self._registry, resource)
            self._feeds[key] = feed
            for listener in self._listeners:
                feed.listen(listener)
            await nursery.start(self._run, key, feed)

    async def _run(
        self, key: tuple[str, str], feed: Feed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await feed.run(task_status=task_status)
        finally:
            del self._feeds[key]


def _without_contents(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def _revision(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
