"""The initial objects of a new cluster: system namespaces with their accounts, default RBAC roles.

Only missing objects are created, so a user's changes to a default role survive a restart.
Source: kube-apiserver's bootstrap policy, reduced to the groups that a local cluster serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from localcluster.server import errors
from localcluster.server.registry import Registry
from localcluster.server.types import Object

NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_RBAC: Final = "rbac.authorization.k8s.io"
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_AGGREGATE: Final = "rbac.authorization.k8s.io/aggregate-to-"

_VIEWABLE: Final[Sequence[tuple[str, list[str]]]] = (
    ("", ["configmaps", "events", "limitranges", "namespaces", "persistentvolumeclaims", "pods",
          "pods/log", "pods/status", "resourcequotas", "serviceaccounts", "services"]),
    ("apps", ["controllerrevisions", "deployments", "deployments/scale", "replicasets", "replicasets/scale",
              "statefulsets"]),
    ("batch", ["jobs", "jobs/status", "cronjobs"]),
    ("discovery.k8s.io", ["endpointslices"]),
    ("networking.k8s.io", ["networkpolicies"]),
    ("policy", ["poddisruptionbudgets"]),
)  # fmt: skip
_EDITABLE: Final[Sequence[tuple[str, list[str]]]] = (
    ("", ["configmaps", "events", "persistentvolumeclaims", "pods", "secrets", "serviceaccounts", "services"]),
    ("apps", ["deployments", "deployments/scale", "replicasets", "statefulsets"]),
    ("batch", ["jobs", "cronjobs"]),
    ("coordination.k8s.io", ["leases"]),
    ("networking.k8s.io", ["networkpolicies"]),
    ("policy", ["poddisruptionbudgets"]),
)


async def bootstrap(registry: Registry) -> None:
    """Create the objects that are missing.

    Raises:
        StatusError: the storage refused.
    """
    for name in NAMESPACES:
        await _ensure(registry, "", "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        await _ensure(registry, "", "serviceaccounts", account, name)
    for role in _cluster_roles():
        await _ensure(registry, _RBAC, "clusterroles", role)
    for binding in _cluster_role_bindings():
        await _ensure(registry, _RBAC, "clusterrolebindings", binding)


async def _ensure(registry: Registry, group: str, plural: str, obj: Object, namespace: str | None = None) -> None:
    resource = registry.find(group, "v1", plural)
    if resource is None:
        raise LookupError(f"{plural} is not a built-in resource")
    try:
        await registry.create(resource, namespace, obj)
    except errors.StatusError as error:
        if error.reason != "AlreadyExists":
            raise


def _cluster_roles() -> Iterator[Object]:
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    yield _role("cluster-admin", everything)
    documents = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ]
    yield _role("system:discovery", [{"nonResourceURLs": documents, "verbs": ["get"]}])
    public = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    yield _role("system:public-info-viewer", [{"nonResourceURLs": public, "verbs": ["get"]}])
    yield _role("system:basic-user", [
        _rule("authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
    ])  # fmt: skip
    yield _role("system:aggregate-to-view", [_rule(g, r, _READ) for g, r in _VIEWABLE], {f"{_AGGREGATE}view": "true"})
    writes = [_rule(group, resources, _WRITE) for group, resources in _EDITABLE]
    writes += [_rule("", ["secrets"], _READ), _rule("coordination.k8s.io", ["leases"], _READ)]
    writes.append(_rule("", ["serviceaccounts"], ["impersonate"]))
    yield _role("system:aggregate-to-edit", writes, {f"{_AGGREGATE}edit": "true"})
    admin = [
        _rule(_RBAC, ["roles", "rolebindings"], _READ + _WRITE),
    ]
    yield _role("system:aggregate-to-admin", admin, {f"{_AGGREGATE}admin": "true"})
    for name, parts in (("view", ["view"]), ("edit", ["view", "edit"]), ("admin", ["view", "edit", "admin"])):
        selectors = [{"matchLabels": {f"{_AGGREGATE}{part}": "true"}} for part in parts]
        yield {**_role(name, []), "aggregationRule": {"clusterRoleSelectors": selectors}}


def _cluster_role_bindings() -> Iterator[Object]:
    for role, groups in (
        ("cluster-admin", ["system:masters"]),
        ("system:discovery", ["system:authenticated"]),
        ("system:basic-user", ["system:authenticated"]),
        ("system:public-info-viewer", ["system:authenticated", "system:unauthenticated"]),
    ):
        yield {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups],
        }


def _role(name: str, rules: list[Object], labels: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **(labels or {})}},
        "rules": rules,
    }


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str]) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
