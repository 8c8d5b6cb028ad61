"""A node that runs nothing: a Pod succeeds as soon as the node sees it, or after the time that its image stands for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from math import inf

import trio

from bench.stand import NAMESPACE
from core.api.objects import Object
from core.api.resource import POD
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change, Informer

DURATIONS = {"bench/second:1": 1.0, "bench/three:1": 3.0, "bench/endless:1": inf}
"""Image → seconds; Pods of other images end at once."""

_AT_ONCE = 16
_WAITING = 10_000


@asynccontextmanager
async def open_instant_node(client: KubeClient) -> AsyncIterator[None]:
    """Runs the node until the end of the block."""
    send, receive = trio.open_memory_channel[Object](_WAITING)
    turns = trio.CapacityLimiter(_AT_ONCE)

    def see(change: Change) -> None:
        pod = change.new
        if pod is not None and change.old is None and pod["status"].get("phase", "Pending") == "Pending":
            send.send_nowait(pod)

    async def report(pod: Object) -> None:
        await trio.sleep(DURATIONS.get(pod["spec"]["containers"][0]["image"], 0))
        async with turns:
            with suppress(NotFoundError):  # the Pod was deleted in the meantime
                await client.patch(
                    POD, pod["metadata"]["name"], {"status": _succeeded(pod)}, namespace=NAMESPACE, subresource="status"
                )

    async def take(nursery: trio.Nursery) -> None:
        async for pod in receive:
            nursery.start_soon(report, pod)

    informer = Informer(client, POD, namespace=NAMESPACE)
    informer.add_handler(see)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, nursery)
        await nursery.start(informer.run)
        yield
        nursery.cancel_scope.cancel()


def _succeeded(pod: Object) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    return {
        "phase": "Succeeded",
        "startTime": now,
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": ended},
            }
            for container in pod["spec"]["containers"]
        ],
    }
