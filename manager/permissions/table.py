"""The operator's rights, row by row: verb, resource, why. Pure data.

Nothing else grants it anything: the manifests, the reference page and the embedded cluster are rendered from here, and
an end-to-end test compares the rows with an audit log of what the operator really asked for.
Source: operator contract 20; what is missing here compared with it, the operator does not do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from certs.rotation import DEFAULT_SECRET
from core.api.permission import Permission
from core.api.resource import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    CORE_EVENT,
    CUSTOM_RESOURCE_DEFINITION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    EVENT,
    IMPULSE_TEMPLATE,
    JOB,
    LEASE,
    POD,
    REFERENCE_GRANT,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SELF_SUBJECT_REVIEW,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    SUBJECT_ACCESS_REVIEW,
    TOKEN_REVIEW,
    TRANSPORT,
    Resource,
)
from core.workloads.runner import RUNNER_PERMISSIONS

OPERATOR_NAMESPACE: Final = "bobrapet-system"
CONFIG_NAME: Final = "bobrapet-operator-config"
LEASE_NAME: Final = "d3a8b358.bubustack.io"

_FRESH: Final = "One that was created a moment ago may not have come with the watch yet."
_LIVE: Final = "Everything is decided from what the watches have brought; nothing is polled."
_COUNTS: Final = "Validity and usage counts are shown in the status."
_OWNERS: Final = (
    "Checked where the admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift), and then as part of "
    "other requests, never as a request of its own."
)
_RACE: Final = "Only after the answer to a write was lost, or two processes made the same object at once."


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


_DEFINITIONS: Final = (
    Permission(STORY, ("list", "watch"), _LIVE),
    Permission(STORY, ("get",), _FRESH),
    Permission(STORY, ("patch",), "Takes off the finalizer that an operator of the reference has set."),
    Permission(STORY, ("patch",), _COUNTS, subresource="status"),
    Permission(ENGRAM, ("list", "watch"), _LIVE),
    Permission(ENGRAM, ("get",), _FRESH),
    Permission(ENGRAM, ("patch",), _COUNTS, subresource="status"),
    Permission(ENGRAM_TEMPLATE, ("list", "watch"), _LIVE),
    Permission(ENGRAM_TEMPLATE, ("get",), _FRESH),
    Permission(ENGRAM_TEMPLATE, ("patch",), _COUNTS, subresource="status"),
    Permission(REFERENCE_GRANT, ("list", "watch"), "Says which namespaces may refer to which."),
)

_RUNS: Final = (
    Permission(STORY_RUN, ("list", "watch"), _LIVE),
    Permission(
        STORY_RUN,
        ("get",),
        "A run that the watch does not show is asked for before it is given up; so is one that loses its StepRun.",
        seldom="Only when a run is deleted while its steps are at work.",
    ),
    Permission(
        STORY_RUN,
        ("create",),
        "A step of type executeStory starts one.",
        seldom="Only where Stories run other Stories.",
    ),
    Permission(
        STORY_RUN,
        ("patch",),
        "Sets finalizer, queue labels and step timers; takes the finalizer off; asks runs that a canceled run has "
        "started to cancel (spec.cancelRequested).",
    ),
    Permission(STORY_RUN, ("patch",), "Records how far a run is.", subresource="status"),
    Permission(STORY_RUN, ("delete",), "Removes runs whose retention is over, and those that a run has started."),
    Permission(
        STORY_RUN,
        ("update",),
        "StepRuns and child runs hold their run until they are gone (blockOwnerDeletion).",
        subresource="finalizers",
        seldom=_OWNERS,
    ),
    Permission(STEP_RUN, ("list", "watch"), _LIVE),
    Permission(
        STEP_RUN, ("get",), "One whose Job is started anew must still be there; what is in a new one's way is seen."
    ),
    Permission(STEP_RUN, ("create",), "Every engram step of a run is one."),
    Permission(STEP_RUN, ("patch",), "Tells a step that it is canceled; takes off a finalizer of the reference."),
    Permission(STEP_RUN, ("patch",), "Records how far a step is.", subresource="status"),
    Permission(STEP_RUN, ("delete",), "They go with their run, or when its children's time is over."),
    Permission(
        STEP_RUN,
        ("update",),
        "Jobs hold their StepRun until they are gone (blockOwnerDeletion).",
        subresource="finalizers",
        seldom=_OWNERS,
    ),
)

_PINNED_STORIES: Final = (
    Permission(
        CONTROLLER_REVISION,
        ("list", "watch"),
        "Which Stories are kept as runs began with them; only those labelled as ours are listed.",
    ),
    Permission(CONTROLLER_REVISION, ("create",), "A run goes on with its Story as it was, whatever is edited."),
    Permission(
        CONTROLLER_REVISION,
        ("get",),
        "What such a run executes.",
        seldom="Only when a run is taken up again whose Story was edited meanwhile.",
    ),
    Permission(
        CONTROLLER_REVISION,
        ("delete",),
        "They go when no run needs them any more.",
        seldom="Only ten minutes after a Story was edited or deleted.",
    ),
)

_WORKLOADS: Final = (
    Permission(JOB, ("list", "watch"), "Only those labelled as ours are listed."),
    Permission(JOB, ("get",), "What stands in the way of a new Job is looked at.", seldom=_RACE),
    Permission(JOB, ("create",), "Every attempt of a step is one."),
    Permission(JOB, ("delete",), "Ends attempts that are canceled, timed out or to be repeated."),
    Permission(POD, ("list", "watch"), "The end of a container is a step's result; only Pods of steps are listed."),
    Permission(
        SECRET,
        ("get",),
        "Whether the Secrets that a step needs exist, and what that of the store holds; by name, none is cached.",
    ),
    Permission(
        SECRET,
        ("create",),
        "Gives a step a copy of the credentials of the operator's store, where controller.storage.s3."
        "credential-namespaces lets it. Copies belong to their StepRun and go with it; none is changed or deleted.",
    ),
    Permission(CORE_EVENT, ("create",), "What happens to Jobs is told in labelled Events."),
    Permission(
        CORE_EVENT,
        ("patch",),
        "Counts a labelled Event that repeats.",
        seldom="The same retry text for the same step must come twice within minutes.",
    ),
    Permission(EVENT, ("create",), "What happens to everything else is told in Events."),
    Permission(
        EVENT,
        ("patch",),
        "Counts an Event that repeats instead of writing it again.",
        seldom="Only Events that repeat within minutes are counted.",
    ),
)

_ACCESS_OF_RUNS: Final = (
    Permission(SERVICE_ACCOUNT, ("create",), "The containers of each run have an account of their own."),
    Permission(SERVICE_ACCOUNT, ("get",), "Whether that account is there and the run's own."),
    Permission(SERVICE_ACCOUNT, ("patch",), "Keeps its storage annotations as the Story asks."),
    Permission(ROLE, ("create",), "What those containers may do; never more than this table holds."),
    Permission(ROLE, ("get",), "Whether that Role is there and the run's own."),
    Permission(ROLE, ("patch",), "Restores it when somebody changed it."),
    Permission(ROLE_BINDING, ("create",), "Binds that Role to that account."),
    Permission(ROLE_BINDING, ("get",), "Whether that RoleBinding is there and the run's own."),
    Permission(ROLE_BINDING, ("patch",), "Restores it when somebody changed it."),
)

_BY_NAME: Final = "An Engram may ask to read some by name (spec.overrides.rbac.rules)."

_ASKED_FOR_BY_ENGRAMS: Final = (Permission(CONFIG_MAP, ("get",), _BY_NAME), Permission(SECRET, ("get",), _BY_NAME))

MANAGER: Final = RoleTable(
    "manager-role",
    "manager-rolebinding",
    Reach.CLUSTER,
    "What the controllers do.",
    (*_DEFINITIONS, *_RUNS, *_PINNED_STORIES, *_WORKLOADS, *_ACCESS_OF_RUNS),
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
ADMISSION: Final = RoleTable(
    "admission-role",
    "admission-rolebinding",
    Reach.CLUSTER,
    "What admission reviews are answered from, beside what the controllers read anyway.",
    (
        Permission(TRANSPORT, ("list", "watch"), _NAMED, seldom=_REVIEWS),
        Permission(IMPULSE_TEMPLATE, ("list", "watch"), _NAMED, seldom=_REVIEWS),
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

ROLE_TABLES: Final = (
    MANAGER,
    RUNNER,
    METRICS_AUTH,
    LEADER_ELECTION,
    CONFIGURATION,
    ADMISSION,
    CERTIFICATES,
    CA_BUNDLES,
)
"""Every right of the operator's ServiceAccount, but those that a platform team adds to be handed on."""
