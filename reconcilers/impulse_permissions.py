"""The permissions of the controller of Impulses, except list and watch. Pure data. Source: operator contract 20."""

from __future__ import annotations

from typing import Final

from core.api.permission import Permission
from core.api.resource import (
    DEPLOYMENT,
    IMPULSE,
    IMPULSE_TEMPLATE,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    STORY,
)
from reconcilers.adapters.permissions import FRESH, OWNERS, RACE

IMPULSE_CONTROLLER_PERMISSIONS: Final = (
    Permission(IMPULSE, ("get",), "Before it creates a workload, the operator checks that its Impulse still exists."),
    Permission(
        IMPULSE, ("patch",), "The operator writes the state of the listener and its counters.", subresource="status"
    ),
    Permission(
        IMPULSE,
        ("update",),
        "The objects of an Impulse hold it until they are gone (blockOwnerDeletion).",
        subresource="finalizers",
        seldom=OWNERS,
    ),
    Permission(IMPULSE_TEMPLATE, ("get",), FRESH),
    Permission(STORY, ("get",), FRESH),
    Permission(DEPLOYMENT, ("create",), "Runs the listener of an Impulse."),
    Permission(DEPLOYMENT, ("get",), "Examines a Deployment that has the name of a new one.", seldom=RACE),
    Permission(DEPLOYMENT, ("patch",), "Rolls out a changed listener; suspends and resumes it."),
    Permission(DEPLOYMENT, ("delete",), "Ends the listener of an earlier mode or template."),
    Permission(STATEFUL_SET, ("create",), "Runs the listener of an Impulse."),
    Permission(STATEFUL_SET, ("get",), "Examines a StatefulSet that has the name of a new one.", seldom=RACE),
    Permission(STATEFUL_SET, ("patch",), "Rolls out a changed listener; suspends and resumes it."),
    Permission(STATEFUL_SET, ("delete",), "Ends the listener of an earlier mode or template."),
    Permission(SERVICE, ("create",), "Routes requests to the ports of a listener."),
    Permission(SERVICE, ("get",), "Examines a Service that has the name of a new one.", seldom=RACE),
    Permission(SERVICE, ("patch",), "Keeps ports, labels and annotations as template and Impulse want them."),
    Permission(SERVICE, ("delete",), "Removes a Service of its own that is no longer wanted."),
    Permission(SERVICE_ACCOUNT, ("create",), "The container of each Impulse has a ServiceAccount of its own."),
)
