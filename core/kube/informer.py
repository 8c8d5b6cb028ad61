"""All objects of a kind, in memory and current: list once, watch, call handlers, include the process's own writes.

Reads never wait and never return a state older than a write that this process passed to ``remember``. The cache as a
whole may lag behind the server; ``seconds_behind`` says how far. The first list is a consistent read, never from a
replica's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import trio

from core.api.objects import NamespacedName
from core.api.resource import Resource
from core.kube.client import KubeClient
from core.kube.errors import ApiError, KubeError, error_from_status
from core.kube.kept_form import KeptForm
from core.kube.own_versions import OwnVersions
from core.kube.packed import Resting, identity
from core.kube.retry import Backoff
from core.kube.store import Change, ChangeKind, Derived, Indexer, InformerStore, T, is_certainly_newer, is_number
from core.kube.watch import DEFAULT_TIMING, WatchTiming, open_watch
from core.kube.watch_line import WatchEvent
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object, WatchEventType

__all__ = ["Change", "ChangeKind", "Handler", "Informer"]

Handler: TypeAlias = Callable[[Change], None]
Objects: TypeAlias = list[Object]

Changes: TypeAlias = list[Change]

_RELIST_BACKOFF_SECONDS: Final = (0.5, 30.0)
_YIELD_EVERY_CHANGES: Final = 200
_SETTLED_SECONDS: Final = 60.0
"""A watch that runs for this long has recovered from earlier errors."""

_LOG: Final = get_logger("kube-informer")


class Informer:
    """One kind, in one namespace or all of them, limited by selectors.

    Handlers, indexers and ``trim`` are plain functions that are called while the store changes: they must not block.
    An error that one raises is logged and otherwise ignored, because one damaged object must not hide all others. For
    the same reason an object that can be read only in part is kept, with a mark (core.api.unreadable).

    Args:
        indexers: name → function from an object to the values that it is found under.
        trim: returns a smaller copy, without unused fields, to keep in place of an object; must leave name, namespace,
            uid, resourceVersion and deletionTimestamp in its ``metadata``.
        is_at_rest: whether an object will hardly be read again; it is then kept in a fifth of the memory, and read more
            slowly. New handlers are not called with such objects.
        rest_note: returns the part of an object at rest that ``resting`` gives without reading it; small, and JSON.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        indexers: Mapping[str, Indexer] | None = None,
        trim: Callable[[Object], Object] | None = None,
        is_at_rest: Callable[[Object], bool] | None = None,
        rest_note: Callable[[Object], Any] | None = None,
        timing: WatchTiming = DEFAULT_TIMING,
    ) -> None:
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._timing = timing
        self._form = KeptForm(resource, trim=trim, is_at_rest=is_at_rest, rest_note=rest_note)
        complain = self._form.complain_of_indexer
        self._store = InformerStore(indexers or {}, self._form.packer, trio.current_time, complain)
        self._handlers: list[Handler] = []
        self._gathered: list[Handler] | None = None
        """Those that have not got the known objects yet."""
        self._synced = trio.Event()
        self._contact_at: float | None = None
        self._is_lost = False
        """Whether the last connection has ended, and no new one is open."""
        self._counted = -1
        self._version = ""
        self._own = OwnVersions()
        self._moved = trio.lowlevel.ParkingLot()
        """Tasks that wait for progress of the watch."""
        self._backoff = Backoff(*_RELIST_BACKOFF_SECONDS)
        self._failing_since: float | None = None
        """When it first became impossible to list the kind, or to watch it for long; None while all is well."""
        self._following_since: float | None = None
        self.changes = 0
        """The number of changes of the store; while it is the same, the cache is the same."""
        self.last_error: KubeError | None = None
        """Why the kind cannot be listed now; None while all is well."""

    def __repr__(self) -> str:
        state = "synced" if self.has_synced else "waiting"
        return f"<Informer of {self.resource.title}: {len(self._store)} objects, {state}>"

    # Reading.

    def get(self, namespace: str | None, name: str) -> Object | None:
        """The object, or None. The returned object is shared: do not change it."""
        return self._store.get(NamespacedName(namespace or "", name))

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace."""
        return [*self._store.list(namespace)]

    def each(self, namespace: str | None = None) -> Iterator[Object]:
        """Like ``list``, one at a time: at most one large object is parsed. The caller must not wait between two
        objects.
        """
        return self._store.list(namespace)

    def all_keys(self) -> Collection[NamespacedName]:
        """Namespaces and names of all objects, without a look at them; may change with the cache."""
        return self._store.all_keys()

    def in_motion(self) -> Iterator[Object]:
        """The objects that are not at rest, one at a time, like ``each``."""
        return self._store.in_motion()

    def keys_in_motion(self) -> Iterable[NamespacedName]:
        """Namespaces and names of the objects that are not at rest, as they are now."""
        return self._store.keys(at_rest=False)

    def keys_at_rest(self) -> Iterable[NamespacedName]:
        """Those of the others."""
        return self._store.keys(at_rest=True)

    def by_index(self, index: str, value: str) -> Objects:
        """The objects that the indexer ``index`` returns ``value`` for.

        Raises:
            KeyError: there is no such indexer.
        """
        return [*self._store.by_index(index, value)]

    def each_by_index(self, index: str, value: str) -> Iterator[Object]:
        """Like ``by_index``, one at a time, like ``each``."""
        return self._store.by_index(index, value)

    def keys_by_index(self, index: str, value: str) -> Collection[NamespacedName]:
        """Namespaces and names of the objects of ``by_index``, without a look at them; may change with the cache."""
        return self._store.keys_by_index(index, value)

    def derived(
        self, index: str, value: str, derive: Callable[[Object], T], known: Mapping[NamespacedName, Derived[T]]
    ) -> dict[NamespacedName, Derived[T]]:
        """The result of ``derive`` for each object of ``by_index``; ``derive`` must not wait.

        Args:
            known: the answer to the same question before: an object that has not changed since is not read.
        """
        return self._store.derived(index, value, derive, known)

    def is_found_under(self, index: str) -> bool:
        """Whether ``index`` has any object."""
        return self._store.is_found_under(index)

    def resting(self, key: NamespacedName) -> Resting | None:
        """What is known of an object at rest without reading it; None if it is not at rest."""
        return self._store.resting(key)

    @property
    def has_synced(self) -> bool:
        """Whether the first list has been read."""
        return self._synced.is_set()

    async def wait_until_synced(self) -> None:
        """Return when the first list has been read."""
        await self._synced.wait()

    @property
    def seconds_since_contact(self) -> float:
        """How long ago the server last answered or sent something; infinite before the first list."""
        return float("inf") if self._contact_at is None else trio.current_time() - self._contact_at

    @property
    def seconds_behind(self) -> float:
        """How far the cache may lag behind the server: zero while a watch is open, else the time since the last sign of
        the server. A connection that is dead without having ended is noticed late.
        """
        return self.seconds_since_contact if self._is_lost else 0.0

    @property
    def is_stale(self) -> bool:
        """Whether the cache may be older than a healthy watch allows."""
        return self.seconds_since_contact > 2 * self._timing.silence_seconds

    @property
    def stuck_seconds(self) -> float:
        """For how many seconds it has been impossible to follow the kind: it cannot be listed or watched, or the server
        is silent.

        Zero while all is well, and before the first attempt.
        """
        now = trio.current_time()
        silent = self.seconds_since_contact if self.is_stale and self._contact_at is not None else 0.0
        following = self._following_since is not None and now - self._following_since >= _SETTLED_SECONDS
        failing = now - self._failing_since if self._failing_since is not None and not following else 0.0
        return max(silent, failing)

    # Handlers and own writes.

    def add_handler(self, handler: Handler) -> None:
        """Call ``handler`` with every change from now on, and immediately with each known object that is not at rest.

        In a block of ``gathering_handlers``, at its end.
        """
        self._handlers.append(handler)
        if self._gathered is None:
            self._acquaint([handler])
        else:
            self._gathered.append(handler)

    @contextmanager
    def gathering_handlers(self) -> Iterator[None]:
        """Handlers that are added in this block get each known object when it ends, so that it is read once for all.

        The block must not wait.
        """
        self._gathered = []
        yield
        gathered, self._gathered = self._gathered, None
        self._acquaint(gathered)

    def _acquaint(self, handlers: Collection[Handler]) -> None:
        for change in self._store.as_added() if handlers else ():
            for handler in handlers:
                self._call(handler, change)

    def remember(self, obj: Object) -> Object:
        """Make the answer to a write of this process visible at once; older events are then ignored.

        ``obj`` must match the informer's selectors. Handlers are called now, and not again for the event of the same
        write.

        Returns:
            The object as it is stored here: a caller that keeps this copy keeps nothing twice.
        """
        kept, entry = self._form.kept(obj)
        changes = [*self._store.put(kept, in_order=False, entry=entry)]
        if changes:  # else the event has come already
            self._own.add(kept)
        self._publish(changes)
        return kept

    def forget(self, namespace: str | None, name: str, uid: str) -> None:
        """Remove an object at once after the server has accepted our delete of it.

        If the object waits for finalizers or a grace period, it comes back or stays, marked with its
        ``deletionTimestamp``, until it is really gone.
        """
        self._publish(self._store.forget(NamespacedName(namespace or "", name), uid))

    # Checking against a list.

    async def look_again(self) -> Changes:
        """List the kind beside the watch and apply the changes that the watch should have sent and did not; returns
        them.

        A change counts as lost only after the watch has passed the version of the list, or after twice its longest
        allowed silence. On a server whose versions are not numbers this check is not possible.

        Raises:
            KubeError: the kind cannot be listed.
        """
        listed = await self._client.list(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            keep=identity,
        )
        if not is_number(listed.resource_version):
            return []
        with trio.move_on_after(2 * self._timing.silence_seconds):
            while not self._is_past(listed.resource_version):
                await self._moved.park()
        changes: Changes = []
        for obj in self._store.absent_from(listed.items, listed.resource_version):
            last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": listed.resource_version}}
            changes += self._store.remove(last)
        for lost in [obj for obj in listed.items if self._store.lacks(obj)]:
            changes += self._store_all(await self._by_name(lost))
        self._publish(changes)
        return changes

    def _is_past(self, version: str) -> bool:
        return is_number(self._version) and int(self._version) >= int(version)

    async def _by_name(self, obj: Object) -> Objects:
        """The object as it is now, if it still matches the selectors."""
        by_name = f"metadata.name={obj['metadata']['name']}"
        found = await self._client.list(
            self.resource,
            obj["metadata"].get("namespace"),
            label_selector=self._label_selector,
            field_selector=f"{self._field_selector},{by_name}" if self._field_selector else by_name,
            keep=lambda found: self._form.kept(found)[0],
        )
        return [*found.items]

    def _store_all(self, objects: Objects) -> Changes:
        return [change for obj in objects for change in self._store.put(obj, in_order=False)]

    # Running.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the cache current until cancelled; calls ``started`` when it is complete for the first time."""
        started = False
        while True:
            try:
                await self._list()
            except KubeError as error:
                await self._wait_after(error)
                continue
            if not started:
                started = True
                self._synced.set()
                task_status.started()
            await self._follow_for_a_while()

    async def _list(self) -> None:
        number = self._store.begin_list()
        self._own.clear()  # a server that was restored from a backup gives its versions again
        found = await self._client.list(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            keep=lambda obj: self._store.listed(*self._form.kept(obj)),
        )
        went_back = is_certainly_newer(self._version, found.resource_version) if self._version else False
        if went_back:
            _LOG.warning("the server's history went back", resource=self.resource.title, to=found.resource_version)
        listed: Iterable[Any] = found.items
        self._publish(self._store.replace_all(listed, found.resource_version, number, trust=went_back))
        self._version = found.resource_version
        self._moved.unpark_all()
        self.last_error = None
        self._touch()
        metrics.count(catalogue.INFORMER_RELISTS, resource=self.resource.title)

    async def _follow_for_a_while(self) -> None:
        self._following_since = began = trio.current_time()
        changes = self.changes
        try:
            await self._follow()
        finally:
            self._following_since = None
        if trio.current_time() - began >= _SETTLED_SECONDS or self.changes != changes:
            self._failing_since = None

    async def _follow(self) -> None:
        """Apply the events of the watch until a new list is needed."""
        taken = 0
        async with open_watch(
            self._client,
            self.resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self._version,
            timing=self._timing,
            on_contact=self._touch,
            on_loss=self._lose,
            is_known=self._own.take,
        ) as events:
            async for event in events:
                if event.type is WatchEventType.ERROR:
                    await self._wait_after(error_from_status(event.object))
                    return
                self._take(event)
                self._backoff.reset()
                taken += 1
                if taken % _YIELD_EVERY_CHANGES == 0:
                    await trio.lowlevel.checkpoint()

    def _take(self, event: WatchEvent) -> None:
        self._version = event.object["metadata"]["resourceVersion"]
        self._moved.unpark_all()
        match event.type:
            case WatchEventType.ADDED | WatchEventType.MODIFIED:
                form = self._form.kept_small if event.is_small else self._form.kept
                kept, entry = form(event.object)
                self._publish(self._store.put(kept, entry=entry))
            case WatchEventType.DELETED:
                self._publish(self._store.remove(self._form.trimmed(event.object)))
            case _:  # a bookmark only carries a version
                return

    def _count(self) -> None:
        if len(self._store) != self._counted:
            self._counted = len(self._store)
            metrics.set_gauge(catalogue.INFORMER_OBJECTS, self._counted, resource=self.resource.title)

    async def _wait_after(self, error: KubeError) -> None:
        if not (isinstance(error, ApiError) and error.code == 410):
            self.last_error = error
        if self._failing_since is None:
            self._failing_since = trio.current_time()
        wait = self._backoff.next_seconds(error)
        level = _LOG.warning if self._backoff.failures == 1 else _LOG.debug
        level("cannot follow", resource=self.resource.title, error=str(error), retrySeconds=round(wait, 1))
        await trio.sleep(wait)

    # Calls of functions that may fail.

    def _publish(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.changes += 1
            for handler in self._handlers:
                self._call(handler, change)
            change.let_go()
        self._count()

    def _call(self, handler: Handler, change: Change) -> None:
        try:
            handler(change)
        except Exception as error:  # noqa: BLE001 - one handler's bug must not blind the others
            self._form.complain("handler failed", change.object, error)

    def _touch(self) -> None:
        self._contact_at = trio.current_time()
        self._is_lost = False

    def _lose(self) -> None:
        self._is_lost = True
