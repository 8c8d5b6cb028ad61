"""Story: the graph of steps that StoryRuns execute. Source: Admission contract 4, StoryRun contract 7 to 18."""

from __future__ import annotations

from pydantic import Field

from core.api.execution import ExecutionOverrides
from core.api.kind import Kind, KindModel, KindVersion
from core.api.meta import ObjectReference
from core.api.resource import STORY
from core.api.schema import CelRule, JsonObject
from core.api.v1beta1.story import PrimitiveType
from core.api.v1beta1.story import Story as StoryV1beta1
from core.api.workflow import COLUMNS, StepFields, StorySpecFields, StoryStatus


class Step(StepFields):
    """One node of the graph: an Engram (`ref`), a built-in primitive (`type`) or a script (`run`)."""

    execution: ExecutionOverrides | None = Field(None, description="How this step's workload is run.")
    ref: ObjectReference | None = Field(
        None, description="The Engram that does the work; give one of `ref`, `type` and `run`."
    )
    type: PrimitiveType | None = Field(
        None, description="Built-in primitive; its settings are in `with`. Give one of `ref`, `type` and `run`."
    )
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Input of the step; strings may hold templates over `inputs` and `steps`. Deep-merged over the "
        "Engram's `with`. For a `type`, its settings: sleep {duration}; wait {until, timeout, pollInterval, "
        "onTimeout: fail|skip}; gate {timeout, pollInterval, onTimeout}; stop {phase, message}; parallel {steps}; "
        "executeStory {storyRef, with, waitForCompletion: true}; condition has none.",
    )


class StorySpec(StorySpecFields):
    """What a workflow does."""

    validations = (
        CelRule(
            "self.steps.all(step, (has(step.ref) ? 1 : 0) + (has(step.type) ? 1 : 0) + (has(step.run) ? 1 : 0) == 1)",
            "each step must set exactly one of ref, type or run",
        ),
        CelRule(
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
    finally_: list[Step] | None = Field(
        None, alias="finally", max_length=50, description="Steps that run at the end whatever happened, at most 50."
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
        KindVersion("v1alpha1", Story, columns=COLUMNS),
        KindVersion("v1beta1", StoryV1beta1, columns=COLUMNS, stored=False),
    ),
)
