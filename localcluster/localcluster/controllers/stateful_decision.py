"""How a StatefulSet keeps its Pods, which have ordinals as names. Pure; kube-controller-manager's rules.

Supported: both Pod management policies, RollingUpdate with a partition, OnDelete, claims for each Pod. With
``OrderedReady`` a Pod that is not ready holds up every other change, also a rollout that would mend it.
Not supported: ``ordinals``, ``maxUnavailable``, deletion of claims, stored revisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kubewire import copy_value
from localcluster.controllers.replicas import is_ended, ready_since
from localcluster.controllers.rollout import template_hash

Object = dict[str, Any]

REVISION_LABEL = "controller-revision-hash"
_LONGEST_LABEL = 63


@dataclass(frozen=True, slots=True)
class StatefulDecision:
    """The next actions for a StatefulSet."""

    create: Sequence[int] = ()
    """Ordinals of Pods."""
    delete: Sequence[Object] = ()
    status: Object = field(default_factory=dict)
    wake_at: datetime | None = None
    """When the next ready Pod will count as available."""


def stateful_actions(stateful_set: Object, pods: Sequence[Object], now: datetime) -> StatefulDecision:
    """Decide from the StatefulSet, the Pods it controls and the current time."""
    by_ordinal = {ordinal: pod for pod in pods if (ordinal := _ordinal(stateful_set, pod)) is not None}
    status, wake_at = _status(stateful_set, by_ordinal, now)
    if stateful_set["metadata"].get("deletionTimestamp"):
        return StatefulDecision((), (), status, wake_at)
    create, delete, is_held_up = _replicas(stateful_set, by_ordinal)
    if not is_held_up:
        delete = [*delete, *(_surplus(stateful_set, by_ordinal) or _outdated(stateful_set, by_ordinal))]
    return StatefulDecision(create, delete, status, wake_at)


def pod_of(stateful_set: Object, ordinal: int, pod: Object) -> Object:
    """``pod``, made from the template, as the Pod with that ordinal."""
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    name = f"{metadata['name']}-{ordinal}"
    made: Object = copy_value(pod)
    made["metadata"].pop("generateName", None)
    made["metadata"]["name"] = name
    made["metadata"]["labels"] = {
        **(made["metadata"].get("labels") or {}),
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        REVISION_LABEL: _revision(stateful_set),
    }
    made["spec"] |= {"hostname": name, "subdomain": spec.get("serviceName", "")}
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()]
    volumes = [volume for volume in made["spec"].get("volumes") or () if volume["name"] not in claims]
    volumes += [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in claims]
    if volumes:
        made["spec"]["volumes"] = volumes
    return made


def claims_of(stateful_set: Object, ordinal: int) -> list[Object]:
    """The claims of the Pod with that ordinal; they outlive it."""
    metadata = stateful_set["metadata"]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                **claim["metadata"],
                "name": f"{claim['metadata']['name']}-{metadata['name']}-{ordinal}",
                "namespace": metadata["namespace"],
            },
            "spec": copy_value(claim["spec"]),
        }
        for claim in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]


def _replicas(stateful_set: Object, pods: dict[int, Object]) -> tuple[list[int], list[Object], bool]:
    """Pods to create, ended Pods to delete, and whether anything else has to wait."""
    ordered = not _is_parallel(stateful_set)
    create: list[int] = []
    delete: list[Object] = []
    for ordinal in range(_wanted(stateful_set)):
        pod = pods.get(ordinal)
        if pod is None:
            create.append(ordinal)
        elif is_ended(pod) and not _is_ending(pod):
            delete.append(pod)
        elif _is_ready(pod):
            continue
        if ordered:
            return create, delete, True
    return create, delete, False


def _surplus(stateful_set: Object, pods: dict[int, Object]) -> list[Object]:
    """Pods beyond the wanted number, the last one first; one after the other if they are ordered."""
    surplus = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal >= _wanted(stateful_set)]
    if _is_parallel(stateful_set):
        return [pod for pod in surplus if not _is_ending(pod)]
    return [] if any(map(_is_ending, surplus)) else surplus[:1]


def _outdated(stateful_set: Object, pods: dict[int, Object]) -> list[Object]:
    """The next Pod of an earlier template to replace, the last one first, if those after it are ready."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return []
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    for ordinal in range(_wanted(stateful_set) - 1, partition - 1, -1):
        pod = pods.get(ordinal)
        if pod is None or _is_ending(pod):
            return []
        if not _is_current(stateful_set, pod):
            return [pod]
        if not _is_ready(pod):
            return []
    return []


def _status(stateful_set: Object, pods: dict[int, Object], now: datetime) -> tuple[Object, datetime | None]:
    patience = timedelta(seconds=stateful_set["spec"].get("minReadySeconds") or 0)
    alive = [pod for pod in pods.values() if not is_ended(pod) and not _is_ending(pod)]
    ready = [since for pod in alive if (since := ready_since(pod)) is not None]
    waiting = [since + patience for since in ready if since + patience > now]
    updated = sum(_is_current(stateful_set, pod) for pod in alive)
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": updated,
        "updatedReplicas": updated,
    }
    status: Object = {
        "observedGeneration": stateful_set["metadata"].get("generation", 1),
        "replicas": len(alive),
        "availableReplicas": len(ready) - len(waiting),
        "updateRevision": _revision(stateful_set),
        "currentRevision": _revision(stateful_set),
        "collisionCount": 0,
    }
    return status | {name: count for name, count in counts.items() if count}, min(waiting, default=None)


def _revision(stateful_set: Object) -> str:
    digest = template_hash(stateful_set["spec"]["template"])
    return f"{stateful_set['metadata']['name'][: _LONGEST_LABEL - len(digest) - 1]}-{digest}"


def _is_current(stateful_set: Object, pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get(REVISION_LABEL) == _revision(stateful_set))


def _ordinal(stateful_set: Object, pod: Object) -> int | None:
    stem, _, number = pod["metadata"]["name"].rpartition("-")
    return int(number) if stem == stateful_set["metadata"]["name"] and number.isdecimal() else None


def _wanted(stateful_set: Object) -> int:
    return int(stateful_set["spec"].get("replicas", 1))


def _is_parallel(stateful_set: Object) -> bool:
    return bool(stateful_set["spec"].get("podManagementPolicy") == "Parallel")


def _is_ready(pod: Object) -> bool:
    return not _is_ending(pod) and not is_ended(pod) and ready_since(pod) is not None


def _is_ending(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
