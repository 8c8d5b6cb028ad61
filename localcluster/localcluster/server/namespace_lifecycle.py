"""Admission plugin: refuses to create objects in a namespace that does not exist or is being deleted.

Source: kube-apiserver's NamespaceLifecycle admission plugin; the texts are those of the plugin.
"""

from __future__ import annotations

from typing import Final

import trio

from localcluster.server import errors
from localcluster.server.cause import Cause
from localcluster.server.store import Store
from localcluster.server.types import Object
from localcluster.server.writeport import AdmissionRequest

IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    """Checks creates in namespaces, and deletes of namespaces."""

    def __init__(self, store: Store) -> None:
        self._namespaces = store.collection("/namespaces")

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check(request)
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    def _check(self, request: AdmissionRequest) -> None:
        resource = request.resource
        if not resource.namespaced:
            is_namespace = resource.plural == "namespaces" and not resource.group
            if is_namespace and request.operation == "DELETE" and request.name in IMMORTAL:
                raise errors.forbidden("", "namespaces", request.name, "this namespace may not be deleted")
            return
        if request.operation != "CREATE" or not request.namespace:
            return
        stored = self._namespaces.get(request.namespace)
        if stored is None:
            raise errors.not_found("", "namespaces", request.namespace)
        namespace = stored.object
        if "deletionTimestamp" in namespace["metadata"]:
            gone = Cause(
                "NamespaceTerminating", f"namespace {request.namespace} is being terminated", "metadata.namespace"
            )
            why = f"unable to create new content in namespace {request.namespace} because it is being terminated"
            name = request.name or (request.obj or {}).get("metadata", {}).get("generateName", "")
            raise errors.forbidden(resource.group, resource.plural, name, why, causes=[gone])
