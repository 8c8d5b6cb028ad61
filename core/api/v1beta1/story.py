"""Story in v1beta1: one typed field for each primitive instead of ``type`` and an untyped ``with``.

Schemas of CustomResourceDefinitions cannot be recursive. So the branches of a ``parallel`` step are typed for one level
only; deeper ones have the same form, are stored unchanged, and are checked by admission only.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from core.api.execution import ExecutionOverrides
from core.api.kind import KindModel
from core.api.loops import MAX_BRANCHES, MAX_ITEMS, MAX_ITERATIONS
from core.api.meta import ObjectReference
from core.api.schema import CelRule, DescribedElsewhere, Int32, JsonObject, JsonValue, WireModel
from core.api.workflow import StepFields, StorySpecFields, StoryStatus

PrimitiveType = Literal["condition", "parallel", "sleep", "stop", "wait", "executeStory", "gate"]
PRIMITIVES: Final = tuple(sorted(get_args(PrimitiveType)))

_COUNTED: Final = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in ("ref", "run", *PRIMITIVES))
_STEP_RULES: Final = (
    CelRule(f"{_COUNTED} == 1", f"a step must set exactly one of ref, run, {', '.join(PRIMITIVES)}"),
    CelRule(
        "!has(self.with) || has(self.ref) || has(self.run)",
        "with is the input of an Engram or a script and needs ref or run; a primitive has its own",
    ),
)


class ConditionParameters(WireModel):
    """A step that does nothing: others hang on its `if`."""


class SleepParameters(WireModel):
    """How long to sleep."""

    duration: str | None = Field(
        None, description="How long, as a Go duration such as `90s` or `1h30m`; absent: not at all."
    )


class _Waiting(WireModel):
    timeout: str | None = Field(
        None, description="Longest time to wait, a Go duration such as `24h`; default: the operator's."
    )
    poll_interval: str | None = Field(
        None, description="How often to look again, a Go duration of at least `10ms`; events wake it anyway."
    )
    on_timeout: Literal["fail", "skip"] | None = Field(
        None, description="What the step does when the time is over: `fail` (default) or `skip`."
    )


class WaitParameters(_Waiting):
    """What to wait for."""

    until: str = Field(
        min_length=1,
        description="Condition over `inputs` and `steps`; the step succeeds when it is true. For example "
        '`steps.order.output.state == "paid"`.',
    )


class GateParameters(_Waiting):
    """How long to wait for a person's decision, which is given in the run's `status.gates`."""


class StopParameters(WireModel):
    """How the run ends."""

    phase: str | None = Field(
        None,
        description="How the run ends: `Succeeded` (default), `Failed`, `Finished` or another final phase.",
    )
    message: str | None = Field(None, description="The reason as text; it is shown in the run's status.")


class StoryToExecute(WireModel):
    """Names a Story, here or in another namespace."""

    name: str = Field(min_length=1, description="Name of the Story.")
    namespace: str | None = Field(
        None,
        description="Namespace of the Story; default: that of the calling one. Another one needs a ReferenceGrant.",
    )
    version: str | None = Field(None, description="The Story's `spec.version` must equal this; absent accepts any.")


class ExecuteStoryParameters(WireModel):
    """Which Story to run, and with what."""

    story_ref: StoryToExecute = Field(description="The Story to run.")
    max_iterations: Int32 | None = Field(
        None,
        ge=1,
        le=MAX_ITERATIONS,
        description="With `until`: how often the Story is run at most; the step fails when that was not enough.",
    )
    until: str | None = Field(
        None,
        min_length=1,
        description="Condition; the Story is run again, one run after the other, until it is true.",
    )
    wait_for_completion: bool | None = Field(
        None, description="Whether the step waits for that run and ends with its result; default true."
    )
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Inputs of that run; strings may hold templates over `inputs` and `steps`, with `until` also "
        "`previous`, the output of the run before, and `iteration` (from 1).",
    )


class _Doing(StepFields):
    """What a step can be, its branches left aside."""

    validations = _STEP_RULES

    condition: ConditionParameters | None = Field(
        None, description="Does nothing and succeeds, or is skipped when `if` is false; other steps can need it."
    )
    execute_story: ExecuteStoryParameters | None = Field(None, description="Runs another Story.")
    gate: GateParameters | None = Field(None, description="Waits until a user approves or rejects.")
    ref: ObjectReference | None = Field(
        None, description="The Engram that does the work; its input is in `with`. Give this, `run` or one primitive."
    )
    sleep: SleepParameters | None = Field(None, description="Lets time pass.")
    stop: StopParameters | None = Field(None, description="Ends the run.")
    wait: WaitParameters | None = Field(None, description="Waits until a condition holds.")
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Input of the Engram; strings may hold templates over `inputs` and `steps`. Deep-merged over the "
        "Engram's own `with`.",
    )


class Branch(_Doing):
    """One of the steps that a `parallel` step runs at the same time."""

    execution: JsonObject | None = Field(
        None, description="How this branch's workload is run; the fields of a step's `execution`."
    )
    parallel: JsonObject | None = Field(
        None,
        description="Runs steps at the same time inside this branch, written as these are; admission looks at them, "
        "not the schema.",
    )


class Parallel(WireModel):
    """Steps that run at the same time."""

    steps: list[Branch] = Field(
        min_length=1,
        max_length=MAX_BRANCHES,
        description="The branches. Each is a step; the output of a branch is `steps.<its name>.output`. With "
        "`forEach` exactly one.",
    )
    for_each: JsonValue | None = Field(
        None,
        description="What the one step is run for: a list, or a template that gives one, of at "
        f"most {MAX_ITEMS} items. It sees `item` and `itemIndex` (from 0); the outputs are "
        "`steps.<this step>.output.items`.",
    )
    max_concurrency: Int32 | None = Field(
        None, ge=1, description="How many branches are at work at a time; absent: all of them."
    )


class Step(_Doing):
    """One node of the graph: an Engram (`ref`), a script (`run`), or a built-in primitive in the field of its name."""

    execution: ExecutionOverrides | None = Field(None, description="How this step's workload is run.")
    parallel: Parallel | None = Field(None, description="Runs steps at the same time and waits for all of them.")


class StorySpec(StorySpecFields):
    """What a workflow does."""

    validations = (
        CelRule(
            "self.steps.all(step, self.steps.exists_one(other, other.name == step.name))", "step names must be unique"
        ),
    )

    steps: list[Step] = Field(
        min_length=1,
        max_length=100,
        description="The steps, 1 to 100; order follows from `needs` and from outputs used in templates, not from "
        "the position here. Each has a `name`, and `ref`, `run` or one of "
        + ", ".join(f"`{name}`" for name in PRIMITIVES)
        + ".",
    )
    compensations: Annotated[list[Step], DescribedElsewhere()] | None = Field(
        None,
        max_length=50,
        description="Steps that undo work after a main step failed, at most 50, written as those of `steps`; they see "
        "the outputs of the main steps.",
    )
    finally_: Annotated[list[Step], DescribedElsewhere()] | None = Field(
        None,
        alias="finally",
        max_length=50,
        description="Steps that run at the end whatever happened, at most 50, written as those of `steps`.",
    )


class Story(KindModel):
    """A workflow: a graph of steps that StoryRuns execute."""

    spec: StorySpec = Field(description="What the workflow does.")
    status: StoryStatus | None = Field(None, description="What the operator found out about it.")
