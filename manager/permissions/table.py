"""The operator's rights, row by row: verb, resource, why. Pure data.

Those of a controller are in its registration (``reconcilers.controllers``); the others are here. Nothing else grants it
anything: the manifests, the reference page and the embedded cluster are rendered from here, and an end-to-end test
compares the rows with an audit log of what the operator really asked for.
Source: operator contract 20; what is missing here compared with it, the operator does not do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from certs.rotation import DEFAULT_SECRET
from core.api.permission import Permission
from core.api.resource import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    IMPULSE_TEMPLATE,
    LEASE,
    SECRET,
    SELF_SUBJECT_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
    TRANSPORT,
    Resource,
)
from core.workloads.runner import RUNNER_PERMISSIONS
from manager.permissions.names import CONFIG_NAME, LEASE_NAME, OPERATOR_NAMESPACE
from reconcilers.controllers import CONTROLLERS, permissions, watched_kinds
from reconcilers.registration import ControllerRegistration

__all__ = [
    "ADMISSION",
    "CA_BUNDLES",
    "CERTIFICATES",
    "CONFIGURATION",
    "CONFIG_NAME",
    "LEADER_ELECTION",
    "LEASE_NAME",
    "MANAGER",
    "METRICS_AUTH",
    "OPERATOR_NAMESPACE",
    "ROLE_TABLES",
    "RUNNER",
    "Reach",
    "RoleTable",
    "role_tables",
]


class Reach(StrEnum):
    """Where a role applies."""

    CLUSTER = "every namespace"
    OPERATOR_NAMESPACE = "the operator's namespace"
    RUN_NAMESPACES = "every namespace, to be handed on to a run's containers"


@dataclass(frozen=True, slots=True)
class RoleTable:
    """One role of the operator's ServiceAccount. ``name`` lacks the installation's prefix."""

    name: str
    binding: str
    reach: Reach
    purpose: str
    permissions: tuple[Permission, ...]


_BY_NAME: Final = "An Engram may ask to read some by name (spec.overrides.rbac.rules)."

_ASKED_FOR_BY_ENGRAMS: Final = (Permission(CONFIG_MAP, ("get",), _BY_NAME), Permission(SECRET, ("get",), _BY_NAME))


MANAGER: Final = RoleTable(
    "manager-role", "manager-rolebinding", Reach.CLUSTER, "What the controllers do.", permissions()
)
RUNNER: Final = RoleTable(
    "runner-role",
    "runner-rolebinding",
    Reach.RUN_NAMESPACES,
    "What a run's containers may do. The operator holds it because nobody can grant what he does not hold.",
    (*RUNNER_PERMISSIONS, *_ASKED_FOR_BY_ENGRAMS),
)
METRICS_AUTH: Final = RoleTable(
    "metrics-auth-role",
    "metrics-auth-rolebinding",
    Reach.CLUSTER,
    "Who may read the metrics. Not needed with --metrics-secure=false.",
    (
        Permission(TOKEN_REVIEW, ("create",), "Whose token asks for /metrics."),
        Permission(SUBJECT_ACCESS_REVIEW, ("create",), "Whether RBAC allows that caller get on /metrics."),
    ),
)
LEADER_ELECTION: Final = RoleTable(
    "leader-election-role",
    "leader-election-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "Which of several managers works. Not needed with --leader-elect=false.",
    (
        Permission(LEASE, ("create",), "The first manager makes the Lease."),
        Permission(LEASE, ("get", "update"), "Its holder renews it, others look at it.", names=(LEASE_NAME,)),
    ),
)
CONFIGURATION: Final = RoleTable(
    "configuration-role",
    "configuration-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The operator's settings.",
    (Permission(CONFIG_MAP, ("list", "watch"), "Settings change while the operator runs.", names=(CONFIG_NAME,)),),
)
_GATE: Final = "Only where the operator answers admission reviews, with a certificate of its own."
_REVIEWS: Final = "Only where the operator answers admission reviews."
_NAMED: Final = "Stories, Impulses and bindings name them; whether they do rightly is answered from what was watched."
_WATCHED: Final = frozenset(kind.resource for kind in watched_kinds())
ADMISSION: Final = RoleTable(
    "admission-role",
    "admission-rolebinding",
    Reach.CLUSTER,
    "What admission reviews are answered from, beside what the controllers read anyway.",
    (
        *(
            Permission(resource, ("list", "watch"), _NAMED, seldom=_REVIEWS)
            for resource in (TRANSPORT, IMPULSE_TEMPLATE)
            if resource not in _WATCHED
        ),
        Permission(
            SELF_SUBJECT_REVIEW,
            ("create",),
            "Which writes are its own; most clusters allow it to all.",
            seldom=_REVIEWS,
        ),
    ),
)


def _told(resource: Resource) -> tuple[Permission, ...]:
    """The rights on one object that says whom an API server trusts when it calls us."""
    names = tuple(target.name for target in DEFAULT_TARGETS if target.resource == resource)
    return (
        Permission(resource, ("get", "patch"), "Its caBundle is written when it differs.", names=names, seldom=_GATE),
        Permission(resource, ("list", "watch"), "What somebody changes is mended at once.", names=names, seldom=_GATE),
    )


CERTIFICATES: Final = RoleTable(
    "certificates-role",
    "certificates-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The Secret with the operator's own certificates. Not needed where somebody else provides them.",
    (
        Permission(SECRET, ("create",), "The first manager makes the Secret.", seldom=_GATE),
        Permission(SECRET, ("get", "update"), "Replicas agree through it.", names=(DEFAULT_SECRET,), seldom=_GATE),
        Permission(
            SECRET, ("list", "watch"), "What happens to it is answered at once.", names=(DEFAULT_SECRET,), seldom=_GATE
        ),
    ),
)
CA_BUNDLES: Final = RoleTable(
    "ca-bundle-role",
    "ca-bundle-rolebinding",
    Reach.CLUSTER,
    "Whom API servers trust when they call the operator. Not needed where somebody else provides the certificates.",
    (*_told(MUTATING), *_told(VALIDATING), *_told(CUSTOM_RESOURCE_DEFINITION)),
)


def role_tables(controllers: Sequence[ControllerRegistration] = CONTROLLERS) -> tuple[RoleTable, ...]:
    """All roles of an operator with these controllers."""
    others = (RUNNER, METRICS_AUTH, LEADER_ELECTION, CONFIGURATION, ADMISSION, CERTIFICATES, CA_BUNDLES)
    return (replace(MANAGER, permissions=permissions(controllers)), *others)


ROLE_TABLES: Final = role_tables()
"""Every right of the operator's ServiceAccount, but those that a platform team adds to be handed on."""
