"""What Deployments and Pods say of a pool and of its workers, read once for each version of an object.

A step asks for the room of its pool several times, and these objects change seldom.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from core.api import keys
from core.api.conditions import is_true
from core.api.objects import NamespacedName, Object, has_ended, is_being_deleted
from core.kube.informer import Informer
from core.kube.store import Derived
from core.workloads.worker_pool import StandingPool, standing_pool
from reconcilers.adapters.world import POOL

_MISCONFIGURED: Final = "CreateContainerConfigError"

_Pool = tuple[str, str]
"""Namespace and name."""


class WorkerFacts(NamedTuple):
    """What a Pod says of its worker."""

    name: str
    uid: str
    full_name: str
    """``namespace/name``."""
    is_there: bool
    """Whether it is a worker of the pool, and neither has ended nor is being deleted."""
    is_ready: bool
    """Whether it takes steps, as far as its Pod says: the heartbeats must say so, too."""


class PoolFacts:
    """Reads from the informers of the Deployments and Pods of pools."""

    def __init__(self, deployments: Informer, pods: Informer) -> None:
        self._deployments = deployments
        self._pods = pods
        self._standing: dict[_Pool, tuple[Object, StandingPool | None]] = {}
        """With the Deployment that says so."""
        self._workers: dict[_Pool, dict[NamespacedName, Derived[WorkerFacts]]] = {}

    def standing(self, pool: _Pool) -> StandingPool | None:
        """None: there is no such pool, or it is being deleted."""
        deployment = self._deployments.get(*pool)
        if deployment is None or is_being_deleted(deployment):
            return None
        known = self._standing.get(pool)
        if known is None or known[0] is not deployment:
            known = self._standing[pool] = (deployment, standing_pool(deployment))
        return known[1]

    def workers(self, pool: _Pool) -> Iterator[WorkerFacts]:
        """Those with a Pod."""
        namespace, name = pool
        known = self._pods.derived(POOL, f"{namespace}/{name}", _facts_of, self._workers.get(pool, {}))
        if known:
            self._workers[pool] = known
        return (each.value for each in known.values())

    def forget(self, pool: _Pool) -> None:
        """The pool is gone, or one of its Pods is."""
        self._standing.pop(pool, None)
        self._workers.pop(pool, None)


def is_of_its_pool(pod: Object) -> bool:
    """Whether the Deployment of the pool can have made the Pod: others may label theirs."""
    pool = (pod["metadata"].get("labels") or {}).get(keys.LABEL_WORKER_POOL)
    owners = pod["metadata"].get("ownerReferences") or ()
    return bool(pool) and any(
        owner.get("kind") == "ReplicaSet" and str(owner.get("name")).startswith(f"{pool}-") for owner in owners
    )


def is_misconfigured(pod: Object) -> bool:
    """Whether the kubelet cannot make its container because it lacks a Secret, a key of one, or the like."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(((each.get("state") or {}).get("waiting") or {}).get("reason") == _MISCONFIGURED for each in statuses)


def _facts_of(pod: Object) -> WorkerFacts:
    metadata, conditions = pod["metadata"], (pod.get("status") or {}).get("conditions") or ()
    is_there = not is_being_deleted(pod) and not has_ended(pod) and is_of_its_pool(pod)
    is_ready = is_there and is_true(conditions, "Ready")
    name = str(metadata["name"])
    return WorkerFacts(name, str(metadata["uid"]), f"{metadata['namespace']}/{name}", is_there, is_ready)
