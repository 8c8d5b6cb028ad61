"""The inputs of a run: limited, defaulted and checked, once before it starts. Source: StoryRun contract 4.2 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.plan import Refusal, StoryPlan
from core.engine.settings import EngineSettings
from core.engine.step.manifest import size_bytes
from core.engine.values.schema import why_invalid
from core.evaluation.asker import Asker
from core.evaluation.evaluator import Evaluator
from core.evaluation.schema import apply_schema_defaults


def why_inputs_too_large(run: Object, settings: EngineSettings) -> Refusal | None:
    """Only for runs that have not started: a limit that is lowered later never affects a started run."""
    inputs = run["spec"].get("inputs")
    if inputs is None:
        return None
    limit = settings.inputs_limit_bytes
    size = size_bytes(inputs)
    if size <= limit:
        return None
    return Refusal(
        Reason.INPUT_TOO_LARGE,
        f"spec.inputs has {size} bytes; storyrun.max-inline-inputs-size allows {limit}; "
        "submit it with a StoryTrigger or an SDK, which put large inputs into "
        "the object store, or give references to stored data",
    )


def run_inputs(run: Object, plan: StoryPlan) -> Mapping[str, Any] | Refusal:
    """``spec.inputs`` with the defaults of the Story's ``inputsSchema``; never written back to the run."""
    inputs = run["spec"].get("inputs")
    if inputs is None:
        inputs = {}
    if not isinstance(inputs, Mapping):
        return Refusal(Reason.VALIDATION_FAILED, "spec.inputs must be an object")
    if plan.inputs_schema is None:
        return inputs
    defaulted = apply_schema_defaults(plan.inputs_schema, inputs)
    return defaulted if isinstance(defaulted, Mapping) else inputs


async def why_inputs_invalid(
    inputs: Mapping[str, Any], plan: StoryPlan, evaluator: Evaluator, asker: Asker
) -> Refusal | None:
    if plan.inputs_schema is None:
        return None
    problem = await why_invalid(evaluator, plan.inputs_schema, inputs, asker)
    if problem is None:
        return None
    return Refusal(Reason.INPUT_SCHEMA_FAILED, f"spec.inputs breaks the Story's inputsSchema: {problem}")
