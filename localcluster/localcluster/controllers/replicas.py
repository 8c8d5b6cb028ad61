"""Counts the Pods of a ReplicaSet, and chooses which to delete. Pure; kube-controller-manager's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from localcluster.clock import to_time

Object = dict[str, Any]

REPLICA_FAILURE = "ReplicaFailure"
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class ReplicaDecision:
    """The next actions for a ReplicaSet."""

    create: int
    delete: Sequence[Object]
    status: Object
    wake_at: datetime | None
    """When the next ready Pod will count as available."""


def replica_actions(replica_set: Object, pods: Sequence[Object], now: datetime) -> ReplicaDecision:
    """Decide from the ReplicaSet, the Pods it controls and the current time."""
    spec, metadata = replica_set["spec"], replica_set["metadata"]
    active = [pod for pod in pods if _is_active(pod)]
    wanted = 0 if metadata.get("deletionTimestamp") else spec.get("replicas", 1)
    patience = timedelta(seconds=spec.get("minReadySeconds") or 0)
    ready = [since for pod in active if (since := ready_since(pod)) is not None]
    waiting = [since + patience for since in ready if since + patience > now]
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    status: Object = {"replicas": len(active), "observedGeneration": metadata.get("generation", 1)}
    counted = {
        "fullyLabeledReplicas": sum(labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready) - len(waiting),
    }
    status |= {name: count for name, count in counted.items() if count}
    missing = max(wanted - len(active), 0)
    surplus = sorted(active, key=_worth)[: max(len(active) - wanted, 0)]
    return ReplicaDecision(missing, surplus, status, min(waiting, default=None))


def with_failure(status: Object, previous: Object, refusal: str, now: datetime) -> Object:
    """``status``, with the condition that says why a Pod could not be created; an empty ``refusal``: all were."""
    if not refusal:
        return status
    failure: Object = {"type": REPLICA_FAILURE, "status": "True", "reason": "FailedCreate", "message": refusal}
    known = failure_of(previous)
    since = known["lastTransitionTime"] if known is not None else to_time(now)
    return {**status, "conditions": [{**failure, "lastTransitionTime": since}]}


def failure_of(status: Object) -> Object | None:
    """The condition ``ReplicaFailure`` of a ReplicaSet's status, if a Pod could not be created."""
    return next((each for each in status.get("conditions") or () if each["type"] == REPLICA_FAILURE), None)


def is_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in _FINISHED


def ready_since(pod: Object) -> datetime | None:
    """Since when the Pod is ready; None if it is not. A condition need not say it: then since its creation."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
    return None


def _is_active(pod: Object) -> bool:
    return not is_ended(pod) and not pod["metadata"].get("deletionTimestamp")


def _worth(pod: Object) -> tuple[bool, bool, float]:
    """A sort key: the Pod to delete first comes first (not assigned, then not ready, then youngest)."""
    created_at = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
    return bool(pod["spec"].get("nodeName")), ready_since(pod) is not None, -created_at
