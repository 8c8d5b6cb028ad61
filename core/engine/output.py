"""How a run ends whose steps have all ended: which failure counts, and the final ``output``.

Source: StoryRun contract 14.4 and 16. Everything is over here, so data that is missing stays missing: the run never
waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.phases import Phase, Reason
from core.engine.context import EngineContext
from core.engine.manifest import size_bytes
from core.engine.plan import StoryPlan
from core.engine.schema import why_invalid
from core.engine.state import RunState
from core.engine.verdict import Conclusion
from core.evaluation.evaluator import Value
from core.graph.readiness import failed_steps

MAX_OUTPUT_BYTES: Final = 1_048_576


async def conclude(engine: EngineContext, plan: StoryPlan, state: RunState, variables: Mapping[str, Any]) -> Conclusion:
    """The end of a run whose main steps are all terminal."""
    failed = failed_steps(plan.graph, state.phases, plan.rules)
    if failed:
        steps = "step" if len(failed) == 1 else "steps"
        return Conclusion(Phase.FAILED, Reason.DEPENDENCY_FAILED, f"{steps} {', '.join(failed)} failed", has_error=True)
    message = _success_message(plan, state)
    if plan.output is None:
        return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, message)
    answer = await engine.evaluator.resolve(plan.output, variables, field="output", finished=True)
    if not isinstance(answer, Value):
        text = getattr(answer, "message", "output reads data that no step has produced")
        return _failure(Reason.OUTPUT_RESOLUTION_FAILED, text)
    output = answer.value
    if not isinstance(output, Mapping):
        return _failure(Reason.OUTPUT_RESOLUTION_FAILED, "output must resolve to an object")
    if plan.outputs_schema is not None:
        problem = await why_invalid(engine.evaluator, plan.outputs_schema, output)
        if problem is not None:
            return _failure(Reason.OUTPUT_SCHEMA_FAILED, f"output breaks the Story's outputsSchema: {problem}")
    size = size_bytes(output)
    if size > MAX_OUTPUT_BYTES:
        text = f"output is {size} bytes long, more than the {MAX_OUTPUT_BYTES} a status can hold; it was left out"
        return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, f"{message}; {text}", degraded=text)
    return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, message, output=output)


def _success_message(plan: StoryPlan, state: RunState) -> str:
    phases = state.phases
    allowed = [name for name in plan.order if name in phases and phases[name].failing]
    if not allowed:
        return "All steps completed"
    return f"All steps completed; allowed to fail: {', '.join(allowed)}"


def _failure(reason: Reason, message: str) -> Conclusion:
    return Conclusion(Phase.FAILED, reason, message, has_error=True)
