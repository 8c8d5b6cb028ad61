"""Story: the graph of steps that StoryRuns execute. Source: Admission contract 4, StoryRun contract 7 to 18."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.execution import ExecutionOverrides, ExecutionPolicy, RetryPolicy
from core.api.kind import AGE, Column, Kind, KindModel, Version
from core.api.meta import Conditions, ObjectReference, ValidationStatus
from core.api.resource import STORY
from core.api.schema import DNS_LABEL, Int32, Int64, JsonObject, LabelName, Rule, VersionText, WireModel
from core.api.storage import StoragePolicy
from core.api.streaming import Streaming

Pattern = Literal["batch", "realtime"]
PrimitiveType = Literal["condition", "parallel", "sleep", "stop", "wait", "executeStory", "gate"]


class PostExecution(WireModel):
    """Check of a step's output after it succeeded."""

    condition: str = Field(
        min_length=1, description="Condition over `steps.<this step>.output`; false fails the step, without a retry."
    )
    failure_message: str | None = Field(
        None, description="Message when the condition is false; default: one that names the condition."
    )


class Step(WireModel):
    """One node of the graph: an Engram (`ref`) or a built-in primitive (`type`)."""

    name: LabelName = Field(
        description="Name, unique in the Story; also the key of its output in templates: `steps.<name>.output`."
    )
    allow_failure: bool | None = Field(
        None, description="Let the run go on and succeed although this step failed; default false."
    )
    execution: ExecutionOverrides | None = Field(None, description="How this step's workload is run.")
    id: str | None = Field(
        None, max_length=63, pattern=DNS_LABEL, description="Short id of the step, for tools; not used to refer to it."
    )
    idempotency_key_template: str | None = Field(
        None,
        max_length=512,
        description="Template of the key that identifies the step's effects over retries; cut to 256 bytes. Default: "
        "`ns/<namespace>/storyrun/<run>/step/<step>`.",
    )
    if_: str | None = Field(
        None,
        alias="if",
        description="Condition over `inputs` and `steps`; false skips the step. For example `{{ gt "
        "steps.count.output.n 0 }}`.",
    )
    needs: list[str] | None = Field(
        None,
        description="Names of steps that must be done before this one starts; outputs used in `if` and `with` count "
        "by themselves.",
    )
    post_execution: PostExecution | None = Field(None, description="Check of the output after the step succeeded.")
    ref: ObjectReference | None = Field(None, description="The Engram that does the work; give either `ref` or `type`.")
    requires: list[str] | None = Field(
        None,
        description="Dotted paths, for example `steps.fetch.output.url`, that must hold a value, or the step fails "
        "before it starts.",
    )
    runtime: JsonObject | None = Field(
        None, description="Input evaluated per packet over `inputs`, `steps` and `packet`; realtime steps only."
    )
    secrets: dict[str, str] | None = Field(
        None,
        description="Logical secret name of the template to the name of a Secret; outranks the Engram's own mapping.",
    )
    side_effects: bool | None = Field(
        None,
        description="The step changes the outside world; without a retry policy it is then not retried. Default false.",
    )
    transport: str | None = Field(
        None, pattern=DNS_LABEL, description="Name of an entry of `spec.transports` that carries this step's stream."
    )
    type: PrimitiveType | None = Field(
        None, description="Built-in primitive; its settings are in `with`. Give either `ref` or `type`."
    )
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Input of the step; strings may hold templates over `inputs` and `steps`. Deep-merged over the "
        "Engram's `with`. For a `type`, its settings: sleep {duration}; wait {until, timeout, pollInterval, "
        "onTimeout: fail|skip}; gate {timeout, pollInterval, onTimeout}; stop {phase, message}; parallel {steps}; "
        "executeStory {storyRef, with, waitForCompletion: true}; condition has none.",
    )


class StoryConcurrency(WireModel):
    """How packets of a realtime step are handled side by side."""

    mode: Literal["serial", "cancelPrevious", "parallel"] = Field(
        "parallel", description="`parallel` (default), `serial` (one after the other) or `cancelPrevious`."
    )
    scope: Literal["storyrun", "participant"] = Field(
        "storyrun", description="What the mode counts over: the whole run (`storyrun`, default) or each `participant`."
    )


class StoryRetries(WireModel):
    """What a failing step means, and how steps are retried."""

    continue_on_step_failure: bool = Field(
        False,
        description="After a failure still run the steps that do not depend on it; default false: skip all that have "
        "not started.",
    )
    step_retry_policy: RetryPolicy | None = Field(None, description="Retry policy of steps that have none.")


class StoryTimeouts(WireModel):
    """Longest durations, as Go durations such as `90s` or `1h30m`."""

    graceful_shutdown_timeout: str | None = Field(
        None,
        description="Time steps get to stop after a cancel; default: operator key "
        "`engram.default-graceful-shutdown-timeout-seconds` (20).",
    )
    step: str | None = Field(
        None,
        description="Longest duration of one attempt of a step; default: operator key `timeout.default-step`, else "
        "30m.",
    )
    story: str | None = Field(None, description="Longest duration of a run; absent: no limit.")


class StoryPolicy(WireModel):
    """Limits, queueing and defaults for all runs of a Story."""

    concurrency: Int32 | None = Field(
        None, description="Steps of all runs of this Story that may run at a time; 0 or absent: no limit."
    )
    execution: ExecutionPolicy | None = Field(None, description="Defaults for the workloads of all steps.")
    priority: Int32 | None = Field(
        None, ge=0, description="Priority in the queue, higher first; default: the queue's, else 0."
    )
    queue: str | None = Field(
        None, max_length=63, pattern=DNS_LABEL, description="Scheduling queue; default `default`."
    )
    retries: StoryRetries | None = Field(None, description="What a failing step means, and how steps are retried.")
    storage: StoragePolicy | None = Field(None, description="Where large payloads of all runs are kept.")
    timeouts: StoryTimeouts | None = Field(None, description="Longest durations.")
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Inputs used when another Story calls this one by `executeStory`; the caller's values win.",
    )


class StoryTransport(WireModel):
    """A Transport under the name by which steps refer to it."""

    name: str = Field(pattern=DNS_LABEL, description="Name, unique in the Story, a DNS label.")
    transport_ref: str = Field(min_length=1, description="Name of the cluster-scoped Transport.")
    description: str | None = Field(None, description="What it is for, for people.")
    settings: JsonObject | None = Field(
        None, description="Provider settings, deep-merged over the Transport's `defaultSettings`."
    )
    streaming: Streaming | None = Field(None, description="Stream settings, merged over the Transport's.")


class StorySpec(WireModel):
    """What a workflow does."""

    validations = (
        Rule("self.steps.all(step, has(step.ref) != has(step.type))", "each step must set exactly one of ref or type"),
        Rule(
            "self.steps.all(step, self.steps.exists_one(other, other.name == step.name))", "step names must be unique"
        ),
    )

    steps: list[Step] = Field(
        min_length=1,
        max_length=100,
        description="The steps, 1 to 100; order follows from `needs` and from outputs used in templates, not from "
        "the position here.",
    )
    compensations: list[Step] | None = Field(
        None,
        max_length=50,
        description="Steps that undo work after a main step failed, at most 50; they see the outputs of the main "
        "steps.",
    )
    concurrency: StoryConcurrency | None = Field(None, description="Concurrency of a realtime step's packets.")
    finally_: list[Step] | None = Field(
        None, alias="finally", max_length=50, description="Steps that run at the end whatever happened, at most 50."
    )
    inputs_schema: JsonObject | None = Field(
        None, description="JSON Schema of `StoryRun.spec.inputs`; also supplies their defaults."
    )
    output: JsonObject | None = Field(
        None,
        description="Template of the run's `status.output`, evaluated over `inputs` and `steps` when all steps are "
        "done.",
    )
    outputs_schema: JsonObject | None = Field(None, description="JSON Schema the evaluated `output` must satisfy.")
    pattern: Pattern = Field(
        "batch",
        description="`batch` (default): each step is a Job that ends. `realtime`: steps are long-running workloads "
        "connected by transports.",
    )
    policy: StoryPolicy | None = Field(None, description="Limits, queueing and defaults for all runs.")
    transports: list[StoryTransport] | None = Field(
        None, description="Transports that realtime steps may use, each under a name of its own."
    )
    version: VersionText | None = Field(None, description="Version of this definition, which references may pin.")


class StoryTransportStatus(WireModel):
    """How a declared transport is used."""

    name: str = Field(description="Name of the entry of `spec.transports`.")
    transport_ref: str = Field(description="Name of the Transport.")
    mode: Literal["hot", "fallback"] | None = Field(None, description="`hot` (streaming) or `fallback` (batch).")
    mode_reason: str | None = Field(None, description="Why this mode.")


class StoryStatus(WireModel):
    """What the operator found out about a Story."""

    conditions: Conditions | None = Field(None, description="`Ready` says whether runs can start.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    steps_total: Int32 | None = Field(None, description="Number of steps, compensations and finally steps.")
    transports: list[StoryTransportStatus] | None = Field(None, description="How each declared transport is used.")
    triggers: Int64 | None = Field(None, description="StoryRuns of this Story that have started.")
    usage_count: Int32 | None = Field(None, description="Impulses that refer to this Story.")
    validation_errors: list[str] | None = Field(None, description="What keeps runs from starting.")
    validation_status: ValidationStatus | None = Field(None, description="Result of the last check.")
    validation_warnings: list[str] | None = Field(
        None, description="What looks wrong but does not keep runs from starting."
    )


class Story(KindModel):
    """A workflow: a graph of steps that StoryRuns execute."""

    spec: StorySpec = Field(description="What the workflow does.")
    status: StoryStatus | None = Field(None, description="What the operator found out about it.")


STORY_KIND = Kind(
    STORY,
    short_names=("story",),
    categories=("bubu", "ai", "workflows"),
    versions=(
        Version(
            "v1alpha1",
            Story,
            columns=(
                Column("Steps", ".status.stepsTotal", "integer"),
                Column("Status", ".status.validationStatus"),
                Column("Usage", ".status.usageCount", "integer"),
                Column("Triggers", ".status.triggers", "integer"),
                AGE,
            ),
        ),
    ),
)
