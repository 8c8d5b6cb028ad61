"""StoryRun: one execution of a Story. Source: StoryRun contract 2 and 3."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.api.gatedata import MAX_CHARACTERS, MAX_KEYS
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import CONDITION_SIZE_RULES, Conditions, ObjectReference, SchemaReference, TraceContext
from core.api.resource import STORY_RUN
from core.api.schema import CelRule, Instant, Int32, Int64, JsonObject, PhaseWord, WireModel


class StoryRunSpec(WireModel):
    """What to execute."""

    story_ref: ObjectReference = Field(description="The Story to execute.")
    cancel_requested: bool | None = Field(
        None, description="Ask the run to stop: no new steps, running ones end gracefully, then phase `Finished`."
    )
    impulse_ref: ObjectReference | None = Field(None, description="The Impulse whose event started the run.")
    inputs: JsonObject | None = Field(
        None,
        description="Inputs, checked against the Story's `inputsSchema`; large ones are given as storage references.",
    )


class GateDecision(WireModel):
    """A person's decision on a gate step."""

    data: dict[str, Annotated[str, Field(max_length=MAX_CHARACTERS)]] | None = Field(
        None, max_length=MAX_KEYS, description="Strings given with `Approved`; the output of the step."
    )
    message: str | None = Field(None, description="Reason given; becomes the step's message.")
    state: Literal["Pending", "Approved", "Rejected"] | None = Field(
        None, description="`Approved` lets the step succeed, `Rejected` fails it, `Pending` keeps waiting."
    )
    updated_at: Instant | None = Field(None, description="When the decision was made.")
    updated_by: str | None = Field(None, description="Who decided.")


class StepState(WireModel):
    """State of one step of a run."""

    phase: PhaseWord = Field(description="Phase of the step.")
    finished_at: Instant | None = Field(None, description="When the step reached a terminal phase.")
    message: str | None = Field(None, description="Explanation of the phase, for users.")
    reason: str | None = Field(None, description="Why the step is in its phase, as one word for programs.")
    reason_since: Instant | None = Field(
        None, description="Since when the reason holds; set while the container of the step cannot start."
    )
    queued_at: Instant | None = Field(
        None, description="Since when the step waited for a slot, if that took a second or longer."
    )
    started_at: Instant | None = Field(None, description="When the step first got a phase.")
    sub_story_run_name: str | None = Field(None, description="StoryRun started by an `executeStory` step.")


class StoryRunStatus(WireModel):
    """How an execution stands."""

    validations = (
        CelRule(
            "!has(self.conditions) || self.conditions.exists(c, c.type == 'Ready')",
            "status.conditions must include Ready when conditions are set",
        ),
        CelRule(
            "!has(self.conditions) || self.conditions.all(c, has(c.lastTransitionTime))",
            "status.conditions entries must set lastTransitionTime",
        ),
        *CONDITION_SIZE_RULES,
    )

    active: list[str] | None = Field(None, description="Names of steps that are running.")
    allowed_failures: list[str] | None = Field(None, description="Names of steps that failed and were allowed to.")
    attempts: Int32 | None = Field(None, description="Times the run entered phase `Running`; grows with each redrive.")
    children_cleaned_at: Instant | None = Field(
        None, description="When the child objects of the finished run were deleted."
    )
    completed: list[str] | None = Field(None, description="Names of steps that are done.")
    conditions: Conditions | None = Field(None, description="`Ready`, `Progressing` and `Degraded` of the run.")
    duration: str | None = Field(
        None, description="Time from start to end, or to the last status change, as a Go duration in whole seconds."
    )
    error: JsonObject | None = Field(
        None, description="Why the run failed: `type`, `message` and `failedSteps` with `name`, `phase`, `message`."
    )
    finished_at: Instant | None = Field(None, description="When the run reached a terminal phase.")
    gates: dict[str, GateDecision] | None = Field(
        None,
        description="Decisions on gate steps by step name, that of a branch after those around it, as in "
        "`fan/approve`; users write them through the status subresource.",
    )
    input_schema_ref: SchemaReference | None = Field(None, description="Schema the inputs were checked against.")
    message: str | None = Field(None, description="Explanation of the phase, for users.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    observed_uid: str | None = Field(
        None,
        description="UID of the StoryRun that this status was written for; another one than that of the object: it was "
        "restored from a backup.",
    )
    output: JsonObject | None = Field(
        None, description="Result of the run: the Story's `output` evaluated, or a storage reference to it."
    )
    output_schema_ref: SchemaReference | None = Field(None, description="Schema the output was checked against.")
    phase: PhaseWord | None = Field(None, description="Phase of the run.")
    primitive_children: dict[str, list[str]] | None = Field(
        None, description="StepRuns started by a `parallel` step, by step name."
    )
    started_at: Instant | None = Field(None, description="When the run first entered phase `Running`.")
    step_states: dict[str, StepState] | None = Field(
        None,
        description="State of each step by step name, that of a branch after those around it, as in `fan/left`, and "
        "`fan/0` for an item.",
    )
    steps_complete: Int32 | None = Field(None, description="Steps that succeeded.")
    steps_failed: Int32 | None = Field(None, description="Steps that failed.")
    steps_skipped: Int32 | None = Field(None, description="Steps that were skipped.")
    steps_total: Int32 | None = Field(None, description="Steps, compensations and finally steps of the Story.")
    story_revision: str | None = Field(
        None, description="Name of the ControllerRevision that keeps the Story as this run executes it."
    )
    trace: TraceContext | None = Field(None, description="Trace of the run, when tracing is on.")
    trigger_tokens: list[str] | None = Field(
        None, description="Counters this run has already been added to; keeps counting exact over restarts."
    )


class StoryRun(KindModel):
    """One execution of a Story with given inputs."""

    spec: StoryRunSpec = Field(description="What to execute; immutable except for `cancelRequested`.")
    status: StoryRunStatus | None = Field(None, description="State of the execution.")


STORY_RUN_KIND = Kind(
    STORY_RUN,
    short_names=("srun",),
    categories=("bubu", "ai", "runs"),
    versions=(
        KindVersion(
            "v1alpha1",
            StoryRun,
            columns=(
                Column("Story", ".spec.storyRef.name"),
                Column("Phase", ".status.phase"),
                Column("Duration", ".status.duration"),
                AGE,
            ),
            selectable_fields=(
                ".spec.storyRef.name",
                ".status.phase",
            ),
        ),
    ),
)
