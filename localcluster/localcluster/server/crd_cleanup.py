"""Deletes the objects of CustomResourceDefinitions that are being deleted, then the definitions.

Objects with finalizers are marked and stay until the finalizers are removed, as in a real cluster.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from kubewire import WatchEventType
from localcluster.server import crds, errors
from localcluster.server.identity import APISERVER
from localcluster.server.options import ListOptions, WriteOptions
from localcluster.server.registry import Registry
from localcluster.server.storage import StorageError
from localcluster.server.types import Object, ResourceType
from localcluster.server.writer import Target

RETRY_FIRST_SECONDS: Final = 0.5
RETRY_LIMIT_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


async def clean_up_definitions(
    registry: Registry, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until cancelled; one task per terminating definition deletes its objects."""
    definitions = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    if definitions is None:
        raise LookupError("customresourcedefinitions are not served")
    busy: set[str] = set()
    async with trio.open_nursery() as nursery, registry.open_watch(definitions, None) as events:
        task_status.started()
        async for event in events:
            crd = event.object
            uid = crd["metadata"]["uid"]
            if event.type is WatchEventType.DELETED:
                busy.discard(uid)
            elif crds.is_terminating(crd) and uid not in busy:
                busy.add(uid)
                nursery.start_soon(_empty, registry, definitions, crd)


async def _empty(registry: Registry, definitions: ResourceType, crd: Object) -> None:
    """Delete every object of ``crd``, then remove its finalizer; retry later what is refused."""
    delay = RETRY_FIRST_SECONDS
    while True:
        try:
            await _try_to_empty(registry, definitions, crd)
        except (errors.StatusError, StorageError) as error:
            if isinstance(error, errors.StatusError) and error.reason == "NotFound":
                return
            _log.warning("cannot finish deleting the definition %s yet: %s", crd["metadata"]["name"], error)
        else:
            return
        await trio.sleep(delay)
        delay = min(2 * delay, RETRY_LIMIT_SECONDS)


async def _try_to_empty(registry: Registry, definitions: ResourceType, crd: Object) -> None:
    resource = _resource(registry, crd)
    if resource is not None:
        await registry.delete_collection(resource, None)
        await _wait_until_empty(registry, resource)
    await registry.change(
        Target(definitions, None, crd["metadata"]["name"]), _without_finalizer, WriteOptions(user=APISERVER)
    )


async def _wait_until_empty(registry: Registry, resource: ResourceType) -> None:
    async with registry.open_watch(resource, None) as events:
        while (await registry.page(resource, None, ListOptions(limit=1))).objects:
            await events.receive()


def _resource(registry: Registry, crd: Object) -> ResourceType | None:
    """The served version for deleting: the storage version if it is served, so that nothing is converted."""
    spec = crd["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    served.sort(key=lambda version: not version.get("storage"))
    for version in served:
        if found := registry.find(spec["group"], version["name"], spec["names"]["plural"]):
            return found
    return None


def _without_finalizer(crd: Object | None) -> Object:
    if crd is None:
        raise errors.not_found("apiextensions.k8s.io", "customresourcedefinitions", "")
    finalizers = [name for name in crd["metadata"].get("finalizers", ()) if name != crds.CLEANUP_FINALIZER]
    metadata = {name: value for name, value in crd["metadata"].items() if name != "finalizers"}
    return {**crd, "metadata": {**metadata, "finalizers": finalizers} if finalizers else metadata}
