"""Admission plugin: refuses new objects of a CustomResourceDefinition that is being deleted."""

from __future__ import annotations

import trio

from localcluster.server import crds, errors
from localcluster.server.store import Store
from localcluster.server.types import Object
from localcluster.server.writeport import AdmissionRequest


class DefinitionGuard:
    """Refuses to create objects whose definition is terminating."""

    def __init__(self, store: Store) -> None:
        self._definitions = store.collection(crds.COLLECTION)

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        resource = request.resource
        if resource.custom and request.operation == "CREATE":
            stored = self._definitions.get(f"{resource.plural}.{resource.group}")
            if stored is None or crds.is_terminating(stored.object):
                why = "create not allowed while custom resource definition is terminating"
                raise errors.forbidden(resource.group, resource.plural, request.name, why)
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
