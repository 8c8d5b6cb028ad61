"""The permissions for realtime steps, except list and watch. Pure data.

What runs a listener runs a realtime step, too: a Deployment, a StatefulSet, a Service; its rows are combined with those
of Impulses. Secrets are only created: each token has a Secret of its own, which goes with its
StepRun. The authority of the hub is in a ConfigMap with one name, so that the operator may change no other.
Source: operator contract 20.
"""

from __future__ import annotations

from typing import Final

from core.api.permission import Permission
from core.api.resource import (
    CONFIG_MAP,
    DEPLOYMENT,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    TRANSPORT,
    TRANSPORT_BINDING,
)
from core.workloads.stream_credentials import AUTHORITY_CONFIG_MAP
from reconcilers.adapters.permissions import FRESH, RACE

_STALE: Final = "Only when a run was started again before the objects of its former steps were collected."

STREAM_PERMISSIONS: Final = (
    Permission(TRANSPORT, ("get",), FRESH),
    Permission(TRANSPORT_BINDING, ("create",), "Registers a realtime step and its containers with the hub."),
    Permission(
        TRANSPORT_BINDING,
        ("get",),
        "Looks for the binding of a step that was started or ended a moment ago.",
        seldom=RACE,
    ),
    Permission(TRANSPORT_BINDING, ("patch",), "Admits the container of a retry, and records how a step ends."),
    Permission(
        TRANSPORT_BINDING, ("delete",), "Removes one that an earlier step of the same name has left.", seldom=_STALE
    ),
    Permission(SECRET, ("create",), "Gives the container of a realtime step its token for the hub."),
    Permission(CONFIG_MAP, ("create",), "Gives a namespace with realtime steps the authority of the hub."),
    Permission(
        CONFIG_MAP,
        ("get", "patch"),
        "Keeps this ConfigMap as it must be when the authority changes.",
        names=(AUTHORITY_CONFIG_MAP,),
        seldom="The authority changes once in years.",
    ),
    Permission(DEPLOYMENT, ("create",), "Runs a realtime step."),
    Permission(DEPLOYMENT, ("get",), "Looks for the workload of a step that was started a moment ago.", seldom=RACE),
    Permission(DEPLOYMENT, ("delete",), "Ends a realtime step."),
    Permission(STATEFUL_SET, ("create",), "Runs a realtime step."),
    Permission(STATEFUL_SET, ("get",), "Looks for the workload of a step that was started a moment ago.", seldom=RACE),
    Permission(STATEFUL_SET, ("delete",), "Ends a realtime step."),
    Permission(SERVICE, ("create",), "Routes requests to the ports of a realtime step."),
    Permission(SERVICE, ("get",), "Examines a Service that has the name of a new one.", seldom=RACE),
    Permission(SERVICE, ("delete",), "Removes one that an earlier step of the same name has left.", seldom=_STALE),
)
