"""All objects of the cluster: one revision counter, one collection per resource; a write is on disk before it is seen.

A write is one synchronous step on the event loop (assign revision, serialize, commit, publish). So a reader, watcher or
other writer never sees a state that a crash could undo, and optimistic concurrency needs no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import orjson

from localcluster.server import errors
from localcluster.server.storage import Storage, Write
from localcluster.server.stored import OpenObjects, Stored
from localcluster.server.types import Object
from localcluster.server.watchcache import Change, Collection

MAX_OBJECT_BYTES: Final = 3 << 19
"""1.5 MiB, etcd's limit for one request."""

OnChange = Callable[[str, Change], None]
"""Called with the collection name after each committed change, before any other task runs."""


class StaleWriteError(Exception):
    """The object changed since it was read; read it again and decide again."""


def collection_name(group: str, plural: str) -> str:
    """``group/plural``; the Events of core and of ``events.k8s.io`` are one collection."""
    return f"{'' if group == 'events.k8s.io' else group}/{plural}"


def object_key(namespace: str | None, name: str) -> str:
    """The key of an object in its collection."""
    return f"{namespace}/{name}" if namespace else name


class Store:
    """Reads are synchronous and current; only ``write`` changes objects."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._revision = storage.revision
        self._collections: dict[str, Collection] = {}
        self._listeners: list[OnChange] = []
        self._opened = OpenObjects()
        for path, revision, data in storage.load():
            group, plural, key = path.split("/", 2)
            self.collection(f"{group}/{plural}").load(Stored(key, revision, data, self._opened))

    @property
    def revision(self) -> int:
        """The resource version of the whole cluster: that of its last change."""
        return self._revision

    def collection(self, name: str) -> Collection:
        """The collection with that name; empty if nothing was ever written to it."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = Collection(name, self._revision)
        return found

    def collections(self) -> Iterator[Collection]:
        yield from list(self._collections.values())

    def listen(self, listener: OnChange) -> None:
        """Call ``listener`` after every change from now on; it must not write."""
        self._listeners.append(listener)

    def write(
        self,
        collection: Collection,
        key: str,
        obj: Object | None,
        *,
        expected: Stored | None,
        last: Object | None = None,
    ) -> Stored:
        """Create, replace or (``obj`` None) delete; returns the record that watchers see.

        The store keeps ``obj`` and sets its ``metadata.resourceVersion``. ``last`` is the state of a deleted object
        that watchers see; None: its current state.

        Raises:
            StaleWriteError: the current record is not ``expected`` (None: must not exist).
            StatusError: 413, the object is larger than ``MAX_OBJECT_BYTES``.
            StorageError: the disk refused; nothing changed.
        """
        if collection.get(key) is not expected:
            raise StaleWriteError(key)
        revision = self._revision + 1
        if obj is None:
            if expected is None:
                raise StaleWriteError(key)
            shown = last or expected.object
            stored = self._stamped(key, revision, {**shown, "metadata": {**shown["metadata"]}})
        else:
            stored = self._stamped(key, revision, obj)
            if len(stored.data) > MAX_OBJECT_BYTES:
                raise errors.too_large_entity(MAX_OBJECT_BYTES)
        path = f"{collection.name}/{key}"
        self._storage.commit((Write(path, revision, None if obj is None else stored.data),))
        self._revision = revision
        change = Change(revision, stored, expected, deleted=obj is None)
        collection.publish(change)
        for listener in self._listeners:
            listener(collection.name, change)
        return stored

    def shape(self, name: str, digest: bytes, reshape: Callable[[Stored], bytes]) -> None:
        """Bring the objects of a collection into the shape of its schema, which ``digest`` stands for.

        ``reshape`` returns the JSON of an object in that shape. The shape is stored, so that objects that have it
        already are not looked at when the process starts again: what is written from now on has it, too.

        Raises:
            StorageError: the disk refused; the objects have the shape as long as this process lives.
        """
        setting, collection = f"shape/{name}", self.collection(name)
        if self._storage.setting(setting) == digest:
            return
        changed = [(old, data) for old in collection.select() if (data := reshape(old)) != old.data]
        for old, data in changed:
            collection.load(old.reshaped(data))
        self._storage.rewrite([Write(f"{name}/{old.key}", old.revision, data) for old, data in changed])
        self._storage.set_setting(setting, digest)

    def _stamped(self, key: str, revision: int, obj: Object) -> Stored:
        obj["metadata"]["resourceVersion"] = str(revision)
        return Stored(key, revision, orjson.dumps(obj), self._opened, obj)

    def end(self, name: str) -> None:
        """Stop serving a collection: its watches end, and a later one with that name starts empty."""
        collection = self._collections.pop(name, None)
        if collection is not None:
            collection.end()
