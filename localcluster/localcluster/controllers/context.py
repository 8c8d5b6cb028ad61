"""Dependencies that all controllers of a cluster share. Created once, passed down, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubewire import PatchType, copy_value
from localcluster.clock import Now
from localcluster.controllers.feed import Feed, Feeds
from localcluster.node.devices import wanted_devices
from localcluster.server.errors import StatusError
from localcluster.server.identity import AUTHENTICATED, MASTERS, Identity
from localcluster.server.options import DeleteOptions, Preconditions, Propagation, WriteOptions
from localcluster.server.patching import Patch
from localcluster.server.registry import Registry
from localcluster.server.types import Object

MANAGER: Final = Identity("system:kube-controller-manager", (MASTERS, AUTHENTICATED))
_WRITE: Final = WriteOptions(user=MANAGER, field_manager="kube-controller-manager")


@dataclass(frozen=True)
class ControllerContext:
    """The registry, the controllers' caches, and the ways in which controllers change objects."""

    registry: Registry
    feeds: Feeds
    now: Now
    node_name: str | None = None
    """The node that gets Pods made from templates; None leaves the choice to a scheduler, or to the node itself.

    A cluster of one node needs no scheduling; naming the node at once saves one write per Pod.
    """
    job_failure_delay_seconds: float = 10.0

    async def create(self, feed: Feed, obj: Object) -> Object:
        namespace = obj["metadata"].get("namespace")
        created = await self.registry.create(feed.resource, namespace, obj, _WRITE)
        feed.learn(created)
        return created

    async def patch(self, feed: Feed, obj: Object, patch: Object, subresource: str = "") -> Object:
        """Merge ``patch`` into ``obj``, if the stored object is still the same one (same UID)."""
        metadata = obj["metadata"]
        body = {**patch, "metadata": {**patch.get("metadata", {}), "uid": metadata["uid"]}}
        changed = await self.registry.patch(
            feed.resource,
            metadata.get("namespace"),
            metadata["name"],
            Patch(PatchType.MERGE, body),
            _WRITE,
            subresource,
        )
        feed.learn(changed)
        return changed

    async def replace_status(self, feed: Feed, obj: Object, status: Object) -> Object:
        """Store the whole ``status``; fails if the object has changed since it was read."""
        metadata = obj["metadata"]
        body = copy_value({**obj, "status": status})
        changed = await self.registry.update(
            feed.resource, metadata.get("namespace"), metadata["name"], body, _WRITE, "status"
        )
        feed.learn(changed)
        return changed

    async def delete(self, feed: Feed, obj: Object, propagation: Propagation = Propagation.BACKGROUND) -> None:
        """Delete exactly this object; success if it is already gone or another object has its name now."""
        metadata = obj["metadata"]
        options = DeleteOptions(user=MANAGER, propagation=propagation, preconditions=Preconditions(uid=metadata["uid"]))
        try:
            await self.registry.delete(feed.resource, metadata.get("namespace"), metadata["name"], options)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def owner_reference(owner: Object) -> Object:
    """A controlling reference to ``owner``."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_from_template(template: Object, owner: Object, node_name: str | None) -> Object:
    """A Pod named after ``owner`` and owned by it; assigned to ``node_name`` if given. If it asks for devices, the node
    takes it itself, because only the node counts them.
    """
    metadata, spec = template.get("metadata") or {}, template["spec"]
    made: Object = {
        "generateName": owner["metadata"]["name"] + "-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    for name in ("labels", "annotations", "finalizers"):
        if metadata.get(name):
            made[name] = metadata[name]
    is_free = not (spec.get("nodeName") or spec.get("schedulingGates") or wanted_devices(spec))
    if node_name and is_free:
        spec = {**spec, "nodeName": node_name}
    # A copy: the registry keeps the object that it gets, and the template still belongs to the owner.
    pod: Object = copy_value({"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": spec})
    return pod
