"""What the engine and the StoryRun controller ask an API server for, beside list and watch. Pure data.

Both write StoryRuns and StepRuns, so the rows are those of both. A controller that emits Events needs no row for them.
Source: operator contract 20.
"""

from __future__ import annotations

from typing import Final

from core.api.permission import Permission
from core.api.resource import (
    CONTROLLER_REVISION,
    CORE_EVENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    EVENT,
    JOB,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
)

FRESH: Final = "One that was created a moment ago may not have come with the watch yet."
_OWNERS: Final = (
    "Checked where the admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift), and then as part of "
    "other requests, never as a request of its own."
)
_RACE: Final = "Only after the answer to a write was lost, or two processes made the same object at once."

_DEFINITIONS: Final = (
    Permission(STORY, ("get",), FRESH),
    Permission(ENGRAM, ("get",), FRESH),
    Permission(ENGRAM_TEMPLATE, ("get",), FRESH),
)

_RUNS: Final = (
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
    Permission(CONTROLLER_REVISION, ("create",), "A run goes on with its Story as it was, whatever is edited."),
    Permission(
        CONTROLLER_REVISION,
        ("get",),
        "What such a run executes.",
        seldom="Only when a run is taken up again whose Story was edited meanwhile.",
    ),
)

_WORKLOADS: Final = (
    Permission(JOB, ("get",), "What stands in the way of a new Job is looked at.", seldom=_RACE),
    Permission(JOB, ("create",), "Every attempt of a step is one."),
    Permission(JOB, ("delete",), "Ends attempts that are canceled, timed out or to be repeated."),
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

ENGINE_PERMISSIONS: Final = (*_DEFINITIONS, *_RUNS, *_PINNED_STORIES, *_WORKLOADS, *_ACCESS_OF_RUNS)
