"""A watch: the changes of a collection that one client may see, as a pull-based state machine without buffers.

A watcher is a position in the collection's change log. A slow one costs nothing until the log no longer has that
position; then it ends with the real server's 410. Sockets, framing and Table rendering are in watchstream.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson
import trio

from kubewire import WatchEventType
from localcluster.server import errors
from localcluster.server.selectors import Predicate
from localcluster.server.stored import Stored
from localcluster.server.types import Object, ResourceType
from localcluster.server.watchcache import Change, Collection

BOOKMARK_INTERVAL_SECONDS: Final = 60.0
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
_INITIAL_BATCH: Final = 64
"""How many initial objects a new watch sends in one write."""

Read = Callable[[Stored, ResourceType], Awaitable[Object]]
"""Converts a stored object to the version that is watched."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event; ``object`` is shared with the store and other watchers: copy it before changing it."""

    type: WatchEventType
    object: Object
    _lines: dict[tuple[str, str], bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def line(self) -> bytes:
        """The event as a line of a JSON watch stream; serialized once for all watchers of the same version."""
        key = (self.type.value, self.object.get("apiVersion", ""))
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = watch_line(self.type, orjson.dumps(self.object))
        return line


def watch_line(event_type: WatchEventType, data: bytes) -> bytes:
    """``{"type":…,"object":…}`` and a newline, around an already serialized object."""
    return b'{"type":"%b","object":%b}\n' % (event_type.value.encode(), data)


class Watch(trio.abc.ReceiveChannel[WatchEvent]):
    """Events in commit order; ends (EndOfChannel) after ``timeout_seconds`` or when the resource is no longer served.

    Raises (from ``receive``):
        StatusError: 410, this watcher fell behind the remembered changes; list again.
    """

    def __init__(
        self,
        collection: Collection,
        resource: ResourceType,
        *,
        namespace: str | None,
        predicate: Predicate,
        position: int,
        read: Read,
        current_revision: Callable[[], int],
        initial: Iterable[Stored] = (),
        mark_initial_end: bool = False,
        bookmarks: bool = False,
        timeout_seconds: float = math.inf,
    ) -> None:
        self._collection = collection
        self._resource = resource
        self._prefix = f"{namespace}/" if namespace else ""
        self._predicate = predicate
        self._position = position
        self._read = read
        self._current_revision = current_revision
        self._initial = deque(initial)
        self._initial_revision = current_revision()
        self._mark_initial_end = mark_initial_end
        self._bookmarks = bookmarks
        self._ready: deque[WatchEvent] = deque()
        self._ends_at = trio.current_time() + timeout_seconds
        self._bookmark_at = trio.current_time() + BOOKMARK_INTERVAL_SECONDS
        self._closed = False

    async def receive(self) -> WatchEvent:
        await trio.lowlevel.checkpoint_if_cancelled()
        has_waited = False
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            if self._ready:
                if not has_waited:  # a task that a change has woken has already let others run
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return self._ready.popleft()
            if self._initial:
                await self._take_initial()
            elif self._mark_initial_end:
                self._mark_initial_end = False
                self._ready.append(self._bookmark(self._initial_revision, initial_end=True))
            elif not await self._take_changes():
                event = await self._wait()
                has_waited = True
                if event is not None:
                    return event

    def receive_ready(self) -> list[WatchEvent]:
        """Events that are ready now, so that many changes go out in one write."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()

    async def _take_initial(self) -> None:
        for _ in range(min(len(self._initial), _INITIAL_BATCH)):
            obj = await self._read(self._initial.popleft(), self._resource)
            if self._predicate(obj):
                self._ready.append(WatchEvent(WatchEventType.ADDED, obj))

    async def _take_changes(self) -> bool:
        """Turn the changes since the last call into events; False when there were none."""
        changes = self._collection.changes_from(self._position)
        if changes is None:
            raise errors.expired(f"too old resource version: the watch of {self._resource.plural} fell behind")
        for change in changes:
            self._position += 1
            if change.last.key.startswith(self._prefix) and (event := await self._event(change)):
                self._ready.append(event)
        return bool(changes)

    async def _wait(self) -> WatchEvent | None:
        """Sleep until a change, the time of a bookmark, or the end."""
        if self._collection.closed or trio.current_time() >= self._ends_at:
            raise trio.EndOfChannel
        wake_at = min(self._ends_at, self._bookmark_at) if self._bookmarks else self._ends_at
        with trio.move_on_at(wake_at):
            await self._collection.wait_for_change()
        is_due = self._bookmarks and trio.current_time() >= min(self._bookmark_at, self._ends_at)
        if is_due and self._collection.end_position == self._position:  # all changes so far are seen
            return self._bookmark(self._current_revision())
        return None

    async def _event(self, change: Change) -> WatchEvent | None:
        """The event for this watcher; leaving its selection counts as a deletion, entering it as an addition."""
        obj = await self._read(change.last, self._resource)
        before = change.previous
        matched = before is not None and self._predicate(await self._read(before, self._resource))
        matches = not change.deleted and self._predicate(obj)
        if matches:
            return WatchEvent(WatchEventType.MODIFIED if matched else WatchEventType.ADDED, obj, change.lines)
        if not matched or before is None:
            return None
        if not change.deleted:
            gone = await self._read(before, self._resource)
            obj = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(change.revision)}}
            return WatchEvent(WatchEventType.DELETED, obj)
        return WatchEvent(WatchEventType.DELETED, obj, change.lines)

    def _bookmark(self, revision: int, *, initial_end: bool = False) -> WatchEvent:
        self._bookmark_at = trio.current_time() + BOOKMARK_INTERVAL_SECONDS
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        resource = self._resource
        return WatchEvent(
            WatchEventType.BOOKMARK,
            {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
        )
