"""From a change of one kind to its targets: one frozen record per route, and the function that connects it to
informers.

A route never carries the event itself. It names the targets that must look again: keys of a controller, or tasks of the
engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from core.api.objects import Object
from core.api.resource import Resource
from core.kube.informer import Change, Handler
from reconcilers.runtime.changes import always, versions
from reconcilers.runtime.controller import Controller, Key

Target = TypeVar("Target")


class Cache(Protocol):
    """The objects of one kind, as an informer knows them. Returned objects are shared: do not change them."""

    def get(self, namespace: str | None, name: str) -> Object | None: ...

    def each(self, namespace: str | None = None) -> Iterator[Object]: ...

    def by_index(self, index: str, value: str) -> list[Object]: ...

    def each_by_index(self, index: str, value: str) -> Iterator[Object]: ...

    def keys_by_index(self, index: str, value: str) -> Collection[tuple[str, str]]:
        """Namespaces and names."""
        ...


class WatchedCache(Cache, Protocol):
    """A cache that calls handlers with each of its changes."""

    def add_handler(self, handler: Handler) -> None: ...


class Caches(Protocol):
    """The caches that a route may read besides the change itself."""

    def informer(self, resource: Resource) -> Cache: ...


class WatchedCaches(Protocol):
    """Caches to connect routes to."""

    def informer(self, resource: Resource) -> WatchedCache: ...


@dataclass(frozen=True, slots=True)
class Watch(Generic[Target]):
    """When a change of ``kind`` fulfils ``when``, it concerns the targets that ``whom`` returns."""

    kind: Resource
    whom: Callable[[Change, Caches], Iterable[Target]]
    """Pure. It is called while the cache changes, so it must not block; it may return a target twice."""
    when: Callable[[Change], bool] = always
    delay: timedelta = timedelta()
    """How long the targets may wait, so that many changes need only one look."""


def own_keys(change: Change, caches: Caches) -> Iterator[Key]:
    """The changed object itself: for the watch of a controller on its own kind."""
    del caches
    yield from map(Key.of, versions(change))


def connect(
    watches: Iterable[Watch[Target]], caches: WatchedCaches, notify: Callable[[Target, timedelta], None]
) -> None:
    """Call ``notify`` with every target of a change, and the delay of the watch.

    Objects that are already in the caches count as just added.

    Raises:
        LookupError: a kind is not watched.
    """
    for watch in watches:
        caches.informer(watch.kind).add_handler(_handler(watch, caches, notify))


def connect_controller(watches: Iterable[Watch[Key]], caches: WatchedCaches, controller: Controller) -> None:
    """Enqueue the keys that a change concerns. Raises the same errors as ``connect``."""

    def notify(key: Key, delay: timedelta) -> None:
        if delay:
            controller.queue.add_after(key, delay)
        else:
            controller.enqueue(key)

    connect(watches, caches, notify)


def _handler(watch: Watch[Target], caches: Caches, notify: Callable[[Target, timedelta], None]) -> Handler:
    def handle(change: Change) -> None:
        if watch.when(change):
            for target in watch.whom(change, caches):
                notify(target, watch.delay)

    return handle
