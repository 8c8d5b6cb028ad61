"""All that the engine knows of the world: small protocols and the frozen records that they exchange.

An Engram step has a StepRun, which ``StepRuns`` stores, and a ``Binding``, its resolved Engram, template and policy. An
``AttemptExecutor`` carries out its attempts (``core.engine.executor_port``).

The production adapters are in ``reconcilers.adapters`` (an API server behind informers), the in-memory adapters beside
the fuzz suite. Every method may be called again with the same arguments: a caller that lost the answer calls again. A
read is never older than this process's own writes. Errors are those of ``core.engine.errors``.

Objects are wire dicts. ``run`` and ``step_run`` arguments carry the ``uid`` and ``resourceVersion`` that the decision
was based on; every write sends both as preconditions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from core.api.objects import NamespacedName, Object
from core.api.phases import ExitClass, Phase, Reason
from core.policy.retry import RetryPolicy
from core.policy.timing import TimeoutChoice

JOB: Final = "job"
"""The executor that creates a Kubernetes Job for each attempt. A StepRun that names no executor belongs to this one."""
STREAM: Final = "stream"
"""The executor that keeps a workload alive for each step of a realtime Story; an attempt is the life of one workload.

Its attempts have no deadline unless the step declares one, and end only when their worker has finished, has failed too
often, or is asked to end.
"""
WORKER: Final = "worker"
"""The executor that assigns attempts to workers that always run. Its only record and its only signal is the StepRun
(``core.engine.step.assignment``).
"""
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
"""``Observation.reason`` of an attempt that the executor's platform has ended because its deadline had passed."""


class RunStore(Protocol):
    """StoryRuns and Stories, as they are stored."""

    async def read_run(self, key: NamespacedName) -> Object | None:
        """The StoryRun, or None if it does not exist."""

    async def read_run_anew(self, key: NamespacedName) -> Object | None:
        """The StoryRun as the API server has it now: asks the server, not the caches of this process.

        Raises:
            UnavailableError.
        """

    async def read_story(self, namespace: str, name: str) -> Object | None:
        """The Story, or None if it does not exist (yet)."""

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into ``status``; returns the object as stored.

        Raises:
            StaleError: ``run`` is not the newest version.
            GoneError: the run is gone, and ``read_run`` knows that now; or another run has its name.
            UnavailableError, RejectedError.
        """

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into ``metadata`` (labels, annotations, finalizers); same errors as ``patch_run_status``."""

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        """Create the StoryRun that a step of ``run`` starts, or return the existing one that ``run`` controls.

        Raises:
            NameConflictError: a StoryRun of another owner has the name, or the existing one has another Story or
                inputs.
            MissingReferenceError, RejectedError: admission refused it.
        """

    async def child_runs(self, run: Object) -> list[Object]:
        """Every StoryRun that this run's UID controls, newest known version."""

    async def packet_runs(self, run: Object) -> list[Object]:
        """Every StoryRun that packets of the realtime run have started: the hub makes it, the run owns it without
        controlling it."""

    async def request_cancel(self, run: Object) -> None:
        """Set ``spec.cancelRequested`` of a StoryRun; success, too, if it is absent, has ended or was asked already."""

    async def delete_child_run(self, run: Object) -> None:
        """Delete a StoryRun with a UID precondition, propagation Background. Also a success if it is absent."""

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        """Every StoryRun of that Story which has not ended and is not being deleted, newest known version."""

    async def pin_story(self, story: Object) -> str:
        """Store the Story as it is now, for the runs that start with it; returns the name of the stored copy.

        The same Story, unchanged, has the same name and is stored once.
        """

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        """What ``pin_story`` stored, or None if it does not exist (any more)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What an Engram step is bound to now: its Engram, its template and the part of the policy that the engine needs.

    Adapters that need more bind steps to a subclass, which the engine passes on in ``AttemptOrder``.
    """

    engram_namespace: str
    engram_name: str
    engram_version: str
    """``engramRef.version``, else the Engram's ``spec.version``, else empty."""
    template_name: str
    template_generation: int
    default_with: Mapping[str, Any] | None
    """The Engram's ``spec.with``, over which the step's own ``with`` is merged."""
    retry_spec: Mapping[str, Any] | None
    """``StepRun.spec.retry`` as it will be written: the step's, else the Story's default; the template fills gaps."""
    retry: RetryPolicy
    timeout: timedelta | None
    """How long an attempt may take; None: as long as it likes, which only the executor ``STREAM`` accepts."""
    max_inline_size_bytes: int
    """Largest size of the merged, unresolved input; zero or less means unlimited."""
    input_schema: Mapping[str, Any] | None
    output_schema: Mapping[str, Any] | None
    declared_output_keys: frozenset[str] | None
    executor: str
    """Name of the executor for a StepRun that is created now. An existing StepRun keeps the executor that it names."""
    shares_store: bool = False
    """Whether the step reads from the object store of the operator, which may then put large inputs there."""
    cache: Mapping[str, Any] | None = None
    """The resolved ``cache`` policy."""
    timeout_layer: str = ""
    """The layer that sets ``timeout``, for messages."""
    image: str = ""
    """The image that does the work, for the key of the cache."""
    container: Mapping[str, Any] | None = None
    """``spec.container`` of the template: the image has no SDK. None: it has one."""
    definition: str = ""
    """``core.workloads.execution.definition_digest``; empty: it has none, and no execution is equal to another."""

    @property
    def limit(self) -> TimeoutChoice | None:
        """``timeout`` with its layer."""
        return None if self.timeout is None else TimeoutChoice(self.timeout, self.timeout_layer)

    def deadline_from(self, start: datetime) -> datetime | None:
        """When an attempt that starts then must have ended; None: it has no deadline."""
        return None if self.timeout is None else start + self.timeout


CreateStepRun: TypeAlias = Callable[[Object], Awaitable[Object]]
"""Creates a StepRun with further metadata, ``{"labels": …, "annotations": …}``, and returns it as it is stored."""


@dataclass(frozen=True, slots=True)
class AttemptOrder:
    """Everything that an executor needs to start one attempt of a step."""

    run: Object
    story: Object
    step: Mapping[str, Any]
    """The step as declared in the Story."""
    step_run: Object
    binding: Binding
    attempt: int
    """0 for the first attempt, then ``status.retries``."""
    inputs: Mapping[str, Any]
    """``BUBU_TRIGGER_DATA`` and ``BUBU_STEP_CONFIG``. They are resolved, unless their templates read data in object
    storage and the operator has no object store: then the container resolves them."""
    template_context: Mapping[str, Any]
    """``BUBU_TEMPLATE_CONTEXT``: ``{"inputs": …, "steps": …}``."""
    deadline_at: datetime | None
    """Aware UTC; the executor stores it with the attempt, so that a restarted engine waits for the same instant. None:
    the attempt has no deadline.
    """
    is_resolved: bool = True
    """Whether ``inputs`` are data, which nothing may evaluate again."""
    whole_inputs: Mapping[str, Any] | None = None
    """``inputs`` before their large parts were stored; None: nothing was."""
    outlives_cancel: bool = False
    """Whether the attempt must run although the run was asked to end: it is a clean-up step."""
    container: Mapping[str, Any] | None = None
    """For a container without an SDK: ``core.workloads.plain_container.templates_of``, its templates resolved."""
    execution_key: str = ""
    """What equal executions have in common; the executor stores it with the attempt. Empty: it has no equal."""
    packet_needs: tuple[str, ...] = ()
    """For ``STREAM``: the steps with a stream of their own whose packets reach this step, directly or by way of
    primitives that are carried out for each packet. Empty: the step is a source.
    """
    create: CreateStepRun | None = None
    """Creates the StepRun, of which ``step_run`` is the manifest then, without ``uid``. Only an executor that lives by
    the record gets it, and calls it once. With an assignment in its metadata (``core.engine.step.assignment``), the
    creation starts the attempt, so room for it is kept until then; without, the attempt does not start. None: the
    StepRun exists.
    """


class AttemptState(StrEnum):
    """State of the current attempt of a StepRun, or what remains of an earlier attempt."""

    ABSENT = "absent"
    """The current attempt has not been started, and nothing runs for an earlier one: it may start."""
    LINGERING = "lingering"
    """The current attempt has not been started, or is being ended, and something may still run: wait."""
    STARTING = "starting"
    """It has been started, but no worker runs it yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Its worker ended with exit code 0."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LiveStream:
    """What a realtime step shows while its attempt is alive (StepRun contract 4.2 and 22)."""

    phase: Phase
    """``Running``, ``Paused`` (it waits for its connection) or ``Blocked`` (it cannot be connected)."""
    reason: Reason
    message: str
    is_connected: bool
    """Whether its worker is connected to the hub, for the condition ``TransportReady``."""
    disconnected_since: datetime | None = None
    """Since when its worker is away, after it was connected; None: it is there, or was never."""
    has_client: bool = True
    """Whether a client serves the step; if not, the hub itself does: each packet starts a Job."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One consistent look at a step: its StepRun and the executor's first reliable information on the current attempt.

    What the step itself has reported is in ``step_run["status"]``. The engine decides which of the two counts
    (core.engine.step.outcome).
    """

    step_run: Object | None
    """None: it does not exist (it was never created, or it was deleted)."""
    state: AttemptState = AttemptState.ABSENT
    attempt: int | None = None
    """Number of the attempt that was started last; None if nothing remains of it, or if it is being ended."""
    exit_code: int | None = None
    """Exit code of its worker; None if it is not known."""
    reason: str = ""
    """Why it failed or does not start, in the words of the executor's platform: ``OOMKilled``, ``ImagePullBackOff``, …

    The engine knows the meaning of one of them: ``DEADLINE_EXCEEDED``.
    """
    message: str = ""
    deadline_at: datetime | None = None
    """Its deadline, as ``AttemptExecutor.start`` has stored it."""
    waiting_since: datetime | None = None
    """Since when the attempt waits for a worker; ``reason`` and ``message`` say why. None: it does not wait.

    A wait of a few seconds is ordinary.
    """
    worker: str = ""
    """The worker, by the name that the executor gives it, e.g. the name of a Pod; empty if it is not known."""
    exit_class: ExitClass | None = None
    """The meaning of ``exit_code``, if the attempt has a meaning of its own for it; None: that of every step."""
    has_result: bool = False
    """Whether its worker reports nothing, and ``AttemptExecutor.read_result`` gives the output of a success."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    execution_key: str = ""
    """As ``AttemptExecutor.start`` has stored it; empty: not known."""
    live: LiveStream | None = None
    """What the StepRun shows while a realtime step is alive; None for the other executors.

    Of a realtime step, ``FAILED`` means that a worker has failed too often; its workload may still exist, and goes
    when the engine stops it: before a retry, or at the end.
    """


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What a StepRun records of the attempt that was started last (``core.engine.step.record.attempt_of``)."""

    number: int
    executor: str
    """Name of the executor that carries it out."""
    deadline_at: datetime | None = None
    worker: str = ""
    """The worker that the attempt is assigned to, if the executor assigns attempts to workers."""
    execution_key: str = ""
    """What equal executions have in common; empty: not known."""


class Bindings(Protocol):
    """Resolves what Engram steps are bound to."""

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        """Resolve the references and the policy of an Engram step.

        Raises:
            AwaitedError: the Engram, its template or a ReferenceGrant does not exist, or the Engram has another version
                than the step asks for: the step waits.
            MissingReferenceError: the reference can never be met: ``EngramReferenceInvalid``, ``ReferenceNotFound``.
            RejectedError: the resolved policy is invalid.
        """


class StepRuns(Protocol):
    """StepRuns, as they are stored, for every executor."""

    async def read_step_run(self, run: Object, name: str) -> Object | None:
        """The StepRun of that name, if this run controls it; newest known version."""

    async def step_runs(self, run: Object) -> list[Object]:
        """Every StepRun that this run's UID controls, newest known version, without input and output."""

    def whole_step_runs(self, run: Object) -> Iterator[Object]:
        """The same with input and output, one at a time: they may be large. Do not await between two of them."""

    async def create_step_run(self, run: Object, manifest: Object, again: bool = False) -> Object:
        """Create the StepRun, or return the existing one that this run controls with the same ``spec.stepId``.

        ``again``: a StepRun of that name may have existed before, and this process may not know yet why it is gone.

        Raises:
            StaleError: the run has changed since ``run`` was read; this is checked with ``again``. Or the
                existing StepRun stands for other work than ``manifest``: look at it.
            NameConflictError: a StepRun of another owner has the name.
            RejectedError: admission refused it.
        """

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``status``; same errors as ``RunStore.patch_run_status``."""

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        """Merge ``patch`` into the StepRun's ``metadata``; same errors as ``RunStore.patch_run_status``."""

    async def delete_step_run(self, step_run: Object) -> None:
        """Delete with a UID precondition, propagation Background. Also a success if it is absent."""

    async def occupants(self) -> list[Object]:
        """Every StepRun of the cluster that has not ended, by a consistent read: the limits count these at start."""


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


class EventSink(Protocol):
    """Writes Kubernetes Events; never blocks, never fails, counts repeated ones together."""

    def emit(self, regarding: Object, type_: EventType, reason: str, message: str) -> None: ...


class Clock(Protocol):
    """Wall-clock time, and the only way to wait for it."""

    def now(self) -> datetime:
        """The current instant, aware UTC."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once ``now() >= instant``, at once if that is so already; follows steps of the wall clock."""

    async def wait_until(self, instant: datetime, wake: Callable[[], Awaitable[None]]) -> bool:
        """Return True when ``wake`` returns, or False once ``now() >= instant``.

        ``wake`` may be cancelled and called again meanwhile.
        """


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed, as ``stepStates`` and ``status.error`` show it."""

    reason: Reason
    message: str
    offloaded: bool = False
    """The cause is data in object storage that the operator cannot read; a container may be able to read it."""
