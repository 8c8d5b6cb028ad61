"""Extended resources of the node: which Pods may have them, and what the conditions of the others say.

A node has none until somebody advertises them in its status, as on a real cluster without a device plugin:
``kubectl patch node local --subresource=status …``. A Pod that asks for more than is free is not bound; its condition
``PodScheduled`` says why, in the words of a scheduler, and it is bound when enough is free. CPU and memory are not
counted. The node is followed only once a Pod has asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import trio

from localcluster.clock import to_time
from localcluster.node.client import Change, Changed, Gone, Synced
from localcluster.node.devices import Amounts, missing_devices, wanted_devices
from localcluster.node.services import NodeServices

Object = dict[str, Any]

_NODES = "/api/v1/nodes"


class DeviceQueue:
    """The Pods that hold devices of the node, and those that wait for some, in order of arrival."""

    def __init__(
        self,
        services: NodeServices,
        nursery: trio.Nursery,
        bind: Callable[[Object], None],
        report: Callable[[Object, Object], None],
    ) -> None:
        """``bind`` assigns a Pod to the node; ``report`` writes a status of a Pod."""
        self._services = services
        self._nursery = nursery
        self._bind = bind
        self._report = report
        self._allocatable: Mapping[str, Any] | None = None
        self._follows = False
        self._held: dict[str, Amounts] = {}
        self._waiting: dict[str, Object] = {}
        self._reported: dict[str, str] = {}

    def hold(self, pod: Object) -> None:
        """The Pod is assigned to the node."""
        uid = pod["metadata"]["uid"]
        self._forget(uid)
        if uid not in self._held and (wanted := wanted_devices(pod["spec"])):
            self._held[uid] = wanted

    def offer(self, pod: Object) -> None:
        """Assign the Pod to the node, now or when enough is free."""
        self._waiting[pod["metadata"]["uid"]] = pod
        if not self._follows:
            self._follows = True
            self._nursery.start_soon(self._follow)
        self._decide()

    def release(self, uid: str) -> None:
        """The Pod has ended, or is gone."""
        self._forget(uid)
        if self._held.pop(uid, None) is not None:
            self._decide()

    def keep(self, present: set[str]) -> None:
        """Only the Pods in ``present`` exist."""
        for uid in {*self._held, *self._waiting} - present:
            self.release(uid)

    def _forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._reported.pop(uid, None)

    def _decide(self) -> None:
        if self._allocatable is None:
            return
        for uid, pod in list(self._waiting.items()):
            wanted = wanted_devices(pod["spec"])
            if missing := missing_devices(wanted, self._allocatable, self._held.values()):
                self._report_missing(pod, missing)
                continue
            self._forget(uid)
            self._held[uid] = wanted
            self._bind(pod)

    def _report_missing(self, pod: Object, missing: list[str]) -> None:
        reasons = ", ".join(f"1 Insufficient {name}" for name in missing)
        message, uid = f"0/1 nodes are available: {reasons}.", pod["metadata"]["uid"]
        known = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or []}
        if message in (self._reported.get(uid), known.pop("PodScheduled", {}).get("message")):
            return
        self._reported[uid] = message
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": to_time(self._services.now()),
        }
        self._report(pod, {"conditions": [*known.values(), condition]})

    async def _follow(self) -> None:
        send, receive = trio.open_memory_channel[Change](math.inf)
        selector = {"fieldSelector": f"metadata.name={self._services.settings.name}"}
        self._nursery.start_soon(self._services.client.follow, _NODES, selector, send.send_nowait)
        async for change in receive:
            match change:
                case Synced(objects):
                    nodes = objects
                case Changed(node):
                    nodes = [node]
                case Gone():
                    nodes = []
            self._allocatable = (nodes[0].get("status") or {}).get("allocatable") or {} if nodes else {}
            self._decide()
