"""Serves the resources of CustomResourceDefinitions from the write of the definition until its deletion.

In a real cluster, controllers add the conditions NamesAccepted and Established a little later. Here they are part of
the write that creates the definition, so clients never wait for them. Deleting a definition deletes its objects.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime
from typing import Any, Final

import orjson

from localcluster.clock import to_time
from localcluster.server import errors, types
from localcluster.server.catalog import Catalog
from localcluster.server.cause import SchemaError
from localcluster.server.storage import StorageError
from localcluster.server.store import Store, collection_name
from localcluster.server.stored import Stored
from localcluster.server.types import Object
from localcluster.server.watchcache import Change
from localcluster.server.writeport import Shape

_log = logging.getLogger(__name__)

COLLECTION: Final = "apiextensions.k8s.io/customresourcedefinitions"
_SHAPE: Final = 1
"""Raise it when other code would give stored objects another shape by the same schema."""
CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"


def complete(crd: Object, old: Object | None, catalog: Catalog, now: datetime) -> None:
    """Fill in names, conversion and status as the server's own controllers do, in place.

    Raises:
        StatusError: 422, a schema is not structural.
    """
    try:
        types.resource_types_of_crd(crd)
    except SchemaError as error:
        raise errors.invalid(
            "apiextensions.k8s.io", "CustomResourceDefinition", crd["metadata"]["name"], error.causes
        ) from error
    spec = crd["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    before: Object = (old or {}).get("status") or {}
    owner = catalog.kind_owner(spec["group"], names["kind"], names["plural"])
    if owner is None:
        accepted = ("True", "NoConflicts", "no conflicts found")
        established = ("True", "InitialNamesAccepted", "the initial names have been accepted")
    else:
        why = f'"{names["kind"]}" is already in use'
        accepted, established = ("False", "KindConflict", why), ("False", "NotAccepted", "not all names are accepted")
    versions = [version["name"] for version in spec["versions"] if version.get("storage")]
    stored = [*before.get("storedVersions", ()), *(v for v in versions if v not in before.get("storedVersions", ()))]
    crd["status"] = {
        **before,
        "conditions": _conditions(before, {"NamesAccepted": accepted, "Established": established}, to_time(now)),
        "acceptedNames": names if owner is None else before.get("acceptedNames", {"kind": "", "plural": ""}),
        "storedVersions": stored,
    }


def begin_termination(crd: Object, now: datetime) -> None:
    """Let a deleted definition wait until its objects are gone, in place (of a shallow copy)."""
    metadata = crd["metadata"]
    if CLEANUP_FINALIZER not in metadata.get("finalizers", ()):
        metadata["finalizers"] = [*metadata.get("finalizers", ()), CLEANUP_FINALIZER]
    status: Object = crd.get("status") or {}
    why = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
    crd["status"] = {**status, "conditions": _conditions(status, {"Terminating": why}, to_time(now))}


def is_terminating(crd: Object) -> bool:
    """Whether the definition is being deleted, so that no object of it may be created any more."""
    return "deletionTimestamp" in crd["metadata"]


def is_established(crd: Object) -> bool:
    """Whether the definition's resources are served."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


class Definitions:
    """Keeps the catalog in line with the stored definitions."""

    def __init__(self, store: Store, catalog: Catalog, shape: Shape) -> None:
        self._store = store
        self._catalog = catalog
        self._shape = shape
        for stored in store.collection(COLLECTION).select():
            self._serve(stored.object)
        store.listen(self._on_change)

    def _on_change(self, collection: str, change: Change) -> None:
        if collection != COLLECTION:
            return
        if change.deleted:
            self._withdraw(change.last.object)
            return
        before = change.previous.object if change.previous is not None else None
        if before is None or before["spec"] != change.last.object["spec"] or not is_established(before):
            self._serve(change.last.object)

    def _serve(self, crd: Object) -> None:
        if not is_established(crd):
            return
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        self._catalog.replace(group, plural, types.resource_types_of_crd(crd))
        self._reshape(crd)

    def _withdraw(self, crd: Object) -> None:
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        self._catalog.replace(group, plural, ())
        self._store.end(collection_name(group, plural))

    def _reshape(self, crd: Object) -> None:
        """Add the current schema's defaults to stored objects; a real server does that when it reads them."""
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        served = self._catalog.of_resource(group, plural)
        if not served:
            return
        versions = {resource.api_version: resource for resource in served}

        def reshaped(stored: Stored) -> bytes:
            obj = orjson.loads(stored.data)
            resource = versions.get(obj.get("apiVersion", ""))
            if resource is None:
                return stored.data
            self._shape.prune(obj, resource)
            self._shape.apply_defaults(obj, resource)
            return orjson.dumps(obj)

        try:
            self._store.shape(collection_name(group, plural), _digest(crd), reshaped)
        except StorageError as error:
            _log.warning("%s; objects of %s.%s are shaped again at the next start", error, plural, group)


def _digest(crd: Object) -> bytes:
    """What the shape of stored objects follows from."""
    return hashlib.sha256(orjson.dumps([_SHAPE, crd["spec"]], option=orjson.OPT_SORT_KEYS)).digest()


def _conditions(before: Object, wanted: dict[str, tuple[str, str, str]], now: str) -> list[Any]:
    found = {condition["type"]: condition for condition in before.get("conditions", ())}
    for name, (status, reason, message) in wanted.items():
        old = found.get(name)
        if old is not None and old["status"] == status:
            continue
        found[name] = {
            "type": name,
            "status": status,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
    return list(found.values())
