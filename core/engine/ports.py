"""All the engine knows of the world: four small protocols and the frozen records that cross them.

Production adapters live in ``reconcilers.adapters`` (an API server behind informers), in-memory ones beside the fuzz
suite. Every method is safe to call again with the same arguments: a caller that lost the answer repeats the question.
Reads are never older than this process's own writes. Errors are those of ``core.engine.errors``.

Objects are wire dicts. ``run`` and ``step_run`` arguments carry the ``uid`` and ``resourceVersion`` the decision was
based on; every write sends both as preconditions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from core.api.objects import Object
from core.api.phases import Reason
from core.policy.retry import RetryPolicy


class RunKey(NamedTuple):
    """Which StoryRun: a name; the UID tells incarnations apart and travels inside the object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class RunStore(Protocol):
    """StoryRuns and Stories, as stored."""

    async def read_run(self, key: RunKey) -> Object | None:
        """The StoryRun, or None when there is none."""

    async def read_run_anew(self, key: RunKey) -> Object | None:
        """As the API server has it at this moment, whatever this process has heard.

        Raises:
            UnavailableError.
        """

    async def read_story(self, namespace: str, name: str) -> Object | None:
        """The Story, or None when there is none (yet)."""

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into ``status``; returns the object as stored.

        Raises:
            StaleError: ``run`` is not the newest version.
            GoneError: the run is gone, or another of that name.
            UnavailableError, RejectedError.
        """

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into ``metadata`` (labels, annotations, finalizers); same errors as ``patch_run_status``."""

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        """Create the StoryRun that a step of ``run`` starts, or return the existing one that ``run`` controls.

        Raises:
            NameConflictError: somebody else's StoryRun has the name, or it is of another Story or other inputs.
            MissingReferenceError, RejectedError: admission refused it.
        """

    async def child_runs(self, run: Object) -> list[Object]:
        """Every StoryRun controlled by this run's UID, newest knowledge."""

    async def request_cancel(self, run: Object) -> None:
        """Set ``spec.cancelRequested`` of a StoryRun; absent, terminal or asked already is success."""

    async def delete_child_run(self, run: Object) -> None:
        """Delete a StoryRun with a UID precondition, Background. Absent is success."""

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        """Every StoryRun of that Story which has not ended and is not being deleted, newest knowledge."""

    async def pin_story(self, story: Object) -> str:
        """Keep the Story as it stands now for runs that begin with it; the name of what keeps it.

        The same Story, unchanged, gives the same name, and is stored once.
        """

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        """What ``pin_story`` kept, or None when it is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What an engram step stands for at this moment: its Engram, its template and the resolved policy."""

    engram_namespace: str
    engram_name: str
    engram_version: str
    """``engramRef.version``, else the Engram's ``spec.version``, else empty."""
    template_name: str
    template_generation: int
    default_with: Mapping[str, Any] | None
    """The Engram's ``spec.with``: the base that the step's own ``with`` is merged over."""
    retry_spec: Mapping[str, Any] | None
    """``StepRun.spec.retry`` as it is to be written: step, else story default, gaps filled by the template."""
    retry: RetryPolicy
    timeout: timedelta
    max_inline_size_bytes: int
    """Bound of the merged, unresolved input; zero or less means unlimited."""
    input_schema: Mapping[str, Any] | None
    output_schema: Mapping[str, Any] | None
    declared_output_keys: frozenset[str] | None
    policy: Any
    """The adapter's own resolved execution policy; the engine hands it back untouched in ``AttemptOrder``."""


@dataclass(frozen=True, slots=True)
class AttemptOrder:
    """Everything one attempt of a step is started with."""

    run: Object
    story: Object
    step: Mapping[str, Any]
    """The step as declared in the Story."""
    step_run: Object
    binding: Binding
    attempt: int
    """0 for the first attempt, then ``status.retries``."""
    inputs: Mapping[str, Any]
    """``BUBU_TRIGGER_DATA`` and ``BUBU_STEP_CONFIG``. Resolved, unless they look into data in object storage, of which
    the operator has none: then the container does that."""
    template_context: Mapping[str, Any]
    """``BUBU_TEMPLATE_CONTEXT``: ``{"inputs": …, "steps": …}``."""
    deadline_at: datetime
    """Aware UTC; stored on the Job, so that a restart awaits the same instant."""
    is_resolved: bool = True
    """Whether ``inputs`` are data: nobody may evaluate them again."""
    outlives_cancel: bool = False
    """Whether it is to run although its run has been asked to end: it cleans up."""


class AttemptState(StrEnum):
    """What is left of, or running for, the current attempt of a StepRun."""

    ABSENT = "absent"
    """No Job, and no Pod of an earlier attempt that may still run: an attempt may start."""
    LINGERING = "lingering"
    """No Job of the current attempt, but Pods of an earlier one may still run: wait."""
    STARTING = "starting"
    """The Job exists; no container has started."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """The engram container ended with 0."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Observation:
    """One consistent look at a step: its StepRun and the first trustworthy word on its current attempt.

    The word is the Pod's terminal container state when there is one, else the Job's condition. What the SDK wrote is in
    ``step_run["status"]``. Which of both counts is the engine's decision (core.engine.step.outcome).
    """

    step_run: Object | None
    """None: it does not exist (never created, or deleted by somebody)."""
    state: AttemptState = AttemptState.ABSENT
    attempt: int | None = None
    """The attempt the Job was started for; None when there is no Job."""
    exit_code: int | None = None
    """Of the container named ``engram`` in the newest Pod of this Job; None when undetermined."""
    reason: str = ""
    """``OOMKilled``, ``Evicted``, ``DeadlineExceeded``, ``ImagePullBackOff``, … as the platform words it."""
    message: str = ""
    deadline_at: datetime | None = None
    """As stored on the Job by ``start_attempt``."""
    podless_since: datetime | None = None
    """When the Job was created, as long as it has no Pod at all."""
    job_uid: str | None = None
    pod_name: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class StepExecutor(Protocol):
    """StepRuns and what executes them. Wakes the engine through ``Supervisor.wake``; never calls it otherwise."""

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Ensure what every container of the run needs: its ServiceAccount, Role and RoleBinding. Idempotent."""

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        """Resolve an engram step's references and policy.

        Raises:
            MissingReferenceError: with ``EngramReferenceInvalid``, ``ReferenceNotFound`` or ``TemplateNotFound``.
            RejectedError: the resolved policy is invalid.
        """

    async def step_runs(self, run: Object) -> list[Object]:
        """Every StepRun controlled by this run's UID, newest knowledge, without its input and output."""

    def whole_step_runs(self, run: Object) -> Iterator[Object]:
        """The same with all they have, one at a time: they may be large. Do not wait in between."""

    async def create_step_run(self, run: Object, manifest: Object, again: bool = False) -> Object:
        """Create the StepRun, or return the existing one that this run controls with the same ``spec.stepId``.

        ``again``: there has been one, which may have gone for a reason that this process has not heard of.

        Raises:
            StaleError: the run is not any more what ``run`` says; which is asked when there has been one. Or the
                existing one stands for other work than ``manifest``: look at it.
            NameConflictError: somebody else's StepRun has the name.
            RejectedError: admission refused it.
        """

    async def start_attempt(self, order: AttemptOrder) -> None:
        """Ensure the Job of ``order.attempt`` exists; a Job of that attempt that exists already is left alone.

        Raises:
            MissingReferenceError: a Secret it needs is missing.
            RejectedError: the API server refuses the Job; ``InputTooLarge`` when it is too big.
            StaleError: a Job of another attempt is still there, ``end_earlier_attempt`` first; or another leader has
                ended the StepRun, or its run, or brought it to another attempt, or the run was asked to end, which
                this one knows from now on.
            GoneError: the StepRun, or its run, is gone or on its way out.
        """

    async def observe(self, run: Object, step_run_name: str) -> Observation:
        """One look; never waits."""

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``status``; errors as ``RunStore.patch_run_status``."""

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``metadata``; errors as ``RunStore.patch_run_status``."""

    async def end_attempt(self, step_run: Object) -> None:
        """Delete the Job of this StepRun (UID precondition, Background, pods get their grace). Absent is success.

        Raises:
            StaleError: the Job is of a later attempt than ``step_run`` knows of.
        """

    async def end_earlier_attempt(self, step_run: Object) -> None:
        """Like ``end_attempt``, but a Job of the attempt that ``step_run`` is at stays: another leader's, already."""

    async def end_leftover(self, step_run: Object) -> None:
        """Like ``end_attempt``, for a step whose end is recorded: a Job that has ended stays, with its Pods and logs.

        Asks the API server, as what is known of Jobs and Pods may be older than the record of the end.
        """

    async def delete_step_run(self, step_run: Object) -> None:
        """Delete with a UID precondition, Background. Absent is success."""

    async def occupants(self) -> list[Object]:
        """Every StepRun of the cluster that has not ended, by a consistent read: what the limits already count."""


class Payloads(Protocol):
    """What steps have put into object storage."""

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int) -> Any:
        """``value`` with every storage reference in it replaced by what it names, references in that, too.

        Args:
            namespace: the run's; nothing of others is read.
            field: JSON path of ``value``, for messages.
            depth: how deep values may be nested, references followed.
        Raises:
            NoStoreError: the operator has none.
            RejectedError: a reference is malformed, names what may not be read or is not there, or is too large.
            StorageUnavailableError: the store does not answer, or not to us.
        """


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


class EventSink(Protocol):
    """Kubernetes Events; never blocks, never fails, aggregates repeats."""

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None: ...


class Clock(Protocol):
    """Wall time, and the only way to wait for it."""

    def now(self) -> datetime:
        """The current instant, aware UTC."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once ``now() >= instant``, at once if it already is; follows steps of the wall clock."""

    async def wait_until(self, instant: datetime, wake: Callable[[], Awaitable[None]]) -> bool:
        """Return when ``wake`` does, with True, or once ``now() >= instant``, with False.

        ``wake`` may be cancelled and called again in between.
        """


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed, as it is written to ``stepStates`` and ``status.error``."""

    reason: Reason
    message: str
    offloaded: bool = False
    """Its cause is data in object storage, which the operator cannot read; a container may be able to."""
