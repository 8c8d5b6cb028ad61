"""The permissions of the engine and of the StoryRun controller, except list and watch. Pure data.

Both write StoryRuns and StepRuns, so the rows are for both. A controller that emits Events needs no row for them.
Source: operator contract 20.
"""

from __future__ import annotations

from typing import Final

from core.api.permission import Permission
from core.api.resource import (
    CLUSTER_ROLE,
    CONTROLLER_REVISION,
    CORE_EVENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    EVENT,
    JOB,
    POD,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
)
from core.workloads.story_runner import RUNNER_BASE_ROLE
from core.workloads.worker_access import WORKER_ROLE

FRESH: Final = "The watch may not have delivered an object yet that was created a moment ago."
OWNERS: Final = (
    "The API server checks it where the admission plugin OwnerReferencesPermissionEnforcement "
    "is on (OpenShift), as part of other requests; the operator sends no such request."
)
RACE: Final = "Only after the answer to a write was lost, or two processes created the same object at once."

_DEFINITIONS: Final = (
    Permission(STORY, ("get",), FRESH),
    Permission(ENGRAM, ("get",), FRESH),
    Permission(ENGRAM_TEMPLATE, ("get",), FRESH),
)

_RUNS: Final = (
    Permission(
        STORY_RUN,
        ("get",),
        "The operator reads a run that is missing in the watch before it gives it up, and a run without its StepRun.",
        seldom="Only when a run is deleted while its steps are running.",
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
        (
            "Sets finalizer, queue labels and step timers; removes the finalizer; cancels the child "
            "runs of a canceled run (spec.cancelRequested)."
        ),
    ),
    Permission(STORY_RUN, ("patch",), "Records the progress of a run.", subresource="status"),
    Permission(STORY_RUN, ("delete",), "Deletes runs after their retention time, and the child runs of a run."),
    Permission(
        STORY_RUN,
        ("update",),
        "StepRuns and child runs hold their run until they are gone (blockOwnerDeletion).",
        subresource="finalizers",
        seldom=OWNERS,
    ),
    Permission(
        STEP_RUN,
        ("get",),
        "Before it recreates a Job, the operator checks that the StepRun still exists; a name conflict is examined.",
    ),
    Permission(STEP_RUN, ("create",), "Every engram step of a run has one."),
    Permission(STEP_RUN, ("patch",), "Asks a step to cancel; removes a finalizer of the reference."),
    Permission(STEP_RUN, ("patch",), "Records the progress of a step.", subresource="status"),
    Permission(STEP_RUN, ("delete",), "StepRuns are deleted with their run, or after the retention time of children."),
    Permission(
        STEP_RUN,
        ("update",),
        "Jobs hold their StepRun until they are gone (blockOwnerDeletion).",
        subresource="finalizers",
        seldom=OWNERS,
    ),
)

_PINNED_STORIES: Final = (
    Permission(
        CONTROLLER_REVISION,
        ("create",),
        "A run continues with its Story as it was at the start, even if the Story is edited.",
    ),
    Permission(
        CONTROLLER_REVISION,
        ("get",),
        "Reads the stored version of the Story that a run executes.",
        seldom="Only when the operator resumes a run whose Story was edited meanwhile.",
    ),
)

_WORKLOADS: Final = (
    Permission(JOB, ("get",), "Examines a Job that has the name of a new one.", seldom=RACE),
    Permission(JOB, ("create",), "Every attempt of a step has one."),
    Permission(JOB, ("delete",), "Ends attempts that are canceled, timed out or repeated."),
    Permission(
        POD,
        ("get",),
        "Reads the output of a container without an SDK whose template says that it is in the log.",
        subresource="log",
        seldom="Only where an EngramTemplate has container.result.from: stdout.",
    ),
    Permission(
        SECRET,
        ("get",),
        (
            "Checks that the Secrets of a step exist, and reads the Secret of the store; by name, without a cache. "
            "Admission asks for the metadata of each Secret that an Engram or Impulse names, to warn if it is missing."
        ),
    ),
    Permission(
        SECRET,
        ("create",),
        (
            "Gives a step a copy of the credentials of the operator's store, where "
            "controller.storage.<provider>.credential-namespaces allows it. A copy belongs to its StepRun and "
            "is deleted with it; the operator neither changes nor deletes Secrets."
        ),
    ),
    Permission(CORE_EVENT, ("create",), "Records Events about Jobs, with labels."),
    Permission(
        CORE_EVENT,
        ("patch",),
        "Counts a labelled Event that repeats.",
        seldom="Only when the same retry text for the same step repeats within minutes.",
    ),
    Permission(EVENT, ("create",), "Records Events about all other objects."),
    Permission(
        EVENT,
        ("patch",),
        "Counts an Event that repeats instead of writing it again.",
        seldom="Only Events that repeat within minutes are counted.",
    ),
)

_PER_RUN: Final = "controller.runner-identity is run"
_ACCESS_OF_RUNS: Final = (
    Permission(
        SERVICE_ACCOUNT,
        ("create",),
        f"The containers of all runs of a Story have one account; or those of each run, where {_PER_RUN}.",
    ),
    Permission(
        SERVICE_ACCOUNT,
        ("get",),
        f"Looks for the account of a Story that the watch does not show, or of a run ({_PER_RUN}).",
    ),
    Permission(SERVICE_ACCOUNT, ("patch",), "Keeps the storage annotations that the Story requests."),
    Permission(
        CLUSTER_ROLE,
        ("bind",),
        "Gives accounts the base rights of containers, which the first of these ClusterRoles has; those of warm "
        "workers also get the rights of the second.",
        names=(RUNNER_BASE_ROLE, WORKER_ROLE),
        seldom="The API server checks it as part of other requests; the operator sends no such request.",
    ),
    Permission(
        ROLE,
        ("create",),
        f"The extra permissions that templates request; all of them, where {_PER_RUN}. Never more than this table has.",
    ),
    Permission(ROLE, ("get",), "Checks that the Role exists and belongs to the account or the run."),
    Permission(ROLE, ("patch",), "Restores it after a change by another client."),
    Permission(ROLE_BINDING, ("create",), "Binds ClusterRole or Role to the account."),
    Permission(ROLE_BINDING, ("get",), "Checks that the RoleBinding exists and belongs to the account or the run."),
    Permission(ROLE_BINDING, ("patch",), "Restores it after a change by another client."),
)

ENGINE_PERMISSIONS: Final = (*_DEFINITIONS, *_RUNS, *_PINNED_STORIES, *_WORKLOADS, *_ACCESS_OF_RUNS)
