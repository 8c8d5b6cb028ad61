"""The operator's permissions, row by row: verb, resource, reason. Pure data.

The permissions of a controller are in its registration (``reconcilers.controllers``); the others are here. The operator
has no further ones: the manifests, the reference page and the embedded cluster are rendered from here, and an
end-to-end test compares the rows with an audit log of the operator's requests.
Source: operator contract 20; the operator does not need the permissions that are missing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from certs.hub_authority import HUB_AUTHORITY_SECRET
from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from certs.rotation import DEFAULT_SECRET
from core.api.permission import Permission
from core.api.resource import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    IMPULSE,
    IMPULSE_TEMPLATE,
    LEASE,
    SECRET,
    SELF_SUBJECT_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
    TRANSPORT,
    Resource,
)
from core.workloads.hub_access import HUB_TLS_SECRET
from core.workloads.hub_key import HUB_KEY_SECRET
from core.workloads.hub_lease import HUB_LEASE
from core.workloads.impulse_access import IMPULSE_PERMISSIONS
from core.workloads.runner import RUNNER_PERMISSIONS
from deployment.permissions.names import CONFIG_NAME, LEASE_NAME, OPERATOR_NAMESPACE
from deployment.permissions.role_table import Reach, RoleTable
from reconcilers.controllers import CONTROLLERS, permissions, watched_kinds
from reconcilers.registration import ControllerRegistration

__all__ = [
    "ADMISSION",
    "CA_BUNDLES",
    "CERTIFICATES",
    "CONFIGURATION",
    "CONFIG_NAME",
    "HUB_ACCESS",
    "HUB_CERTIFICATE",
    "LEADER_ELECTION",
    "LEASE_NAME",
    "LISTENER",
    "MANAGER",
    "METRICS_AUTH",
    "OPERATOR_NAMESPACE",
    "ROLE_TABLES",
    "RUNNER",
    "Reach",
    "RoleTable",
    "role_tables",
]


_BY_NAME: Final = (
    "An Engram or Impulse may request to read some by name (spec.overrides.rbac.rules, spec.execution.rbac.rules)."
)

_ASKED_FOR_BY_ENGRAMS: Final = (Permission(CONFIG_MAP, ("get",), _BY_NAME), Permission(SECRET, ("get",), _BY_NAME))
_ASKED_FOR_BY_IMPULSES: Final = (
    Permission(
        IMPULSE,
        ("patch",),
        "An Impulse may request to change its own metadata (spec.execution.rbac.rules); a policy keeps its spec.",
        seldom="Only Impulses that request it.",
    ),
    Permission(
        IMPULSE,
        ("get",),
        "An Impulse may request to read its own status through this resource (spec.execution.rbac.rules).",
        subresource="status",
        seldom="Only Impulses that request it.",
    ),
)


MANAGER: Final = RoleTable(
    "manager-role", "manager-rolebinding", Reach.CLUSTER, "Permissions of the controllers.", permissions()
)
RUNNER: Final = RoleTable(
    "runner-role",
    "runner-rolebinding",
    Reach.RUN_NAMESPACES,
    "Permissions of the containers of runs. The operator needs them itself, because it can only grant what it has.",
    (*RUNNER_PERMISSIONS, *_ASKED_FOR_BY_ENGRAMS),
)
LISTENER: Final = RoleTable(
    "listener-role",
    "listener-rolebinding",
    Reach.IMPULSE_NAMESPACES,
    "Permissions of the containers of Impulses. The operator needs them itself, because it can only grant what it has; "
    "it grants those on Impulses for one Impulse by name.",
    (*IMPULSE_PERMISSIONS, *_ASKED_FOR_BY_IMPULSES),
)
METRICS_AUTH: Final = RoleTable(
    "metrics-auth-role",
    "metrics-auth-rolebinding",
    Reach.CLUSTER,
    "Decides who may read the metrics. Not needed with --metrics-secure=false.",
    (
        Permission(TOKEN_REVIEW, ("create",), "Identifies the user of a token that requests /metrics."),
        Permission(SUBJECT_ACCESS_REVIEW, ("create",), "Checks that RBAC allows this user get on /metrics."),
    ),
)
LEADER_ELECTION: Final = RoleTable(
    "leader-election-role",
    "leader-election-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "Decides which manager is the leader. Not needed with --leader-elect=false.",
    (
        Permission(LEASE, ("create",), "The first manager creates the Lease."),
        Permission(LEASE, ("get", "update"), "The leader renews it, the others read it.", names=(LEASE_NAME,)),
    ),
)
CONFIGURATION: Final = RoleTable(
    "configuration-role",
    "configuration-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The operator's settings.",
    (Permission(CONFIG_MAP, ("list", "watch"), "Settings change while the operator runs.", names=(CONFIG_NAME,)),),
)
HUB_ACCESS: Final = RoleTable(
    "hub-access-role",
    "hub-access-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The key with which the operator and its hub recognise the containers of realtime steps, the hub's authority, and "
    "whether the hub is alive.",
    (
        Permission(
            SECRET,
            ("create",),
            "A manager creates the Secret with the key when it is missing.",
            seldom="Once in the life of an installation.",
        ),
        Permission(
            SECRET,
            ("list", "watch"),
            "Keys and authorities are replaced while the operator runs.",
            names=(HUB_KEY_SECRET, HUB_TLS_SECRET),
        ),
        Permission(
            LEASE,
            ("list", "watch"),
            "The hub renews it; when that ends, what it has reported about streams counts no more.",
            names=(HUB_LEASE,),
        ),
        Permission(
            LEASE,
            ("get",),
            "It is read before the hub counts as lost: the watch may be late.",
            names=(HUB_LEASE,),
            seldom="Only when the hub is silent.",
        ),
    ),
)
_OWN_CERTIFICATE: Final = "Only where the operator answers admission reviews, with a certificate of its own."
_HUB_CERTIFICATE: Final = "Only where the containers of realtime steps reach the hub by TLS."
_REVIEWS: Final = "Only where the operator answers admission reviews."
_NAMED: Final = "Stories, Impulses and bindings refer to them; admission checks these references from its watches."
_WATCHED: Final = frozenset(kind.resource for kind in watched_kinds())
ADMISSION: Final = RoleTable(
    "admission-role",
    "admission-rolebinding",
    Reach.CLUSTER,
    "Objects that only admission reads, in addition to those that the controllers read.",
    (
        *(
            Permission(resource, ("list", "watch"), _NAMED, seldom=_REVIEWS)
            for resource in (TRANSPORT, IMPULSE_TEMPLATE)
            if resource not in _WATCHED
        ),
        Permission(
            SELF_SUBJECT_REVIEW,
            ("create",),
            "Finds its own user name, to recognise its own writes; most clusters allow this to all users.",
            seldom=_REVIEWS,
        ),
    ),
)


def _on_trust_bundles(resource: Resource) -> tuple[Permission, ...]:
    """The permissions on objects with a CA bundle, which says which certificates an API server trusts."""
    names = tuple(target.name for target in DEFAULT_TARGETS if target.resource == resource)
    return (
        Permission(
            resource, ("get", "patch"), "Writes its caBundle when it differs.", names=names, seldom=_OWN_CERTIFICATE
        ),
        Permission(
            resource,
            ("list", "watch"),
            "Repairs a change by another client at once.",
            names=names,
            seldom=_OWN_CERTIFICATE,
        ),
    )


CERTIFICATES: Final = RoleTable(
    "certificates-role",
    "certificates-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The Secret with the operator's own certificates. Not needed where another component provides them.",
    (
        Permission(SECRET, ("create",), "The first manager creates the Secret.", seldom=_OWN_CERTIFICATE),
        Permission(
            SECRET,
            ("get", "update"),
            "All replicas use the certificates in it.",
            names=(DEFAULT_SECRET,),
            seldom=_OWN_CERTIFICATE,
        ),
        Permission(
            SECRET, ("list", "watch"), "Reacts to changes at once.", names=(DEFAULT_SECRET,), seldom=_OWN_CERTIFICATE
        ),
    ),
)
CA_BUNDLES: Final = RoleTable(
    "ca-bundle-role",
    "ca-bundle-rolebinding",
    Reach.CLUSTER,
    "Makes API servers trust the operator's certificate. Not needed where another component provides the certificates.",
    (*_on_trust_bundles(MUTATING), *_on_trust_bundles(VALIDATING), *_on_trust_bundles(CUSTOM_RESOURCE_DEFINITION)),
)


HUB_CERTIFICATE: Final = RoleTable(
    "hub-certificate-role",
    "hub-certificate-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The Secrets with the authority of the hub, and with the certificate that the hub may read.",
    (
        Permission(SECRET, ("create",), "The first manager creates them.", seldom=_HUB_CERTIFICATE),
        Permission(
            SECRET,
            ("get", "update", "list", "watch"),
            "Keeps the authority, and renews the certificate.",
            names=(HUB_AUTHORITY_SECRET, HUB_TLS_SECRET),
            seldom=_HUB_CERTIFICATE,
        ),
    ),
)


def role_tables(controllers: Sequence[ControllerRegistration] = CONTROLLERS) -> tuple[RoleTable, ...]:
    """All roles of an operator with these controllers."""
    others = (
        *(RUNNER, LISTENER, METRICS_AUTH, LEADER_ELECTION, CONFIGURATION),
        *(HUB_ACCESS, ADMISSION, CERTIFICATES, CA_BUNDLES, HUB_CERTIFICATE),
    )
    return (replace(MANAGER, permissions=permissions(controllers)), *others)


ROLE_TABLES: Final = role_tables()
"""All permissions of the operator's ServiceAccount, except those that a platform team adds for runs."""
