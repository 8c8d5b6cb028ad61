"""Whether this user may do what the commands do, in the namespace of the command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.doctor.access import Wanted, denied
from cli.doctor.context import DoctorContext
from core.api.resource import ENGRAM, EVENT, JOB, POD, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from views.doctor.diagnosis import Diagnosis, listed, ok, warning

_NEEDED: Final[tuple[tuple[str, str, tuple[tuple[str, Resource, str], ...]], ...]] = (
    (
        "list, get, watch, why",
        "view",
        (
            *(("get", STORY_RUN, ""), ("list", STORY_RUN, ""), ("watch", STORY_RUN, "")),
            *(("list", STEP_RUN, ""), ("get", STORY, "")),
        ),
    ),
    ("why and timeline in full", "view", (("list", POD, ""), ("list", JOB, ""), ("list", EVENT, ""))),
    ("logs", "view", (("list", POD, ""), ("get", POD, "log"))),
    ("submit, resubmit", "edit", (("create", STORY_RUN, ""),)),
    ("trigger", "edit", (("create", STORY_TRIGGER, ""),)),
    ("cancel, retry", "edit", (("patch", STORY_RUN, ""),)),
    ("approve, reject", "bobrapet-gate-approver-role", (("patch", STORY_RUN, "status"),)),
    ("run (applies Stories and Engrams)", "edit", (("patch", STORY, ""), ("patch", ENGRAM, ""))),
)
"""Commands, a ClusterRole that has their permissions, and the permissions."""


def wanted_in(namespace: str) -> list[Wanted]:
    """Everything that commands need in a namespace, each once."""
    return list(dict.fromkeys(each for _, _, rows in _NEEDED for each in _wanted(rows, namespace)))


def diagnoses_of(missing: Sequence[Wanted], namespace: str, user: str) -> list[Diagnosis]:
    """One answer for each role that would help: the commands that do not work without it, and why."""
    lacking: dict[str, tuple[list[str], list[str]]] = {}
    for commands, role, rows in _NEEDED:
        without = [str(each) for each in _wanted(rows, namespace) if each in missing]
        if without:
            lacking.setdefault(role, ([], []))[0].append(commands)
            lacking[role][1].extend(without)
    who = user or "USER"
    found = [
        warning(
            f"in namespace {namespace} you cannot use {', '.join(commands)}: you may not {listed(without)}",
            "an administrator can bind a role",
            f"kubectl create rolebinding {who}-{role} --clusterrole={role} --user={who} --namespace={namespace}",
        )
        for role, (commands, without) in lacking.items()
    ]
    return found or [ok(f"you may do everything that the commands do, in namespace {namespace}")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    namespace = context.session.namespace
    missing = await denied(context.client, wanted_in(namespace))
    return diagnoses_of(missing, namespace, context.session.options.as_user)


def _wanted(rows: Sequence[tuple[str, Resource, str]], namespace: str) -> list[Wanted]:
    return [
        Wanted(verb, resource.group, f"{resource.plural}/{subresource}" if subresource else resource.plural, namespace)
        for verb, resource, subresource in rows
    ]
