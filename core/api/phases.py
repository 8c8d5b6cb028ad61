"""Phases, reasons, exit classes and condition types: the values in every status.

Source: StoryRun contract section 2, StepRun contract sections 4 and 17.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Final, TypeVar


class Phase(StrEnum):
    """The CRD-validated phase enum shared by StoryRun, StepRun and ``stepStates``."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    FINISHED = "Finished"
    CANCELED = "Canceled"
    COMPENSATED = "Compensated"
    PAUSED = "Paused"
    BLOCKED = "Blocked"
    SCHEDULING = "Scheduling"
    TIMEOUT = "Timeout"
    ABORTED = "Aborted"
    SKIPPED = "Skipped"

    @property
    def terminal(self) -> bool:
        """Whether the phase is final: only a redrive leaves a terminal phase."""
        return self in TERMINAL_PHASES

    @property
    def failing(self) -> bool:
        """Terminal and neither ``Succeeded`` nor ``Skipped``: a failed step, unless it is allowed to fail."""
        return self.terminal and self not in (Phase.SUCCEEDED, Phase.SKIPPED)


REPORTED_PHASES: Final = (
    Phase.PENDING,
    Phase.RUNNING,
    Phase.PAUSED,
    Phase.SUCCEEDED,
    Phase.FAILED,
    Phase.CANCELED,
    Phase.TIMEOUT,
    Phase.ABORTED,
)
"""The phases that the SDK in a step's container writes (SDK contract 13.4); the operator decides whether a step is
skipped.
"""

TERMINAL_PHASES: Final = frozenset(
    {
        Phase.SUCCEEDED,
        Phase.FAILED,
        Phase.FINISHED,
        Phase.CANCELED,
        Phase.COMPENSATED,
        Phase.TIMEOUT,
        Phase.ABORTED,
        Phase.SKIPPED,
    }
)


class Reason(StrEnum):
    """Machine-readable reasons of conditions, ``error.type`` and Events of runs."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    BLOCKED = "Blocked"
    SCHEDULED = "Scheduled"
    COMPLETED = "Completed"
    SKIPPED = "Skipped"
    CANCELED = "Canceled"
    COMPENSATED = "Compensated"
    TIMED_OUT = "TimedOut"
    RECONCILING = "Reconciling"
    STARTING_EXECUTION = "StartingExecution"
    STORY_NOT_FOUND = "StoryNotFound"
    STORY_REFERENCE_INVALID = "StoryReferenceInvalid"
    ENGRAM_REFERENCE_INVALID = "EngramReferenceInvalid"
    TRANSPORT_REFERENCE_INVALID = "TransportReferenceInvalid"
    REFERENCE_NOT_FOUND = "ReferenceNotFound"
    INPUT_TOO_LARGE = "InputTooLarge"
    VALIDATION_FAILED = "ValidationFailed"
    INPUT_SCHEMA_FAILED = "InputSchemaFailed"
    OUTPUT_SCHEMA_FAILED = "OutputSchemaFailed"
    OUTPUT_RESOLUTION_FAILED = "OutputResolutionFailed"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    DEPENDENCY_FAILED = "DependencyFailed"
    COMPENSATION_FAILED = "CompensationFailed"
    CLEANUP_FAILED = "CleanupFailed"
    EXECUTION_FAILED = "ExecutionFailed"
    EXPRESSION_FAILED = "ExpressionFailed"
    RETRY_SCHEDULED = "RetryScheduled"
    TRANSPORT_READY = "TransportReady"
    AWAITING_TRANSPORT = "AwaitingTransport"
    TRANSPORT_FAILED = "TransportFailed"
    TOPOLOGY_TERMINATED = "TopologyTerminated"
    """Of ``Degraded``, written by others: the streams of the run are to end."""
    # Extensions, not in the reference.
    NAME_CONFLICT = "NameConflict"
    ENGINE_ERROR = "EngineError"
    STOPPED = "Stopped"
    PERMISSION_DENIED = "PermissionDenied"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    QUEUED = "Queued"
    REDRIVE_INVALID = "RedriveInvalid"
    SUB_STORY_RUN_SPOOFED = "SubStoryRunSpoofed"
    ITERATIONS_EXHAUSTED = "IterationsExhausted"
    OUTPUT_TOO_LARGE = "OutputTooLarge"
    """The output of a container without an SDK does not fit into the status."""
    TOPOLOGY_DEGRADED = "TopologyDegraded"
    """Of ``Degraded``: no stream of the run has been connected for a while."""
    UNREADABLE = "Unreadable"
    """A part of an object is too deep, too large or damaged, so its content is unknown."""
    RESTORED = "Restored"
    """A backup has brought the object back, so it is unknown what has happened since."""


class ImpulseReason(StrEnum):
    """Machine-readable reasons of Impulses, in addition to ``Reason``: of their condition, and of Events.

    Source: Trigger contract 6.7; those without a counterpart in the reference are extensions.
    """

    READY = "DeploymentReady"
    """Also of a StatefulSet."""
    TEMPLATE_NOT_FOUND = "TemplateNotFound"
    SERVICE_FAILED = "ServiceReconcileFailed"
    DEPLOYMENT_FAILED = "DeploymentReconcileFailed"
    STATEFUL_SET_FAILED = "StatefulSetReconcileFailed"
    UNSUPPORTED_MODE = "UnsupportedWorkloadMode"
    INVALID_SERVICE_NAME = "InvalidServiceName"
    CUSTOM_ACCOUNT = "CustomServiceAccount"
    # Extensions, not in the reference.
    ACCESS_FAILED = "AccessReconcileFailed"
    SUSPENDED = "Suspended"
    RULE_REFUSED = "RuleRefused"
    POLICY_ENFORCED = "PolicyEnforced"


class StepReason(StrEnum):
    """Machine-readable reasons of ``stepStates`` entries, in addition to ``Reason``; an extension.

    The entry of a step whose container waits for something else has the reason that the kubelet reports.
    """

    # For steps that have ended.
    CONDITION_FALSE = "ConditionFalse"
    """Skipped because of its ``if``."""
    NOT_DECIDED = "NotDecided"
    """Skipped: a ``gate`` with ``onTimeout: skip`` that no user approved or rejected in time."""
    RUN_ENDED = "RunEnded"
    """Ended or skipped because its run, or its list of steps, was ended."""
    # For running steps.
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    WAITING_FOR_CONDITION = "WaitingForCondition"
    SLEEPING = "Sleeping"
    WAITING_FOR_EVALUATION = "WaitingForEvaluation"
    # For steps that wait for a definition; ``reasonSince`` has the start of the wait.
    ENGRAM_NOT_FOUND = "EngramNotFound"
    TEMPLATE_NOT_FOUND = "TemplateNotFound"
    ENGRAM_VERSION_MISMATCH = "EngramVersionMismatch"
    """The Engram has another version than the step asks for."""
    REFERENCE_NOT_GRANTED = "ReferenceNotGranted"
    """No ReferenceGrant allows the reference to the Engram of another namespace."""
    TRANSPORT_NOT_FOUND = "TransportNotFound"
    # For steps whose container cannot start; ``reasonSince`` has the start of the problem.
    IMAGE_NOT_PULLED = "ImageNotPulled"
    CONTAINER_NOT_CREATED = "ContainerNotCreated"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    CONTAINER_FAILS_AGAIN = "ContainerFailsAgain"
    UNSCHEDULABLE = "Unschedulable"
    NO_POD = "NoPod"
    EARLIER_ATTEMPT_ENDS = "EarlierAttemptEnds"
    AWAITING_WORKER = "AwaitingWorker"
    """No warm worker has room."""
    BINDING_THROTTLED = "BindingThrottled"
    """A realtime step waits until its TransportBinding may be written."""


AWAITED_DEFINITIONS: Final = frozenset(
    {
        StepReason.ENGRAM_NOT_FOUND,
        StepReason.TEMPLATE_NOT_FOUND,
        StepReason.ENGRAM_VERSION_MISMATCH,
        StepReason.REFERENCE_NOT_GRANTED,
        StepReason.TRANSPORT_NOT_FOUND,
    }
)
"""Reasons of a step that waits for a definition."""


DEFAULT_REASONS: Final[dict[Phase, Reason]] = {
    Phase.PENDING: Reason.PENDING,
    Phase.RUNNING: Reason.RUNNING,
    Phase.PAUSED: Reason.PAUSED,
    Phase.BLOCKED: Reason.BLOCKED,
    Phase.SCHEDULING: Reason.SCHEDULED,
    Phase.TIMEOUT: Reason.TIMED_OUT,
    Phase.SKIPPED: Reason.SKIPPED,
    Phase.COMPENSATED: Reason.COMPENSATED,
    Phase.CANCELED: Reason.CANCELED,
    Phase.FINISHED: Reason.CANCELED,
    Phase.ABORTED: Reason.CANCELED,
    Phase.SUCCEEDED: Reason.COMPLETED,
    Phase.FAILED: Reason.EXECUTION_FAILED,
}
"""The reason for a phase when no more exact one is known."""


class ConditionType(StrEnum):
    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    TEMPLATE_RESOLVED = "TemplateResolved"
    TRANSPORT_READY = "TransportReady"
    LIVE_RUN = "LiveRun"
    """An extension, of Stories that are always on: whether the run is alive."""
    REDRIVE = "Redrive"
    """An extension: ``False`` when a redrive request could not be met."""


class LiveReason(StrEnum):
    """Machine-readable reasons of the condition ``LiveRun`` of a Story that is always on; an extension."""

    RUNNING = "LiveRunRunning"
    ENDING = "LiveRunEnding"
    """The run is canceled or deleted, and the streams drain."""
    RESTARTING = "LiveRunRestarting"
    """The run has failed; the next one starts after a pause."""
    FINISHED = "LiveRunFinished"
    """The sources have finished: the Story rests."""
    CANCELED = "LiveRunCanceled"
    """A person has canceled the run: the Story rests."""
    NOT_STARTED = "LiveRunNotStarted"
    """The Story has errors."""
    CONFLICT = "LiveRunNameConflict"
    REFUSED = "LiveRunRefused"
    """The API server refuses the run."""


class ExitClass(StrEnum):
    """The meaning of an exit code for retries (StepRun contract 17.3)."""

    SUCCESS = "success"
    RETRY = "retry"
    TERMINAL = "terminal"
    RATE_LIMITED = "rateLimited"
    UNKNOWN = "unknown"

    @property
    def retryable(self) -> bool:
        return self in (ExitClass.RETRY, ExitClass.RATE_LIMITED, ExitClass.UNKNOWN)


class ErrorType(StrEnum):
    """The type of a structured error that an SDK reports (SDK contract 14)."""

    TIMEOUT = "timeout"
    STORAGE = "storage_error"
    SERIALIZATION = "serialization_error"
    VALIDATION = "validation_error"
    INITIALIZATION = "initialization_error"
    EXECUTION = "execution_error"
    UNKNOWN = "unknown"


_E = TypeVar("_E", bound=StrEnum)


def member_or_none(enum: type[_E], word: object) -> _E | None:
    """The member with the value ``word``, or None."""
    return _by_word(enum).get(word) if isinstance(word, str) else None


@cache
def _by_word(enum: type[_E]) -> dict[str, _E]:
    return {member.value: member for member in enum}
