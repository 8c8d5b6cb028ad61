"""The RBAC objects of one installation of the operator, as documents. Pure.

No rule has a wildcard, and none grants ``escalate`` or ``impersonate``; ``bind`` is granted for two ClusterRoles by
name: the base rights of containers, which the operator has itself, and the rights of warm workers. So the API server
prevents the operator from granting more than it has, except those. To let templates
request more than ``RUNNER``, the platform's administrator creates ClusterRoles with the label ``LABEL_RUNNER_GRANTS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from core.api.keys import LABEL_RUNNER_GRANTS
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE
from core.workloads.runner import BASE_RULES
from core.workloads.story_runner import RUNNER_BASE_ROLE
from core.workloads.worker_access import WORKER_PERMISSIONS, WORKER_ROLE
from deployment.permissions.documents import rbac_object, role_binding, service_account, table_objects
from deployment.permissions.names import DEFAULT_INSTALLATION, Installation
from deployment.permissions.role_table import RoleTable
from deployment.permissions.table import ROLE_TABLES

__all__ = [
    "DEFAULT_INSTALLATION",
    "Installation",
    "grants_objects",
    "metrics_reader",
    "operator_objects",
    "runner_base_role",
    "service_account",
    "table_objects",
]

GRANTS_ROLE: Final = "runner-grants"
METRICS_READER: Final = "metrics-reader"


def operator_objects(
    installation: Installation = DEFAULT_INSTALLATION, tables: Iterable[RoleTable] = ROLE_TABLES
) -> Iterator[Object]:
    """ServiceAccount, roles and bindings, in the order in which they can be applied."""
    yield service_account(installation)
    for table in tables:
        yield from table_objects(installation, table)
    yield runner_base_role()
    yield worker_role()
    yield from grants_objects(installation)
    yield metrics_reader(installation)


def runner_base_role() -> Object:
    """The base rights of the containers of runs, which the operator binds to their accounts; here nothing binds it."""
    return {**rbac_object(CLUSTER_ROLE, RUNNER_BASE_ROLE), "rules": [dict(rule) for rule in BASE_RULES]}


def worker_role() -> Object:
    """What warm workers may do beyond that; the operator binds it to the accounts of pools, here nothing does."""
    return {**rbac_object(CLUSTER_ROLE, WORKER_ROLE), "rules": [dict(each.rule()) for each in WORKER_PERMISSIONS]}


def grants_objects(installation: Installation) -> Iterator[Object]:
    """The role that collects the permissions that a platform team lets runs request.

    The control plane fills in its rules. The document has no rules, not even an empty list: a user who applies a list
    owns it, and gets a conflict when applying it again.
    """
    name = installation.prefix + GRANTS_ROLE
    selector = {"matchLabels": {LABEL_RUNNER_GRANTS: "true"}}
    yield {**rbac_object(CLUSTER_ROLE, name), "aggregationRule": {"clusterRoleSelectors": [selector]}}
    yield role_binding(installation, GRANTS_ROLE, name, "")


def metrics_reader(installation: Installation) -> Object:
    """The role for a metrics collector; no binding refers to it."""
    role = rbac_object(CLUSTER_ROLE, installation.prefix + METRICS_READER)
    return {**role, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}
