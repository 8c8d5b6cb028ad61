"""The account of a pool of warm workers and what binds rights to it, by the name of the pool alone. Pure.

The account has the name of the pool and owns all other objects of it. Source: StepRun contract 3.5;
docs/warm-workers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.api import keys
from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import CLUSTER_ROLE, LEASE, ROLE_BINDING, SERVICE_ACCOUNT, STEP_RUN, Resource
from core.workloads.story_runner import RUNNER_BASE_ROLE

COMPONENT: Final = "warm-worker"
WORKER_ROLE: Final = "bobrapet-engram-worker"
"""The ClusterRole with what a worker may do beyond a container of a Job; it has this name in every installation."""
WORKER_PERMISSIONS: Final = (
    Permission(
        STEP_RUN,
        ("list", "watch"),
        "A worker watches the StepRuns that are assigned to it, by label.",
        seldom="Only warm workers do.",
    ),
    Permission(
        LEASE,
        ("get", "create", "update", "patch"),
        "A worker renews its Lease, so that its steps do not count as lost.",
        seldom="Only warm workers do; a worker uses one of update and patch.",
    ),
)
"""The permissions of warm workers beyond those of all containers. The operator binds them, and has only the first."""


def worker_account(namespace: str, pool: str, annotations: Mapping[str, str]) -> Object:
    """The ServiceAccount of a pool."""
    account = pool_object(SERVICE_ACCOUNT, namespace, pool, pool)
    if annotations:
        account["metadata"]["annotations"] = dict(annotations)
    return account


def worker_rights(namespace: str, pool: str, account_uid: str) -> list[tuple[Resource, Object]]:
    """The bindings of the account, which it owns."""
    names = ((pool, RUNNER_BASE_ROLE), (f"{pool}-worker", WORKER_ROLE))
    return [(ROLE_BINDING, _binding(namespace, pool, name, role, account_uid)) for name, role in names]


def owned_by_account(resource: Resource, namespace: str, pool: str, name: str, account_uid: str) -> Object:
    """The beginning of an object that goes with the account of its pool."""
    made = pool_object(resource, namespace, pool, name)
    owner = {"apiVersion": SERVICE_ACCOUNT.api_version, "kind": SERVICE_ACCOUNT.kind}
    made["metadata"]["ownerReferences"] = [{**owner, "name": pool, "uid": account_uid}]
    return made


def pool_object(resource: Resource, namespace: str, pool: str, name: str) -> Object:
    """The beginning of an object of a pool: kind, name and labels."""
    metadata: Object = {"name": name, "namespace": namespace, "labels": pool_labels(pool)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def pool_labels(pool: str) -> dict[str, str]:
    """The labels of all objects of a pool."""
    return {
        keys.LABEL_APP_NAME: "bobrapet",
        keys.LABEL_APP_COMPONENT: COMPONENT,
        keys.LABEL_APP_MANAGED_BY: keys.FIELD_MANAGER,
        keys.LABEL_WORKER_POOL: pool,
    }


def _binding(namespace: str, pool: str, name: str, role: str, account_uid: str) -> Object:
    return {
        **owned_by_account(ROLE_BINDING, namespace, pool, name, account_uid),
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": role},
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": pool, "namespace": namespace}],
    }
