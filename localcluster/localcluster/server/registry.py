"""The only access to all objects, for HTTP handlers and in-process controllers.

Returned objects belong to the store and are shared: copy one before changing it. Objects that are passed in belong to
the registry. Every method raises ``StatusError`` for mistakes of a client and for failures of the server.
"""

from __future__ import annotations

import math
import operator
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import trio

from kubewire import PatchType
from localcluster.clock import Now
from localcluster.server import (
    apply,
    cause,
    decoding,
    deletion,
    errors,
    listing,
    objectmeta,
    patching,
    selectors,
    strategy,
)
from localcluster.server.catalog import Catalog
from localcluster.server.deleter import Deleted, Deleter
from localcluster.server.objectmeta import UndecodableError
from localcluster.server.options import DeleteOptions, ListOptions, Preconditions, WriteOptions
from localcluster.server.patching import Patch
from localcluster.server.selectors import Predicate
from localcluster.server.store import Store, collection_name
from localcluster.server.stored import Stored
from localcluster.server.types import Object, ResourceType
from localcluster.server.watch import Watch, WatchEvent
from localcluster.server.watchcache import Collection
from localcluster.server.writeport import Admission, Conversion, Shape
from localcluster.server.writer import Build, Target, Writer, Written

__all__ = [
    "DeleteOptions",
    "ListOptions",
    "Patch",
    "PatchType",
    "Preconditions",
    "Registry",
    "WatchEvent",
    "WriteOptions",
]

_CONVERSION_BATCH = 500
"""How many objects one conversion request contains when a list needs the webhook."""


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    chosen: list[Stored]
    converted: list[Object] | None
    """The objects in the version of the list; None: they are shown as stored."""
    revision: int
    continue_token: str
    remaining: int | None

    @property
    def objects(self) -> list[Object]:
        return [each.object for each in self.chosen] if self.converted is None else self.converted

    @property
    def data(self) -> list[bytes] | None:
        """Their serialized form, if they are shown as stored."""
        return [each.data for each in self.chosen] if self.converted is None else None

    @property
    def metadata(self) -> Object:
        """The list's ``metadata``."""
        fields: Object = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            fields["continue"] = self.continue_token
        if self.remaining is not None:
            fields["remainingItemCount"] = self.remaining
        return fields


class Registry:
    """Reads, writes and watches every resource type in the catalog."""

    def __init__(
        self, store: Store, catalog: Catalog, shape: Shape, admission: Admission, conversion: Conversion, now: Now
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._shape = shape
        self._conversion = conversion
        self._now = now
        self._writer = Writer(store, catalog, shape, admission, conversion, now)
        self._deleter = Deleter(store, admission, conversion, now)

    @property
    def revision(self) -> int:
        """The resource version of the cluster's last change."""
        return self._store.revision

    def types(self) -> tuple[ResourceType, ...]:
        """Every served resource type."""
        return self._catalog.types()

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._catalog.find(group, version, plural)

    def find_kind(self, group: str, version: str, kind: str) -> ResourceType | None:
        return self._catalog.find_kind(group, version, kind)

    async def get(self, resource: ResourceType, namespace: str | None, name: str) -> Object:
        """The object, in the version of ``resource``."""
        stored = self.stored(resource, namespace, name)
        return await self._read(stored, resource)

    def check_reached(self, revision: str) -> None:
        """Refuse a read "not older than" a revision not yet reached: 504, or 400 if it is not a number."""
        if revision:
            listing.read_revision(revision, self._store.revision)

    def stored(self, resource: ResourceType, namespace: str | None, name: str) -> Stored:
        """The record of an object, in its storage version; 404 when it does not exist."""
        stored = self._collection(resource).get(Target(resource, namespace, name).key)
        if stored is None:
            raise errors.not_found(resource.group, resource.plural, name)
        return stored

    async def list(self, resource: ResourceType, namespace: str | None, options: ListOptions = ListOptions()) -> Object:  # noqa: B008 - frozen
        """A ``…List`` object."""
        page = await self.page(resource, namespace, options)
        return {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": page.metadata,
            "items": page.objects,
        }

    async def page(self, resource: ResourceType, namespace: str | None, options: ListOptions) -> Page:
        """The objects of a list, with the data that is needed to ask for the next ones."""
        found = listing.candidates(self._collection(resource), self._store.revision, namespace, options)
        predicate = _predicate(resource, options)
        chosen: list[Stored] = []
        converted: list[Object] | None = None
        position = 0
        while position < len(found.items) and not (options.limit and len(chosen) >= options.limit):
            if position:  # of many thousands of objects
                await trio.lowlevel.checkpoint()
            batch = found.items[position : position + (options.limit or _CONVERSION_BATCH)]
            if predicate is selectors.everything and all(item.api_version == resource.api_version for item in batch):
                batch = batch[: options.limit - len(chosen)] if options.limit else batch
                position += len(batch)
                chosen += batch
                if converted is not None:
                    converted += [item.object for item in batch]
                continue
            read = [item.object for item in batch]
            versions = await self._conversion.convert(read, resource, resource.version)
            if converted is None and not all(map(operator.is_, read, versions)):
                converted = [item.object for item in chosen]
            for item, obj in zip(batch, versions, strict=True):
                if options.limit and len(chosen) >= options.limit:
                    break
                position += 1
                if predicate(obj):
                    chosen.append(item)
                    if converted is not None:
                        converted.append(obj)
        left = len(found.items) - position
        token = listing.write_token(found.revision, chosen[-1].key) if left and chosen else ""
        counts = token and predicate is selectors.everything
        return Page(chosen, converted, found.revision, token, left if counts else None)

    def open_watch(
        self,
        resource: ResourceType,
        namespace: str | None,
        options: ListOptions = ListOptions(),  # noqa: B008 - frozen
    ) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[WatchEvent]]:
        """Events from ``options.resource_version`` on (unset or "0": the current objects first).

        Use it as ``async with registry.open_watch(...) as events: async for event in events``. Invalid options and a
        forgotten revision raise here, before the block begins. A watch that falls behind raises 410 when iterated.
        """
        return _opened(self.watch(resource, namespace, options))

    def watch(self, resource: ResourceType, namespace: str | None, options: ListOptions) -> Watch:
        """The same, but returns only the channel."""
        collection = self._collection(resource)
        initial: list[Stored] = []
        _check_watch_options(options)
        revision = listing.read_revision(options.resource_version, self._store.revision)
        wants_state = options.send_initial_events is not False if revision == 0 else bool(options.send_initial_events)
        if wants_state:
            initial = collection.select(namespace)
        position = collection.end_position if wants_state or revision == 0 else collection.position_after(revision)
        return Watch(
            collection,
            resource,
            namespace=namespace,
            predicate=_predicate(resource, options),
            position=position,
            read=self._read,
            current_revision=lambda: self._store.revision,
            initial=initial,
            mark_initial_end=bool(options.send_initial_events) and options.allow_bookmarks,
            bookmarks=options.allow_bookmarks,
            timeout_seconds=options.timeout_seconds if options.timeout_seconds else math.inf,
        )

    async def create(
        self,
        resource: ResourceType,
        namespace: str | None,
        obj: Object,
        options: WriteOptions = WriteOptions(),  # noqa: B008 - frozen
    ) -> Object:
        """Store a new object; returns it as stored."""
        return (await self.create_written(resource, namespace, obj, options)).obj

    async def create_written(
        self, resource: ResourceType, namespace: str | None, obj: Object, options: WriteOptions
    ) -> Written:
        """The same, but returns the record, too."""
        return await self._writer.create(resource, namespace, obj, options)

    async def update(
        self,
        resource: ResourceType,
        namespace: str | None,
        name: str,
        obj: Object,
        options: WriteOptions = WriteOptions(),  # noqa: B008 - frozen
        subresource: str = "",
    ) -> Object:
        """Replace an object, or only the part that is the subresource."""
        written = await self.update_written(Target(resource, namespace, name, subresource), obj, options)
        return written.obj

    async def update_written(self, target: Target, obj: Object, options: WriteOptions) -> Written:
        """The same, but returns the record, too."""
        return await self._writer.replace(target, obj, options)

    async def patch(
        self,
        resource: ResourceType,
        namespace: str | None,
        name: str,
        patch: Patch,
        options: WriteOptions = WriteOptions(),  # noqa: B008 - frozen
        subresource: str = "",
    ) -> Object:
        """Change an object by a patch of any of the four types; an apply creates a missing object."""
        written = await self.patch_written(Target(resource, namespace, name, subresource), patch, options)
        return written.obj

    async def patch_written(self, target: Target, patch: Patch, options: WriteOptions) -> Written:
        """The same, but returns the record, too."""
        patching.check(patch, target.resource)
        if patch.type is not PatchType.APPLY:
            build = patching.builder(patch, target.resource, options, self._shape, target.subresource)
            return await self._writer.change(target, build, options)
        build = self._apply_builder(target, patch.body, options)
        return await self._writer.change(target, build, options, may_create=not target.subresource, owned=True)

    async def change(self, target: Target, build: Build, options: WriteOptions, *, owned: bool = False) -> Written:
        """Replace an object by the result of ``build``; start again if the object changed meanwhile.

        ``owned``: the change leaves ``managedFields`` as they are.
        """
        return await self._writer.change(target, build, options, owned=owned)

    async def delete(
        self,
        resource: ResourceType,
        namespace: str | None,
        name: str,
        options: DeleteOptions = DeleteOptions(),  # noqa: B008 - frozen
    ) -> Object:
        """Delete an object; returns the object, or a Status where the real server does so."""
        deleted = await self.delete_found(resource, namespace, name, options)
        if deleted.done and not deletion.returns_object(resource):
            return deletion.success(resource, deleted.obj)
        return deleted.obj

    async def delete_found(
        self, resource: ResourceType, namespace: str | None, name: str, options: DeleteOptions
    ) -> Deleted:
        """Delete an object; the result says whether it is gone or waits for finalizers."""
        return await self._deleter.delete(Target(resource, namespace, name), options)

    async def delete_collection(
        self,
        resource: ResourceType,
        namespace: str | None,
        options: DeleteOptions = DeleteOptions(),  # noqa: B008 - frozen
        list_options: ListOptions = ListOptions(),  # noqa: B008 - frozen
    ) -> Object:
        """Delete the objects of a list, and return the list. An object that vanishes meanwhile counts as deleted."""
        page = await self.page(resource, namespace, list_options)
        for obj in page.objects:
            metadata = obj["metadata"]
            mine = replace(options, preconditions=replace(options.preconditions, uid=metadata["uid"]))
            try:
                await self.delete_found(resource, metadata.get("namespace"), metadata["name"], mine)
            except errors.StatusError as error:
                if error.reason not in ("NotFound", "Conflict") or options.preconditions != Preconditions():
                    raise
        return {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": page.metadata,
            "items": page.objects,
        }

    def _apply_builder(self, target: Target, config: Object, options: WriteOptions) -> Build:
        resource = target.resource
        if not options.field_manager:
            raise errors.bad_request("fieldManager: Required value: is required for apply patch")
        decoding.check_kind(config, resource)
        apply.refuse_unknown(config, decoding.conform_configuration(config, resource, self._shape))
        objectmeta.check_namespace(config["metadata"], resource, target.namespace)
        config = strategy.only_written(config, resource, target.subresource)
        name = config["metadata"].setdefault("name", target.name)
        if name != target.name:
            raise errors.bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            )

        def build(current: Object | None) -> Object:
            merged = apply.apply(current, config, resource, target.subresource, options, self._now())
            return self._conformed(merged, resource)

        return build

    def _conformed(self, obj: Object, resource: ResourceType) -> Object:
        fresh = decoding.copied(obj)
        try:
            decoding.conform(fresh, resource, self._shape)
        except UndecodableError as error:
            raise decoding.unreadable(resource, str(error)) from error
        return fresh

    async def _read(self, stored: Stored, resource: ResourceType) -> Object:
        (obj,) = await self._conversion.convert([stored.object], resource, resource.version)
        return obj

    def _collection(self, resource: ResourceType) -> Collection:
        return self._store.collection(collection_name(resource.group, resource.plural))


@asynccontextmanager
async def _opened(watch: Watch) -> AsyncIterator[Watch]:
    try:
        yield watch
    finally:
        with trio.CancelScope(shield=True):
            await watch.aclose()


def _check_watch_options(options: ListOptions) -> None:
    field, match = "resourceVersionMatch", options.resource_version_match
    if options.send_initial_events is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause.forbidden(field, why)])
    if match and options.send_initial_events is None:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause.forbidden(field, why)])


def _predicate(resource: ResourceType, options: ListOptions) -> Predicate:
    return selectors.both(
        selectors.label_predicate(options.label_selector), selectors.field_predicate(options.field_selector, resource)
    )
