"""The delete path: preconditions, admission, then the decision of deletion.py, committed in one step.

Not here: the dependents of the object (the garbage controller deletes them).
"""

from __future__ import annotations

from dataclasses import dataclass

from localcluster.clock import Now
from localcluster.server import deletion, errors
from localcluster.server.deletion import Gone, Marked, Pending
from localcluster.server.options import DeleteOptions
from localcluster.server.store import StaleWriteError, Store, collection_name
from localcluster.server.stored import Stored
from localcluster.server.types import Object
from localcluster.server.writeport import Admission, AdmissionRequest, Conversion
from localcluster.server.writer import Target


@dataclass(frozen=True)
class Deleted:
    """The object as last seen, in the caller's version. ``done``: it is gone; otherwise it waits."""

    obj: Object
    done: bool


class Deleter:
    """Deletes objects; one per cluster."""

    def __init__(self, store: Store, admission: Admission, conversion: Conversion, now: Now) -> None:
        self._store = store
        self._admission = admission
        self._conversion = conversion
        self._now = now

    async def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Delete the object or mark it for deletion.

        Raises:
            StatusError: 404; 409 when a precondition does not hold; or the delete was denied.
        """
        while True:
            try:
                return await self._delete_once(target, options)
            except StaleWriteError:
                continue  # it changed meanwhile: read it again; each round means that another writer made progress

    async def _delete_once(self, target: Target, options: DeleteOptions) -> Deleted:
        resource = target.resource
        collection = self._store.collection(collection_name(resource.group, resource.plural))
        expected = collection.get(target.key)
        if expected is None:
            raise errors.not_found(resource.group, resource.plural, target.name)
        (shown,) = await self._conversion.convert([expected.object], resource, resource.version)
        deletion.check_preconditions(shown, options.preconditions, resource)
        request = _request(target, shown, options)
        await self._admission.mutate(request)
        await self._admission.validate(request)
        match deletion.decide(expected.object, resource, options, self._now()):
            case Pending():
                return Deleted(shown, done=False)
            case Marked(obj):
                return await self._mark(target, obj, expected, options)
            case Gone(last):
                if not options.dry_run:
                    last = self._store.write(collection, target.key, None, expected=expected, last=last).object
                (shown,) = await self._conversion.convert([last], resource, resource.version)
                return Deleted(shown, done=True)

    async def _mark(self, target: Target, obj: Object, expected: Stored, options: DeleteOptions) -> Deleted:
        resource = target.resource
        if not options.dry_run and obj != expected.object:
            collection = self._store.collection(collection_name(resource.group, resource.plural))
            obj = self._store.write(collection, target.key, obj, expected=expected).object
        (shown,) = await self._conversion.convert([obj], resource, resource.version)
        return Deleted(shown, done=False)


def _request(target: Target, current: Object, options: DeleteOptions) -> AdmissionRequest:
    fields: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
    if options.propagation is not None:
        fields["propagationPolicy"] = str(options.propagation)
    if options.grace_period_seconds is not None:
        fields["gracePeriodSeconds"] = options.grace_period_seconds
    if options.dry_run:
        fields["dryRun"] = ["All"]
    return AdmissionRequest(
        operation="DELETE",
        resource=target.resource,
        namespace=target.namespace,
        name=target.name,
        subresource="",
        obj=None,
        old=current,
        user=options.user,
        dry_run=options.dry_run,
        options=fields,
        warn=options.warn,
    )
