"""StepRun: one execution of one step. Source: StepRun contract 1 and 24."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.api.execution import EXTENDED, CachePolicy, RetrySpec
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import CONDITION_SIZE_RULES, Conditions, ObjectReference, RunReference, SchemaReference, TraceContext
from core.api.phases import ErrorType
from core.api.resource import STEP_RUN
from core.api.scheduling import Placement
from core.api.schema import (
    CelRule,
    ExitClassWord,
    Instant,
    Int32,
    Int64,
    JsonObject,
    LabelName,
    ListedAsRequired,
    PhaseWord,
    Quantity,
    WireModel,
)
from core.api.streaming import RolloutStrategy
from core.api.volumes import PodNeeds


class GrpcTarget(WireModel):
    """A gRPC endpoint."""

    endpoint: str = Field(description="Address as `host:port`.")


class TerminateTarget(WireModel):
    """The end of the stream."""

    stop_mode: Literal["success", "failure", "cancel"] = Field(
        description="How the run ends: `success`, `failure` or `cancel`."
    )


class DownstreamTarget(WireModel):
    """Where a realtime step sends its output; give one of the fields."""

    grpc: GrpcTarget | None = Field(None, description="Another step's gRPC endpoint.")
    terminate: TerminateTarget | None = Field(None, description="The end of the stream.")


class StepRunOverrides(PodNeeds):
    """How the workload of one StepRun is run; has priority over all other layers."""

    backoff_limit: Int32 | None = Field(None, description="Restarts by the Job controller before it gives up.")
    cache: CachePolicy | None = Field(None, description="Reuse of an earlier result for equal input.")
    cpu_limit: str | None = Field(None, description="CPU the container may use at most, for example `500m`.")
    cpu_request: str | None = Field(None, description="CPU reserved for the container, for example `100m`.")
    debug: bool | None = Field(None, description="Set BUBU_DEBUG in the container and log more.")
    ephemeral_storage_limit: str | None = Field(None, description="Local disk beyond which the Pod is evicted.")
    ephemeral_storage_request: str | None = Field(None, description="Local disk reserved for the container.")
    extended_resources: dict[str, Quantity] | None = Field(None, description=EXTENDED)
    memory_limit: str | None = Field(
        None, description="Memory beyond which the container is killed, for example `512Mi`."
    )
    memory_request: str | None = Field(None, description="Memory reserved for the container, for example `128Mi`.")
    placement: Placement | None = Field(None, description="Nodes the Pods may run on.")
    restart_policy: str | None = Field(None, description="`Never` or `OnFailure`.")
    ttl_seconds_after_finished: Int32 | None = Field(None, description="Seconds the finished Job is kept.")


class StepScript(WireModel):
    """The script of a script step, as its Story declares it."""

    run: str = Field(min_length=1, max_length=65536, description="The text of the script; not a template.")
    image: str | None = Field(None, max_length=512, description="The image that runs it.")
    shell: list[str] | None = Field(
        None, min_length=1, max_length=16, description="Program and first arguments; the text is the last argument."
    )


class StepRunSpec(WireModel):
    """What to execute."""

    validations = (CelRule("!has(self.engramRef) || !has(self.script)", "a StepRun has either engramRef or script"),)

    step_id: LabelName = Field(description="Name of the step in the Story.")
    story_run_ref: RunReference = Field(description="The StoryRun this belongs to.")
    downstream_targets: list[DownstreamTarget] | None = Field(
        None, description="Where a realtime step sends its output."
    )
    engram_ref: ObjectReference | None = Field(None, description="The Engram that does the work.")
    execution_overrides: StepRunOverrides | None = Field(
        None, description="How the workload is run; has priority over all other layers."
    )
    executor: LabelName | None = Field(
        None, description="What executes the attempts; `job`, the default, makes a Kubernetes Job of each."
    )
    idempotency_key: str | None = Field(
        None, max_length=256, description="Key that identifies the effects of the step in all attempts."
    )
    input: JsonObject | None = Field(
        None, description="Input; templates in it are evaluated before the container starts."
    )
    retry: RetrySpec | None = Field(None, description="What happens after a failed attempt.")
    script: StepScript | None = Field(None, description="The script that does the work, instead of an Engram.")
    template_generation: Int64 | None = Field(
        None, description="Generation of the EngramTemplate when this was created."
    )
    timeout: str | None = Field(
        None, description="Longest duration of one attempt as a Go duration; default: Story, then operator."
    )


class EffectRecord(WireModel):
    """An effect the step reported."""

    key: str = Field(description="Key of the effect.")
    seq: Int64 = Field(description="Position, growing.")
    details: JsonObject | None = Field(None, description="Details given by the step.")
    emitted_at: Instant | None = Field(None, description="When it was reported.")
    status: str | None = Field(None, description="State given by the step.")


class StructuredError(WireModel):
    """A structured error written by the container's SDK."""

    message: str = Field(description="What went wrong.")
    type: Annotated[ErrorType, Field(strict=False)] = Field(description="Kind of error.")
    version: Annotated[str, ListedAsRequired()] = Field("v1", description="Version of this shape; default v1.")
    code: str | None = Field(None, description="Error code of the worker's own.")
    details: JsonObject | None = Field(None, description="Further facts.")
    exceptions: list[str] | None = Field(
        None, max_length=16, description="Class of the exception and those it is derived from, with their modules."
    )
    exit_class: ExitClassWord | None = Field(None, description="What the error means for retries.")
    exit_code: Int32 | None = Field(None, description="Exit code of the container.")
    forbids_retry: bool | None = Field(None, description="Whether the program forbids another attempt.")
    retryable: bool | None = Field(None, description="Whether another attempt may succeed.")


class Handoff(WireModel):
    """Progress of moving a realtime step to a new version."""

    message: str | None = Field(None, description="Explanation for users.")
    phase: Literal["pending", "draining", "cutover", "ready"] | None = Field(
        None, description="`pending`, `draining`, `cutover` or `ready`."
    )
    strategy: RolloutStrategy | None = Field(None, description="Strategy in use.")
    updated_at: Instant | None = Field(None, description="When this last changed.")


class SignalEvent(WireModel):
    """A signal the step sent."""

    key: str = Field(description="Name of the signal.")
    seq: Int64 = Field(description="Position, growing.")
    emitted_at: Instant | None = Field(None, description="When it was sent.")
    payload: JsonObject | None = Field(None, description="Summary of the value.")


class Attempt(WireModel):
    """An attempt, as it was started."""

    number: Int32 = Field(description="0 for the first attempt, then the number of retries before it.")
    deadline_at: Instant | None = Field(None, description="When the operator ends it.")
    worker: str | None = Field(
        None, max_length=253, description="Which worker of the executor it is assigned to; Jobs have none."
    )
    key: str | None = Field(
        None, max_length=64, description="What equal executions have in common, as hexadecimal SHA-256."
    )


class FailedAttempt(WireModel):
    """An attempt after which a retry followed."""

    number: Int32 = Field(description="0 for the first attempt, then the number of retries before it.")
    exit_code: Int32 | None = Field(None, description="Exit code of the container, if it is known.")
    finished_at: Instant | None = Field(None, description="When the operator saw that it had failed.")
    message: str | None = Field(None, max_length=256, description="Why it failed.")
    obstacle: str | None = Field(
        None, description="What it waited for when its time was over, as error.details.obstacle."
    )
    retry_at: Instant | None = Field(None, description="When the next attempt was to start.")


class EndedProcess(WireModel):
    """The process of an attempt has ended."""

    attempt: Int32 = Field(description="Number of the attempt.")
    exit_code: Int32 = Field(description="How the process ended: 0, its exit code, or 128 and the signal.")
    finished_at: Instant | None = Field(None, description="When it ended, by the clock of the worker.")


class CachedFrom(WireModel):
    """An earlier, equal execution."""

    key: str = Field(description="What equal executions have in common, as hexadecimal SHA-256.")
    step_run: str | None = Field(None, description="Name of the StepRun; it may have been deleted.")
    stored_at: Instant | None = Field(None, description="When its output was stored.")
    story_run: str | None = Field(None, description="Name of its StoryRun.")


class StepRunStatus(WireModel):
    """How an execution stands."""

    validations = CONDITION_SIZE_RULES

    retries: Annotated[Int32, ListedAsRequired()] = Field(0, description="Retries so far, 0 for the first attempt.")
    attempt: Attempt | None = Field(
        None, description="The attempt started last; absent until it is noted that one has started."
    )
    cached: bool | None = Field(
        None, description="Whether the output is that of an earlier, equal execution, without an attempt."
    )
    cached_from: CachedFrom | None = Field(None, description="The execution whose output it is.")
    conditions: Conditions | None = Field(None, description="`Ready`, `Progressing` and `Degraded` of the step.")
    duration: str | None = Field(None, description="Time from start to end as a Go duration.")
    effects: list[EffectRecord] | None = Field(
        None, max_length=256, description="Effects the step reported, newest 256; for display, not a lock."
    )
    error: StructuredError | None = Field(None, description="Structured error written by the container's SDK.")
    exit_class: ExitClassWord | None = Field(None, description="What the exit means for retries.")
    exit_code: Int32 | None = Field(None, description="Exit code of the container.")
    failed_attempts: list[FailedAttempt] | None = Field(
        None, max_length=16, description="Attempts after which a retry followed, newest 16."
    )
    finished_at: Instant | None = Field(None, description="When the step reached a terminal phase.")
    handoff: Handoff | None = Field(None, description="Progress of moving a realtime step to a new version.")
    input_schema_ref: SchemaReference | None = Field(None, description="Schema the input was checked against.")
    last_failure_msg: str | None = Field(None, description="Message of the last failed attempt, in full.")
    last_output_at: Instant | None = Field(None, description="When the output was recorded.")
    logs: JsonObject | None = Field(None, description="Storage reference to the captured log.")
    needs: list[str] | None = Field(None, description="Steps this one waited for.")
    next_retry_at: Instant | None = Field(None, description="When the next attempt starts.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    output: JsonObject | None = Field(None, description="Result of the step, or a storage reference to it.")
    output_schema_ref: SchemaReference | None = Field(None, description="Schema the output was checked against.")
    phase: PhaseWord | None = Field(None, description="Phase of the step.")
    pod_name: str | None = Field(None, description="Pod whose container may write this status.")
    signal_events: list[SignalEvent] | None = Field(
        None, max_length=256, description="Signals in the order they were sent, newest 256."
    )
    signals: dict[str, JsonObject] | None = Field(None, description="Last value of each signal.")
    started_at: Instant | None = Field(None, description="When the first attempt started.")
    trace: TraceContext | None = Field(None, description="Trace of the step, when tracing is on.")
    worker_exit: EndedProcess | None = Field(
        None, description="The last process of a warm worker that has ended; written by the worker."
    )


class StepRun(KindModel):
    """One execution of one step of a StoryRun by an Engram."""

    spec: StepRunSpec = Field(description="What to execute.")
    status: StepRunStatus | None = Field(
        None, description="State of the execution; written by the operator and by the container's SDK."
    )


STEP_RUN_KIND = Kind(
    STEP_RUN,
    short_names=("step",),
    categories=("bubu", "ai", "runs"),
    versions=(
        KindVersion(
            "v1alpha1",
            StepRun,
            columns=(
                Column("StoryRun", ".spec.storyRunRef.name"),
                Column("Step", ".spec.stepId"),
                Column("Phase", ".status.phase"),
                Column("Retries", ".status.retries", "integer"),
                Column("Cached", ".status.cached", "boolean", wide=True),
                AGE,
            ),
            selectable_fields=(
                ".spec.storyRunRef.name",
                ".spec.stepId",
                ".status.phase",
            ),
        ),
    ),
)
