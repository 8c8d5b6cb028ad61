"""All the engine knows of the world: small protocols and the frozen records that cross them.

A step has a StepRun, which ``StepRuns`` stores, and a ``Binding``, which says what it stands for. What carries its
attempts out is an ``AttemptExecutor``; there may be several, and each StepRun says in ``spec.executor`` which is its.

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
from typing import Any, Final, NamedTuple, Protocol

from core.api.objects import Object
from core.api.phases import Reason
from core.policy.retry import RetryPolicy

JOB: Final = "job"
"""The executor that makes a Kubernetes Job of each attempt; also that of StepRuns that name none."""
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
"""``Observation.reason`` of an attempt that the executor's platform has ended because its time was over."""


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
    executor: str
    """Name of the executor for a StepRun that is made now. One that exists keeps the executor it was made with."""


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
    """Aware UTC; the executor stores it with the attempt, so that a restart awaits the same instant."""
    is_resolved: bool = True
    """Whether ``inputs`` are data: nobody may evaluate them again."""
    outlives_cancel: bool = False
    """Whether it is to run although its run has been asked to end: it cleans up."""


class AttemptState(StrEnum):
    """How the current attempt of a StepRun stands, or what is left of an earlier one."""

    ABSENT = "absent"
    """The current attempt has not been started, and nothing is at work for an earlier one: it may start."""
    LINGERING = "lingering"
    """The current attempt has not been started, or is being ended, and something may still be at work: wait."""
    STARTING = "starting"
    """It has been started; nothing works on it yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """What worked on it ended with 0."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Observation:
    """One consistent look at a step: its StepRun and its executor's first trustworthy word on the current attempt.

    What the step itself has reported is in ``step_run["status"]``. Which of both counts is the engine's decision
    (core.engine.step.outcome).
    """

    step_run: Object | None
    """None: it does not exist (never created, or deleted by somebody)."""
    state: AttemptState = AttemptState.ABSENT
    attempt: int | None = None
    """Number of the attempt that has been started last; None when nothing is left of it, or it is being ended."""
    exit_code: int | None = None
    """How what worked on it ended, as processes do; None when undetermined."""
    reason: str = ""
    """Why it failed or does not start, as the executor's platform words it: ``OOMKilled``, ``ImagePullBackOff``, …

    ``DEADLINE_EXCEEDED`` is the engine's word, too.
    """
    message: str = ""
    deadline_at: datetime | None = None
    """When its time is over, as ``start_attempt`` has stored it."""
    waiting_since: datetime | None = None
    """Since when it waits for anything to take it up, as long as nothing has; ``reason`` and ``message`` say for what.

    That is ordinary for a few seconds.
    """
    worker: str = ""
    """What works on it, as the executor calls that, a Pod for example; empty when that is not known."""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What a StepRun says of the attempt that was started last (``core.engine.step.record.attempt_of``)."""

    number: int
    executor: str
    """Name of who carries it out."""
    deadline_at: datetime | None = None
    worker: str = ""
    """Which of the executor's workers it is assigned to, where the executor assigns attempts."""


class Bindings(Protocol):
    """What engram steps stand for."""

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        """Resolve an engram step's references and policy.

        Raises:
            MissingReferenceError: with ``EngramReferenceInvalid``, ``ReferenceNotFound`` or ``TemplateNotFound``.
            RejectedError: the resolved policy is invalid.
        """


class StepRuns(Protocol):
    """StepRuns, as stored, whoever carries them out."""

    async def read_step_run(self, run: Object, name: str) -> Object | None:
        """The StepRun of that name, if this run controls it; newest knowledge."""

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

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``status``; errors as ``RunStore.patch_run_status``."""

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``metadata``; errors as ``RunStore.patch_run_status``."""

    async def delete_step_run(self, step_run: Object) -> None:
        """Delete with a UID precondition, Background. Absent is success."""

    async def occupants(self) -> list[Object]:
        """Every StepRun of the cluster that has not ended, by a consistent read: what the limits already count."""


class AttemptExecutor(Protocol):
    """One way to carry out attempts. Wakes the engine through ``Supervisor.wake``; never calls it otherwise.

    The engine calls the executor that the StepRun names, from the first attempt to the end, also when the Engram is
    bound to another one by then. How an attempt ends that is told to is the executor's: it gets some time to stop.
    """

    @property
    def name(self) -> str:
        """What stands in ``spec.executor``."""

    @property
    def starts_by_record(self) -> bool:
        """Whether ``start_attempt`` itself writes ``core.engine.step.record.running_patch`` to the StepRun.

        Else the engine writes it: before a retry, and soon after a first attempt has been started.
        """

    async def prepare_run(self, run: Object, story: Object) -> None:
        """Ensure what it needs for every attempt of the run, for example a ServiceAccount with its rights. Idempotent.

        Raises:
            RejectedError: it never can be had.
        """

    async def start_attempt(self, order: AttemptOrder) -> None:
        """Ensure that ``order.attempt`` is started; one that is already is left alone.

        Raises:
            MissingReferenceError: a Secret it needs is missing.
            RejectedError: it cannot be started like that; ``InputTooLarge`` when its input is too big.
            StaleError: another attempt is still there, ``end_earlier_attempt`` first; or another leader has ended the
                StepRun, or its run, or brought it to another attempt, or the run was asked to end, which this one
                knows from now on.
            GoneError: the StepRun, or its run, is gone or on its way out.
        """

    async def observe(self, step_run: Object) -> Observation:
        """One look at a StepRun of this executor; never waits."""

    def lingers(self, namespace: str, step_run_name: str) -> bool:
        """Whether something may be at work for a StepRun of that name, the one that is there or one that is gone."""

    async def end_attempt(self, step_run: Object) -> None:
        """Tell the attempt of this StepRun to end. That nothing is at work is success.

        Before, the StepRun has been recorded as ended, or marked as told to end, or will be deleted next.

        Raises:
            StaleError: there is a later attempt than ``step_run`` knows of.
        """

    async def end_earlier_attempt(self, step_run: Object) -> None:
        """Like ``end_attempt``, but the attempt that ``step_run`` is at goes on: another leader has started it."""

    async def end_leftover(self, step_run: Object) -> None:
        """Like ``end_attempt``, for a step whose end is recorded: of an attempt that has ended, logs and such stay.

        Asks anew, as what is known of the attempt may be older than the record of the end.
        """


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
