"""RBAC documents of one role or ServiceAccount. Pure; fast to import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from core.api.keys import LABEL_APP_NAME
from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from deployment.permissions.names import OPERATOR_ACCOUNT, Installation
from deployment.permissions.role_table import Reach, RoleTable


def service_account(installation: Installation, account: str = OPERATOR_ACCOUNT) -> Object:
    return rbac_object(SERVICE_ACCOUNT, installation.account(account), namespace=installation.namespace)


def table_objects(installation: Installation, table: RoleTable) -> Iterator[Object]:
    """The role of a table, one rule for each row, and its binding to the account."""
    own = table.reach is Reach.OPERATOR_NAMESPACE
    namespace = installation.namespace if own else ""
    name = installation.prefix + table.name
    rules = [_named(installation, permission).rule() for permission in table.permissions]
    yield {**rbac_object(ROLE if own else CLUSTER_ROLE, name, namespace=namespace), "rules": rules}
    yield role_binding(installation, table.binding, name, namespace, table.account)


def _named(installation: Installation, permission: Permission) -> Permission:
    return replace(permission, names=tuple(map(installation.named, permission.names)))


def role_binding(
    installation: Installation, name: str, role: str, namespace: str, account: str = OPERATOR_ACCOUNT
) -> Object:
    kind = ROLE if namespace else CLUSTER_ROLE
    return {
        **rbac_object(
            ROLE_BINDING if namespace else CLUSTER_ROLE_BINDING, installation.prefix + name, namespace=namespace
        ),
        "roleRef": {"apiGroup": kind.group, "kind": kind.kind, "name": role},
        "subjects": [
            {
                "kind": SERVICE_ACCOUNT.kind,
                "name": installation.account(account),
                "namespace": installation.namespace,
            }
        ],
    }


def rbac_object(resource: Resource, name: str, *, namespace: str = "") -> Object:
    metadata: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata["labels"] = {LABEL_APP_NAME: "bobrapet"}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
