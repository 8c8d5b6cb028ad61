"""A periodic task: it marks Nodes without a heartbeat, and deletes Pods of lost Nodes."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta

import trio

from localcluster.clock import to_time
from localcluster.controllers.context import MANAGER, ControllerContext
from localcluster.controllers.feed import key_of
from localcluster.log import get_logger
from localcluster.server.errors import StatusError
from localcluster.server.options import DeleteOptions, ListOptions, Preconditions
from localcluster.server.storage import StorageError
from localcluster.server.types import Object

NODE_SILENCE = timedelta(seconds=40)
NODE_CHECK_SECONDS = 10.0

_log = get_logger("localcluster.controllers")


async def watch_nodes(context: ControllerContext) -> None:
    """Mark Nodes whose Lease has expired as unknown, and remove Pods of missing Nodes. Runs until cancelled."""
    while True:
        await trio.sleep(NODE_CHECK_SECONDS)
        try:
            await _check_nodes(context)
        except (StatusError, StorageError) as error:
            _log.warning("nodes_not_checked", why=str(error))  # the next round starts afresh


async def _check_nodes(context: ControllerContext) -> None:
    leases = context.registry.find("coordination.k8s.io", "v1", "leases")
    nodes, pods = context.feeds.of("", "nodes"), context.feeds.of("", "pods")
    assert leases is not None
    page = await context.registry.page(leases, "kube-node-lease", ListOptions())
    renewed = {lease["metadata"]["name"]: lease["spec"].get("renewTime") for lease in page.objects}
    for node in nodes.objects():
        status = silent_status(node, renewed.get(node["metadata"]["name"]), context.now())
        if status is not None:
            await _quietly(context.patch(nodes, node, {"status": status}, "status"))
    for pod in pods.objects():
        node_name = pod["spec"].get("nodeName")
        if node_name and nodes.get(("", node_name)) is None and _is_settled(pod, context.now()):
            options = DeleteOptions(
                user=MANAGER, grace_period_seconds=0, preconditions=Preconditions(uid=pod["metadata"]["uid"])
            )
            namespace, name = key_of(pod)
            await _quietly(context.registry.delete(pods.resource, namespace, name, options))


def silent_status(node: Object, renewed: str | None, now: datetime) -> Object | None:
    """The status for a Node that has fallen silent; None if it has not, or if its status already says so."""
    heard_at = datetime.fromisoformat(renewed or node["metadata"]["creationTimestamp"])
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = next((entry for entry in conditions if entry["type"] == "Ready"), None)
    if now - heard_at < NODE_SILENCE or ready is None or ready["status"] == "Unknown":
        return None
    silent = {
        **ready,
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": to_time(now),
    }
    return {"conditions": [silent if entry["type"] == "Ready" else entry for entry in conditions]}


def _is_settled(pod: Object, now: datetime) -> bool:
    """Whether the Pod is so old that its Node cannot just be late in registering."""
    return now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) > NODE_SILENCE


async def _quietly(write: Awaitable[object]) -> None:
    """Await a write, and ignore that its object has changed or gone meanwhile; the next round sees the new state."""
    try:
        await write
    except StatusError as error:
        if error.reason not in ("NotFound", "Conflict"):
            raise
