"""The RBAC objects of one installation of the operator, as documents. Pure.

No rule has a wildcard, and none grants ``escalate``, ``bind`` or ``impersonate``: so the API server prevents the
operator from granting more than it has. To let templates request more than ``RUNNER``, the platform's administrator
creates ClusterRoles with the label ``LABEL_RUNNER_GRANTS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from core.api.keys import LABEL_APP_NAME, LABEL_RUNNER_GRANTS
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from deployment.permissions.names import DEFAULT_INSTALLATION, Installation
from deployment.permissions.table import ROLE_TABLES, Reach, RoleTable

__all__ = [
    "DEFAULT_INSTALLATION",
    "Installation",
    "grants_objects",
    "metrics_reader",
    "operator_objects",
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
    yield from grants_objects(installation)
    yield metrics_reader(installation)


def service_account(installation: Installation) -> Object:
    return _object(SERVICE_ACCOUNT, installation.service_account, namespace=installation.namespace)


def table_objects(installation: Installation, table: RoleTable) -> Iterator[Object]:
    """The role of a table, one rule for each row, and its binding to the operator."""
    own = table.reach is Reach.OPERATOR_NAMESPACE
    namespace = installation.namespace if own else ""
    name = installation.prefix + table.name
    rules = [permission.rule() for permission in table.permissions]
    yield {**_object(ROLE if own else CLUSTER_ROLE, name, namespace=namespace), "rules": rules}
    yield _binding(installation, table.binding, name, namespace)


def grants_objects(installation: Installation) -> Iterator[Object]:
    """The role that collects the permissions that a platform team lets runs request.

    The control plane fills in its rules. The document has no rules, not even an empty list: a user who applies a list
    owns it, and gets a conflict when applying it again.
    """
    name = installation.prefix + GRANTS_ROLE
    selector = {"matchLabels": {LABEL_RUNNER_GRANTS: "true"}}
    yield {**_object(CLUSTER_ROLE, name), "aggregationRule": {"clusterRoleSelectors": [selector]}}
    yield _binding(installation, GRANTS_ROLE, name, "")


def metrics_reader(installation: Installation) -> Object:
    """The role for a metrics collector; no binding refers to it."""
    role = _object(CLUSTER_ROLE, installation.prefix + METRICS_READER)
    return {**role, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}


def _binding(installation: Installation, name: str, role: str, namespace: str) -> Object:
    kind = ROLE if namespace else CLUSTER_ROLE
    return {
        **_object(ROLE_BINDING if namespace else CLUSTER_ROLE_BINDING, installation.prefix + name, namespace=namespace),
        "roleRef": {"apiGroup": kind.group, "kind": kind.kind, "name": role},
        "subjects": [
            {
                "kind": SERVICE_ACCOUNT.kind,
                "name": installation.service_account,
                "namespace": installation.namespace,
            }
        ],
    }


def _object(resource: Resource, name: str, *, namespace: str = "") -> Object:
    metadata: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata["labels"] = {LABEL_APP_NAME: "bobrapet"}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
