"""The parts of a Story that are the same in all its versions. Source: Admission contract 4, StoryRun contract 7 to
18.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.execution import ExecutionSpec, RetrySpec
from core.api.kind import AGE, Column
from core.api.meta import Conditions, ValidationStatus
from core.api.schema import DNS_LABEL, Int32, Int64, JsonObject, LabelName, VersionText, WireModel
from core.api.storage import StoragePolicy
from core.api.streaming import Streaming

Pattern = Literal["batch", "realtime"]
StreamingStrategy = Literal["PerStory", "PerStoryRun"]

COLUMNS = (
    Column("Steps", ".status.stepsTotal", "integer"),
    Column("Status", ".status.validationStatus"),
    Column("Usage", ".status.usageCount", "integer"),
    Column("Triggers", ".status.triggers", "integer"),
    AGE,
)


class PostExecution(WireModel):
    """Check of a step's output after it succeeded."""

    condition: str = Field(
        min_length=1, description="Condition over `steps.<this step>.output`; false fails the step, without a retry."
    )
    failure_message: str | None = Field(
        None, description="Message when the condition is false; default: one that names the condition."
    )


class StepFields(WireModel):
    """What a step says whatever it does; what it does, each version says in its own way."""

    name: LabelName = Field(
        description="Name, unique in the Story; also the key of its output in templates: `steps.<name>.output`."
    )
    allow_failure: bool | None = Field(
        None, description="Let the run go on and succeed although this step failed; default false."
    )
    image: str | None = Field(
        None, max_length=512, description="Image for `run`; default: operator key `scripts.default-image`."
    )
    id: str | None = Field(
        None, max_length=63, pattern=DNS_LABEL, description="Short id of the step, for tools; not used to refer to it."
    )
    idempotency_key_template: str | None = Field(
        None,
        max_length=512,
        description="Template of the key of the step's effects in all attempts; cut to 256 bytes. "
        "Default: "
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
        description="Steps to end first, besides those that `if` and `with` read. In streams: absent is all before it, "
        "`[]` is none.",
    )
    post_execution: PostExecution | None = Field(None, description="Check of the output after the step succeeded.")
    requires: list[str] | None = Field(
        None,
        description="Dotted paths, for example `steps.fetch.output.url`, that must hold a value, or the step fails "
        "before it starts.",
    )
    run: str | None = Field(
        None,
        max_length=65536,
        description="Script instead of an Engram, not a template; it reads `$BUBU_INPUTS`.",
    )
    runtime: JsonObject | None = Field(
        None, description="Input evaluated per packet over `inputs`, `steps` and `packet`; realtime steps only."
    )
    secrets: dict[str, str] | None = Field(
        None,
        description="Logical secret name of the template to the name of a Secret; has priority over that "
        "of the Engram.",
    )
    shell: list[str] | None = Field(
        None,
        description="Program and first arguments, before `run`; default `[python3, -c]` for images `python`, else "
        "`[sh, -ec]`.",
    )
    side_effects: bool | None = Field(
        None,
        description="The step changes the outside world; without a retry policy it is then not retried. Default false.",
    )
    transport: str | None = Field(
        None, pattern=DNS_LABEL, description="Name of an entry of `spec.transports` that carries this step's stream."
    )


class StoryConcurrency(WireModel):
    """How runs of a batch Story, and packets of a realtime step, are handled side by side."""

    mode: Literal["serial", "cancelPrevious", "parallel"] = Field(
        "parallel",
        description="`parallel` (default), `serial` (one after the other) or `cancelPrevious` (the newest cancels "
        "those before it).",
    )
    scope: Literal["storyrun", "participant"] = Field(
        "storyrun",
        description="What the mode counts over: all together (`storyrun`, default) or those of each `participant`, "
        "which for runs is `inputs.participant`.",
    )


class StoryRetries(WireModel):
    """What a failing step means, and how steps are retried."""

    continue_on_step_failure: bool = Field(
        False,
        description="After a failure still run the steps that do not depend on it; default false: skip all that have "
        "not started.",
    )
    step_retry_policy: RetrySpec | None = Field(None, description="Retry policy of steps that have none.")


class StoryTimeouts(WireModel):
    """Longest durations, as Go durations such as `90s` or `1h30m`."""

    cleanup: str | None = Field(
        None,
        description="Longest duration of the compensations of a run, and the same again for its finally steps; "
        "default: operator key `storyrun.cleanup-timeout` (10m).",
    )
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
    execution: ExecutionSpec | None = Field(None, description="Defaults for the workloads of all steps.")
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
    description: str | None = Field(None, description="What it is for, for users.")
    settings: JsonObject | None = Field(
        None, description="Provider settings, deep-merged over the Transport's `defaultSettings`."
    )
    streaming: Streaming | None = Field(None, description="Stream settings, merged over the Transport's.")


class StorySpecFields(WireModel):
    """What a Story says beside its steps."""

    concurrency: StoryConcurrency | None = Field(
        None, description="Concurrency of the runs of a batch Story, and of a realtime step's packets."
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
    streaming_strategy: StreamingStrategy | None = Field(
        None,
        description="With `pattern: realtime`: `PerStoryRun` (default): clients start each run. `PerStory`: the "
        "operator keeps exactly one run, without inputs.",
    )
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

    conditions: Conditions | None = Field(
        None, description="`Ready` shows whether runs can start; `LiveRun`, with `PerStory`, whether its run is alive."
    )
    live_run: str | None = Field(
        None, description="With `streamingStrategy: PerStory`: the StoryRun that the operator keeps, or the last one."
    )
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
