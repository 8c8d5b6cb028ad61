"""How a Deployment moves from its old ReplicaSets to the new one. Pure; kube-controller-manager's rules.

Supported: RollingUpdate with maxSurge and maxUnavailable, Recreate, pause, revision history, progress deadline.
Not supported: proportional scaling of several ReplicaSets during a rollout. A new size applies to the new ReplicaSet.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from localcluster.clock import to_time
from localcluster.controllers.replicas import REPLICA_FAILURE, failure_of

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_ALPHABET = "456789bcdf"
"""A digit of a hash is written as one of these, as the Deployment controller does."""
_DEFAULT_DEADLINE_SECONDS, _DEFAULT_HISTORY = 600, 10


@dataclass(frozen=True, slots=True)
class Scale:
    """Give ``replica_set`` this many replicas."""

    replica_set: Object
    replicas: int


def template_hash(template: Object) -> str:
    """Ten characters that identify a Pod template; equal templates have equal hashes."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def new_replica_set(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The ReplicaSet for the current template of the Deployment, if it exists."""
    wanted = deployment["spec"]["template"]
    matching = [candidate for candidate in sets if _template_of(candidate) == wanted]
    return min(matching, key=lambda candidate: candidate["metadata"]["creationTimestamp"], default=None)


def replica_set_for(deployment: Object, sets: Sequence[Object], owner: Object) -> Object:
    """The manifest of the ReplicaSet for the current template of the Deployment, with 0 replicas."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    name_hash = template_hash(spec["template"])
    template_metadata = spec["template"].get("metadata") or {}
    labels = {**(template_metadata.get("labels") or {}), HASH_LABEL: name_hash}
    match_labels = {**(spec["selector"].get("matchLabels") or {}), HASH_LABEL: name_hash}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{name_hash}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {REVISION: str(next_revision(sets))},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": spec.get("minReadySeconds") or 0,
            "selector": {**spec["selector"], "matchLabels": match_labels},
            "template": {**spec["template"], "metadata": {**template_metadata, "labels": labels}},
        },
    }


def next_revision(sets: Sequence[Object]) -> int:
    return max((revision_of(replica_set) for replica_set in sets), default=0) + 1


def revision_of(replica_set: Object) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def scaling(deployment: Object, current: Object, old: Sequence[Object]) -> list[Scale]:
    """The next sizes; empty if no size has to change, or if Pods have to end first."""
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    live = [replica_set for replica_set in old if _replicas(replica_set)]
    if spec.get("paused"):
        return [Scale(current, wanted)] if not live and _replicas(current) != wanted else []
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        if live:
            return [Scale(replica_set, 0) for replica_set in live]
        if any(_count(replica_set, "replicas") for replica_set in old):
            return []  # their Pods have to end first
        return [Scale(current, wanted)] if _replicas(current) != wanted else []
    surge, unavailable = _tolerances(deployment)
    steps = []
    total = sum(_replicas(replica_set) for replica_set in (current, *live))
    if _replicas(current) > wanted:
        steps.append(Scale(current, wanted))
    elif _replicas(current) < wanted and total < wanted + surge:
        steps.append(Scale(current, min(wanted, _replicas(current) + wanted + surge - total)))
    return steps + _shrink_old(current, live, total, wanted - unavailable)


def deployment_status(deployment: Object, current: Object | None, sets: Sequence[Object], now: datetime) -> Object:
    """The Deployment's status: counts and conditions."""
    spec, previous = deployment["spec"], deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    total = sum(_count(replica_set, "replicas") for replica_set in sets)
    available = sum(_count(replica_set, "availableReplicas") for replica_set in sets)
    updated = _count(current, "replicas") if current else 0
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": sum(_count(replica_set, "readyReplicas") for replica_set in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(max(total, wanted) - available, 0),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 1)}
    status |= {name: count for name, count in counts.items() if count}
    enough = available >= wanted - _tolerances(deployment)[1]
    complete = updated == wanted and total == wanted and available == wanted
    conditions = previous.get("conditions") or []
    status["conditions"] = [
        _available(enough, conditions, now),
        _progressing(deployment, current, complete, counts, conditions, now),
    ]
    failure = failure_of((current or {}).get("status") or {})
    if failure is not None:
        reason, message = failure["reason"], failure["message"]
        status["conditions"].append(_condition(REPLICA_FAILURE, True, reason, message, conditions, now))
    return status


def obsolete(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Idle old ReplicaSets beyond the revision history limit, oldest first."""
    limit = deployment["spec"].get("revisionHistoryLimit", _DEFAULT_HISTORY)
    idle = [entry for entry in old if not _replicas(entry) and not _count(entry, "replicas")]
    return sorted(idle, key=revision_of)[: max(len(idle) - limit, 0)]


def _shrink_old(current: Object, live: Sequence[Object], total: int, minimum: int) -> list[Scale]:
    """Scale old ReplicaSets down as far as ``minimum`` Pods stay available; unavailable Pods go first."""
    new_unavailable = max(_replicas(current) - _count(current, "availableReplicas"), 0)
    budget = total - minimum - new_unavailable
    steps: dict[str, Scale] = {}
    for replica_set in sorted(live, key=revision_of):
        sick = max(_replicas(replica_set) - _count(replica_set, "availableReplicas"), 0)
        taken = min(sick, max(budget, 0))
        if taken:
            budget -= taken
            steps[replica_set["metadata"]["uid"]] = Scale(replica_set, _replicas(replica_set) - taken)
    available = sum(_count(replica_set, "availableReplicas") for replica_set in (current, *live))
    spare = min(available - minimum, budget)
    for replica_set in sorted(live, key=revision_of):
        size = (
            steps[replica_set["metadata"]["uid"]].replicas
            if replica_set["metadata"]["uid"] in steps
            else _replicas(replica_set)
        )
        taken = min(size, max(spare, 0))
        if taken:
            spare -= taken
            steps[replica_set["metadata"]["uid"]] = Scale(replica_set, size - taken)
    return list(steps.values())


def _tolerances(deployment: Object) -> tuple[int, int]:
    """maxSurge and maxUnavailable as numbers of Pods."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, 0
    rolling, wanted = strategy.get("rollingUpdate") or {}, spec.get("replicas", 1)
    surge = _share(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    unavailable = min(_share(rolling.get("maxUnavailable", "25%"), wanted, math.floor), wanted)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _share(value: int | str, whole: int, rounded: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(whole * int(value[:-1]) / 100))
    return int(value)


def _template_of(replica_set: Object) -> Object:
    template = replica_set["spec"]["template"]
    metadata = template.get("metadata") or {}
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _replicas(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 0))


def _count(replica_set: Object, name: str) -> int:
    return int((replica_set.get("status") or {}).get(name) or 0)


def _available(enough: bool, conditions: Sequence[Object], now: datetime) -> Object:
    word = "has" if enough else "does not have"
    reason = f"MinimumReplicas{'Available' if enough else 'Unavailable'}"
    return _condition("Available", enough, reason, f"Deployment {word} minimum availability.", conditions, now)


def _progressing(
    deployment: Object,
    current: Object | None,
    complete: bool,
    counts: Object,
    conditions: Sequence[Object],
    now: datetime,
) -> Object:
    name = f'ReplicaSet "{current["metadata"]["name"]}"' if current else "The ReplicaSet"
    if complete:
        text = f"{name} has successfully progressed."
        return _condition("Progressing", True, "NewReplicaSetAvailable", text, conditions, now)
    known = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    deadline = timedelta(seconds=deployment["spec"].get("progressDeadlineSeconds", _DEFAULT_DEADLINE_SECONDS))
    before = deployment.get("status") or {}
    moved = any(
        int(before.get(count) or 0) != value for count, value in counts.items() if count != "unavailableReplicas"
    )
    if known and not moved and known.get("reason") != "NewReplicaSetAvailable":
        if now - datetime.fromisoformat(known["lastUpdateTime"]) > deadline:
            text = f"{name} has timed out progressing."
            return _condition("Progressing", False, "ProgressDeadlineExceeded", text, conditions, now)
        return known
    return _condition("Progressing", True, "ReplicaSetUpdated", f"{name} is progressing.", conditions, now)


def _condition(
    kind: str, holds: bool, reason: str, message: str, conditions: Sequence[Object], now: datetime
) -> Object:
    value = "True" if holds else "False"
    moves = reason == "ReplicaSetUpdated"  # then lastUpdateTime says when the rollout last made progress
    known = next((entry for entry in conditions if entry["type"] == kind), None)
    if known and (known["status"], known["reason"], known["message"]) == (value, reason, message) and not moves:
        return known
    same = known is not None and known["status"] == value
    since = known["lastTransitionTime"] if same and known else to_time(now)
    times = {"lastUpdateTime": to_time(now), "lastTransitionTime": since}
    return {"type": kind, "status": value, **times, "reason": reason, "message": message}
