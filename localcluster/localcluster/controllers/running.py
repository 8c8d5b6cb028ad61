"""Runs all controllers of a cluster, in one nursery."""

from __future__ import annotations

import trio

from localcluster.clock import Now
from localcluster.controllers.context import ControllerContext
from localcluster.controllers.deployment import DeploymentController
from localcluster.controllers.feed import Feeds
from localcluster.controllers.garbage import GarbageCollector
from localcluster.controllers.housekeeping import watch_nodes
from localcluster.controllers.job import JobController
from localcluster.controllers.namespace import NamespaceController
from localcluster.controllers.replicaset import ReplicaSetController
from localcluster.controllers.statefulset import StatefulSetController
from localcluster.server.registry import Registry


async def run_controllers(
    registry: Registry,
    now: Now,
    *,
    root_ca_pem: str = "",
    node_name: str | None = None,
    job_failure_delay_seconds: float = 10.0,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled; started once all stored objects are known and in the queues.

    Args:
        root_ca_pem: the API server's authority, published in every namespace.
        node_name: the only node; Pods made from templates are assigned to it at once.
        job_failure_delay_seconds: pause before a failed Pod of a Job is replaced; doubles with each failure.
    """
    async with trio.open_nursery() as nursery:
        feeds = Feeds(registry)
        await nursery.start(feeds.run)
        context = ControllerContext(registry, feeds, now, node_name, job_failure_delay_seconds)
        for controller in (
            JobController(context),
            ReplicaSetController(context),
            DeploymentController(context),
            StatefulSetController(context),
            GarbageCollector(context),
            NamespaceController(context, root_ca_pem),
        ):
            nursery.start_soon(controller.run)
        nursery.start_soon(watch_nodes, context)
        task_status.started()
