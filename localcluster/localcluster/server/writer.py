"""The write path: create, update and patch, each as decode → admit → prepare → validate → commit.

Optimistic: nothing is locked while webhooks run. The commit itself is one synchronous step of the store; the write
starts again when the object changed meanwhile. Source: kube-apiserver's generic registry store and endpoint handlers.
Not here: deletes (deleter.py), the computation of patches (patching.py), field ownership (managedfields.py, apply.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from kubewire import values_equal
from localcluster.clock import Now, to_time
from localcluster.server import cause, crds, decoding, errors, managedfields, objectmeta, strategy
from localcluster.server.catalog import Catalog
from localcluster.server.objectmeta import UndecodableError
from localcluster.server.options import WriteOptions
from localcluster.server.store import StaleWriteError, Store, collection_name, object_key
from localcluster.server.stored import Stored
from localcluster.server.types import Object, ResourceType
from localcluster.server.watchcache import Collection
from localcluster.server.writeport import Admission, AdmissionRequest, Conversion, Shape

NAME_ATTEMPTS: Final = 8
RETRIES: Final = 5
"""How often a patch starts again because the object changed meanwhile, as in kube-apiserver."""


@dataclass(frozen=True)
class Target:
    """The object to which a write goes."""

    resource: ResourceType
    namespace: str | None
    name: str
    subresource: str = ""

    @property
    def key(self) -> str:
        return object_key(self.namespace if self.resource.namespaced else None, self.name)


@dataclass(frozen=True)
class Written:
    """The object in the caller's version, and whether the write created it."""

    obj: Object
    created: bool = False
    stored: Stored | None = None
    """The record of ``obj``, if ``obj`` is exactly the stored version, so that it is not serialized again."""


Build = Callable[[Object | None], Object]
"""Takes the current object (None: it does not exist), returns the wanted one, decoded; must not change its argument."""


class Writer:
    """Creates and changes objects; one per cluster."""

    def __init__(
        self, store: Store, catalog: Catalog, shape: Shape, admission: Admission, conversion: Conversion, now: Now
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._shape = shape
        self._admission = admission
        self._conversion = conversion
        self._now = now

    async def create(
        self, resource: ResourceType, namespace: str | None, obj: Object, options: WriteOptions
    ) -> Written:
        """Store a new object; the server keeps ``obj``.

        Raises:
            StatusError: it is malformed, denied, invalid, or exists already.
        """
        obj = decoding.decode(obj, resource, options, self._shape)
        metadata = obj["metadata"]
        objectmeta.check_namespace(metadata, resource, namespace)
        generate_from = "" if metadata.get("name") else metadata.get("generateName", "")
        if not metadata.get("name") and not generate_from:
            causes = [cause.required("metadata.name", "name or generateName is required")]
            raise errors.invalid(resource.group, resource.kind, "", causes)
        target = Target(resource, namespace, metadata.get("name", ""))
        obj = strategy.only_written(obj, resource, "")
        obj = managedfields.after_update(obj, None, resource, "", options, self._now())
        obj = await self._mutated("CREATE", target, obj, None, options)
        for attempt in range(NAME_ATTEMPTS):
            if generate_from:
                obj = {**obj, "metadata": {**obj["metadata"], "name": objectmeta.generated_name(generate_from)}}
            try:
                return await self._insert(Target(resource, namespace, obj["metadata"]["name"]), obj, options)
            except errors.StatusError as error:
                if not generate_from or error.reason != "AlreadyExists" or attempt == NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def replace(self, target: Target, obj: Object, options: WriteOptions) -> Written:
        """Update with a whole object; the server keeps ``obj``.

        Raises:
            StatusError: 404, 409 for another resourceVersion or uid, or the object is malformed, denied or invalid.
        """
        resource = target.resource
        if target.subresource == "status":
            obj = self._without_known(target, obj)
        obj = decoding.decode(obj, resource, options, self._shape)
        metadata = obj["metadata"]
        objectmeta.check_namespace(metadata, resource, target.namespace)
        if not metadata.get("name"):
            raise errors.bad_request(
                f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
            )
        if metadata["name"] != target.name:
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
            )

        def build(current: Object | None) -> Object:
            return {**obj, "metadata": {**metadata}}

        may_create = strategy.allows_create_on_update(resource) and not target.subresource
        return await self.change(target, build, options, may_create=may_create, whole=True)

    async def change(
        self,
        target: Target,
        build: Build,
        options: WriteOptions,
        *,
        may_create: bool = False,
        owned: bool = False,
        whole: bool = False,
        retries: int = RETRIES,
    ) -> Written:
        """Replace the object by the result of ``build``; start again if the object changed meanwhile.

        Args:
            owned: ``build`` itself updates the field ownership (server-side apply).
            whole: the client sent the whole object, so its uid is a precondition.

        Raises:
            StatusError: see ``replace``.
        """
        for attempt in range(retries + 1):
            try:
                return await self._change_once(target, build, options, may_create=may_create, owned=owned, whole=whole)
            except StaleWriteError:
                if attempt == retries:
                    raise errors.conflict(target.resource.group, target.resource.plural, target.name) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _change_once(
        self, target: Target, build: Build, options: WriteOptions, *, may_create: bool, owned: bool, whole: bool
    ) -> Written:
        resource = target.resource
        expected = self._collection(resource).get(target.key)
        if expected is None:
            if not may_create:
                raise errors.not_found(resource.group, resource.plural, target.name)
            return await self._create_by_update(target, build, options, owned=owned, whole=whole)
        (current,) = await self._conversion.convert([expected.object], resource, resource.version)
        obj = build(current)
        wanted_revision = obj["metadata"].get("resourceVersion", "")
        if whole:
            self._check_uid(target, obj, current)
        if not owned:
            reset = strategy.prepare_for_update(obj, current, resource, target.subresource)
            obj = managedfields.after_update(reset, current, resource, target.subresource, options, self._now())
        obj = await self._mutated("UPDATE", target, obj, current, options)
        self._check_revision(target, wanted_revision, current)
        obj = strategy.prepare_for_update(obj, current, resource, target.subresource)
        objectmeta.carry_over(obj["metadata"], current["metadata"])
        self._check_valid(target, obj, current)
        self._warn(resource, obj, current, options)
        self._complete(obj, current, resource)
        await self._admission.validate(self._request("UPDATE", target, obj, current, options))
        obj["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
        if managedfields.same_but_for_times(obj, current) and values_equal(_contents(obj), _contents(current)):
            return Written(current, stored=expected if expected.object is current else None)
        return await self._commit_change(target, obj, current, expected, options)

    async def _commit_change(
        self, target: Target, obj: Object, current: Object, expected: Stored, options: WriteOptions
    ) -> Written:
        resource = target.resource
        finished = is_finished(obj, current)
        stored_form = await self._conversion.to_stored(obj, resource)
        if options.dry_run:
            return Written(obj)
        if finished:
            self._store.write(self._collection(resource), target.key, None, expected=expected)
            return Written(obj)
        stored = self._store.write(self._collection(resource), target.key, stored_form, expected=expected)
        return self._shown(obj, stored)

    async def _create_by_update(
        self, target: Target, build: Build, options: WriteOptions, *, owned: bool, whole: bool
    ) -> Written:
        resource = target.resource
        obj = build(None)
        metadata = obj["metadata"]
        if whole and (wanted := metadata.get("uid")):
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: "
            raise errors.conflict(resource.group, resource.plural, target.name, why)
        if not owned:
            obj = managedfields.after_update(obj, None, resource, "", options, self._now())
        obj = await self._mutated("CREATE", target, obj, None, options)
        try:
            return await self._insert(target, obj, options)
        except errors.StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            raise StaleWriteError from None  # somebody created it meanwhile: now this is an update

    async def _insert(self, target: Target, obj: Object, options: WriteOptions) -> Written:
        """Prepare, validate and store an admitted new object."""
        resource = target.resource
        given_revision = obj["metadata"].get("resourceVersion", "0")
        objectmeta.fill_created(obj["metadata"], created_at=to_time(self._now()), uid=str(uuid4()))
        strategy.prepare_for_create(obj, resource)
        self._shape.complete_created(obj, resource)
        self._check_valid(target, obj, None)
        self._warn(resource, obj, None, options)
        self._complete(obj, None, resource)
        await self._admission.validate(self._request("CREATE", target, obj, None, options))
        stored_form = await self._conversion.to_stored(obj, resource)
        collection = self._collection(resource)
        if not options.dry_run and given_revision.isdigit() and int(given_revision):
            raise errors.unclassified("resourceVersion should not be set on objects to be created")
        if (present := collection.get(target.key)) is not None:
            dying = "deletionTimestamp" in present.object["metadata"]
            raise errors.already_exists(resource.group, resource.plural, target.name, dying=dying)
        if options.dry_run:
            return Written(obj, created=True)
        try:
            stored = self._store.write(collection, target.key, stored_form, expected=None)
        except StaleWriteError:
            raise errors.already_exists(resource.group, resource.plural, target.name) from None
        return self._shown(obj, stored, created=True)

    def _without_known(self, target: Target, obj: Object) -> Object:
        """A new status, without fields that equal the stored ones: they stay anyway, so they need not be decoded."""
        stored = self._collection(target.resource).get(target.key)
        if stored is None or not isinstance(obj, dict):
            return obj
        known = stored.object
        return {
            name: value
            for name, value in obj.items()
            if name in strategy.STATUS_FIELDS or name not in known or value != known[name]
        }

    async def _mutated(
        self, operation: str, target: Target, obj: Object, current: Object | None, options: WriteOptions
    ) -> Object:
        admitted = await self._admission.mutate(self._request(operation, target, obj, current, options))
        if admitted is None or admitted is obj:
            return obj
        try:
            decoding.conform(admitted, target.resource, self._shape)
        except UndecodableError as error:
            raise errors.internal_error(f"admission left an object that cannot be read: {error}") from error
        return admitted

    def _request(
        self, operation: str, target: Target, obj: Object, current: Object | None, options: WriteOptions
    ) -> AdmissionRequest:
        return AdmissionRequest(
            operation=operation,
            resource=target.resource,
            namespace=target.namespace,
            name=target.name,
            subresource=target.subresource,
            obj=obj,
            old=current,
            user=options.user,
            dry_run=options.dry_run,
            options=_options_object(operation, options),
            warn=options.warn,
        )

    def _check_uid(self, target: Target, obj: Object, current: Object) -> None:
        wanted, uid = obj["metadata"].get("uid"), current["metadata"].get("uid")
        if wanted and wanted != uid:
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            raise errors.conflict(target.resource.group, target.resource.plural, target.name, why)

    def _check_revision(self, target: Target, wanted: str, current: Object) -> None:
        resource = target.resource
        if not wanted:
            if strategy.allows_unconditional_update(resource):
                return
            causes = [cause.invalid("metadata.resourceVersion", 0, "must be specified for an update")]
            raise errors.invalid(resource.group, resource.plural, target.name, causes)
        if wanted != current["metadata"]["resourceVersion"]:
            raise errors.conflict(resource.group, resource.plural, target.name)

    def _check_valid(self, target: Target, obj: Object, current: Object | None) -> None:
        resource = target.resource
        causes = self._shape.validate(obj, current, resource)
        causes += objectmeta.why_invalid(obj["metadata"], resource)
        if current is not None:
            causes += objectmeta.why_invalid_change(obj["metadata"], current["metadata"])
        if causes:
            raise errors.invalid(resource.group, resource.kind, target.name or obj["metadata"].get("name", ""), causes)

    @staticmethod
    def _warn(resource: ResourceType, obj: Object, current: Object | None, options: WriteOptions) -> None:
        if resource.custom:
            for text in objectmeta.finalizer_warnings(obj["metadata"], current["metadata"] if current else {}):
                options.warn(text)

    def _complete(self, obj: Object, current: Object | None, resource: ResourceType) -> None:
        if resource.plural == "customresourcedefinitions" and not resource.custom:
            crds.complete(obj, current, self._catalog, self._now())

    @staticmethod
    def _shown(obj: Object, stored: Stored, *, created: bool = False) -> Written:
        if stored.object is obj:
            return Written(obj, created, stored)
        obj["metadata"]["resourceVersion"] = str(stored.revision)
        return Written(obj, created)

    def _collection(self, resource: ResourceType) -> Collection:
        return self._store.collection(collection_name(resource.group, resource.plural))


def is_finished(obj: Object, current: Object) -> bool:
    """Whether an update removed the last reason to keep a deleted object."""
    before = current["metadata"]
    return (
        "deletionTimestamp" in before
        and not obj["metadata"].get("finalizers")
        and not before.get("deletionGracePeriodSeconds")
    )


def _contents(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "metadata"}


def _options_object(operation: str, options: WriteOptions) -> Object:
    kind = "CreateOptions" if operation == "CREATE" else "UpdateOptions"
    fields: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1", "fieldValidation": str(options.field_validation)}
    if options.field_manager:
        fields["fieldManager"] = options.field_manager
    if options.dry_run:
        fields["dryRun"] = ["All"]
    return fields
