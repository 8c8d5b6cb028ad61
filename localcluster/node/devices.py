"""Extended resources of the node: which Pods may have them, and what the others are told.

A node has none until somebody advertises them in its status, as on a real cluster without a device plugin:
``kubectl patch node local --subresource=status …``. A Pod that asks for more than is free is not bound; its condition
``PodScheduled`` says why, in the words of a scheduler, and it is bound when enough is free. CPU and memory are not
counted. The node is followed only once a Pod has asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import trio

from localcluster.clock import to_time
from localcluster.node.client import Change, Changed, Gone, Synced
from localcluster.node.quantity import parse_quantity
from localcluster.node.services import NodeServices

Object = dict[str, Any]
Amounts = Mapping[str, Fraction]

_NODES = "/api/v1/nodes"


def wanted_devices(pod: Object) -> dict[str, Fraction]:
    """The extended resources and huge pages that the containers of a Pod ask for."""
    spec = pod["spec"]
    wanted = _sum(map(_of_container, spec["containers"]))
    for container in spec.get("initContainers") or []:
        for name, amount in _of_container(container).items():
            wanted[name] = max(wanted.get(name, Fraction(0)), amount)
    return {name: amount for name, amount in wanted.items() if amount}


def missing_devices(wanted: Amounts, allocatable: Mapping[str, Any], held: Iterable[Amounts]) -> list[str]:
    """The resources of which less is free than ``wanted``."""
    taken = _sum(held)
    return [
        name
        for name, amount in sorted(wanted.items())
        if parse_quantity(str(allocatable.get(name, "0"))) - taken.get(name, 0) < amount
    ]


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
        self._told: dict[str, str] = {}

    def hold(self, pod: Object) -> None:
        """The Pod is assigned to the node."""
        uid = pod["metadata"]["uid"]
        self._forget(uid)
        if uid not in self._held and (wanted := wanted_devices(pod)):
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
        self._told.pop(uid, None)

    def _decide(self) -> None:
        if self._allocatable is None:
            return
        for uid, pod in list(self._waiting.items()):
            wanted = wanted_devices(pod)
            if missing := missing_devices(wanted, self._allocatable, self._held.values()):
                self._tell(pod, missing)
                continue
            self._forget(uid)
            self._held[uid] = wanted
            self._bind(pod)

    def _tell(self, pod: Object, missing: list[str]) -> None:
        reasons = ", ".join(f"1 Insufficient {name}" for name in missing)
        message, uid = f"0/1 nodes are available: {reasons}.", pod["metadata"]["uid"]
        known = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or []}
        if message in (self._told.get(uid), known.pop("PodScheduled", {}).get("message")):
            return
        self._told[uid] = message
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


def _of_container(container: Object) -> dict[str, Fraction]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return {
        name: parse_quantity(str(amount))
        for name, amount in limits.items()
        if "/" in name or name.startswith("hugepages-")
    }


def _sum(amounts: Iterable[Amounts]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for each in amounts:
        for name, amount in each.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total
