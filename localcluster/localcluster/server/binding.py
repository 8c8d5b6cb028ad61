"""The ``binding`` subresource of Pods: assigns a Pod to a node, once."""

from __future__ import annotations

from datetime import datetime

from localcluster.clock import to_time
from localcluster.server import errors
from localcluster.server.options import WriteOptions
from localcluster.server.registry import Registry
from localcluster.server.types import Object, ResourceType
from localcluster.server.writer import Target


async def bind(
    registry: Registry,
    resource: ResourceType,
    namespace: str | None,
    name: str,
    body: Object,
    options: WriteOptions,
    now: datetime,
) -> None:
    """Assign the Pod to ``body.target``.

    Raises:
        StatusError: 404, the Pod does not exist; 409, it is already assigned or is being deleted; 400, the target is
            not a Node.
    """
    target = body.get("target") or {}
    node = target.get("name", "")
    if target.get("kind") not in (None, "", "Node") or not node:
        raise errors.bad_request("target.name is required and target.kind must be Node")

    def assigned(current: Object | None) -> Object:
        if current is None:
            raise errors.not_found("", resource.plural, name)
        spec = current.get("spec") or {}
        if current["metadata"].get("deletionTimestamp"):
            raise errors.conflict(
                "", resource.plural, name, f"pod {name} is being deleted, cannot be assigned to a host"
            )
        if spec.get("nodeName"):
            why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
            raise errors.conflict("", f"{resource.plural}/binding", name, why)
        status: Object = current.get("status") or {}
        others = [found for found in status.get("conditions") or () if found.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": to_time(now)}
        return {
            **current,
            "metadata": {**current["metadata"]},
            "spec": {**spec, "nodeName": node},
            "status": {**status, "conditions": [*others, scheduled]},
        }

    await registry.change(Target(resource, namespace, name, "binding"), assigned, options, owned=True)
