"""How far a Pod has come, and why it does not run yet, as Kubernetes reports it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object
from core.workloads.step_workload import ENGRAM_CONTAINER
from views.text import one_line


class PodObstacle(StrEnum):
    IMAGE = "image"
    """Its image cannot be pulled."""
    NODE = "node"
    """No node accepts it."""
    CONTAINER = "container"
    """Its container cannot be created: for example, a Secret or ConfigMap is missing."""


@dataclass(frozen=True, slots=True)
class PodWait:
    obstacle: PodObstacle
    reason: str
    """The reason in the words of Kubernetes: ``ImagePullBackOff``, ``Unschedulable``; empty if only an Event tells."""
    message: str
    since: datetime | None

    @property
    def text(self) -> str:
        return f"{self.reason}: {self.message}" if self.reason else self.message


def pod_wait(pod: Object) -> PodWait | None:
    """None while the Pod starts normally: a reason without a message passes by itself."""
    status = pod.get("status") or {}
    if status.get("phase") != "Pending":
        return None
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            reason = str(waiting.get("reason") or "waiting")
            obstacle = PodObstacle.IMAGE if "Image" in reason else PodObstacle.CONTAINER
            return PodWait(obstacle, reason, one_line(waiting["message"]), scheduled_at(pod))
    condition = find_condition(status.get("conditions") or (), "PodScheduled")
    if condition is not None and condition.get("status") == "False":
        since = parse_instant_or_none(condition.get("lastTransitionTime"))
        reason = str(condition.get("reason") or "Unschedulable")
        return PodWait(PodObstacle.NODE, reason, one_line(condition.get("message") or ""), since)
    return None


def is_silent(pod: Object) -> bool:
    """Whether a node has taken the Pod, and its container waits without a message. Its Events may say why."""
    is_pending = (pod.get("status") or {}).get("phase") == "Pending"
    return is_pending and taken_at(pod) is not None and pod_wait(pod) is None


def taken_at(pod: Object) -> datetime | None:
    """When the Pod was assigned to a node; None if it was not."""
    condition = find_condition((pod.get("status") or {}).get("conditions") or (), "PodScheduled") or {}
    taken = condition.get("lastTransitionTime") if condition.get("status") == "True" else None
    return parse_instant_or_none(taken or (pod.get("status") or {}).get("startTime"))


def scheduled_at(pod: Object) -> datetime | None:
    """When the Pod was assigned to a node; if that is unknown, when it was created."""
    return taken_at(pod) or parse_instant_or_none(pod["metadata"].get("creationTimestamp"))


def container_state(pod: Object) -> Object:
    """``running``, ``terminated`` or ``waiting`` of the container that does the step's work; empty if not reported yet.

    If no container has our name, that is the first one.
    """
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    first = statuses[0] if statuses else {}
    own: Object = next((each for each in statuses if each.get("name") == ENGRAM_CONTAINER), first)
    state: Object = own.get("state") or {}
    return state
