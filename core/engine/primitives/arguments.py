"""What a container without an SDK is called with: its templates over the inputs of the step, evaluated at each attempt.

The operator resolves everything, because nothing in the container can. Source: StepRun contract 25.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.context.step_context import StepContext
from core.engine.ports import StepError
from core.engine.primitives.settle import Settled
from core.engine.step import record
from core.evaluation.evaluator import Failure, Value
from core.workloads.plain_container import templates_of


async def whole_inputs(context: StepContext, inputs: Any) -> Settled | StepError:
    """The inputs with the data that they refer to, which the container could not read."""
    answer = await context.stored.all_of(inputs, "with", context.pace())
    return StepError(Reason.EXPRESSION_FAILED, answer.message) if isinstance(answer, Failure) else Settled(answer)


async def resolved_container(
    context: StepContext, container: Mapping[str, Any] | None, inputs: Any, step_run: Object
) -> Mapping[str, Any] | StepError | None:
    """``templates_of(container)`` with every template replaced by its value; an error names the place. None for an
    image with an SDK, which has no ``container``.
    """
    if container is None:
        return None
    run, status = context.run["metadata"], step_run.get("status") or {}
    variables = {
        "inputs": inputs,
        "step": {
            "name": context.step.name,
            "attempt": record.retries_of(status),
            "idempotencyKey": step_run["spec"].get("idempotencyKey") or "",
        },
        "run": {
            "name": run["name"],
            "namespace": run["namespace"],
            "story": context.story["metadata"]["name"],
        },
    }
    answer = await context.engine.evaluator.resolve(
        templates_of(container), variables, field="container", finished=True, asker=context.asker()
    )
    if isinstance(answer, Value):
        resolved: Mapping[str, Any] = answer.value
        return resolved
    message = answer.message if isinstance(answer, Failure) else answer.reason
    return StepError(Reason.EXPRESSION_FAILED, f"the template of its Engram: {message}")
