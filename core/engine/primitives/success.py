"""Is an attempt that reports success really a success? Checks the output schema, then the step's ``postExecution``.

A success that an SDK has written goes through the same checks. Source: StepRun contract 17.1 and 19.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from bubu_contract import identity
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.context.step_context import StepContext
from core.engine.ports import Binding, EventType, StepError
from core.engine.values.schema import why_invalid
from core.evaluation.evaluator import Value


async def why_not_successful(context: StepContext, binding: Binding | None, step_run: Object) -> StepError | None:
    """Why the result is refused, or None. Missing and unexpected output keys are only reported in an Event.

    Without a binding, the template was deleted, and its demands are unknown. A step without an output succeeds
    without a check.
    """
    if not context.step.has_output:
        await trio.lowlevel.checkpoint()
        return None
    output = (step_run.get("status") or {}).get("output")
    if binding is not None and binding.output_schema is not None:
        if output is None:
            return StepError(
                Reason.OUTPUT_SCHEMA_FAILED, "the template declares an output schema, but there is no output"
            )
        problem = await why_invalid(context.engine.evaluator, binding.output_schema, output, context.asker())
        if problem is not None:
            return StepError(Reason.OUTPUT_SCHEMA_FAILED, f"the output breaks the schema: {problem}")
    refused = await _why_post_execution_fails(context, output)
    if refused is None and binding is not None:
        _report_different_keys(context, binding, step_run, output)
    return refused


async def _why_post_execution_fails(context: StepContext, output: Any) -> StepError | None:
    check = context.step.declared.get("postExecution")
    condition = check.get("condition") if isinstance(check, Mapping) else None
    if not isinstance(check, Mapping) or not isinstance(condition, str) or not condition.strip():
        return None
    name = str(context.step.declared.get("name") or context.step.name)
    entry = {} if output is None else {"output": output}
    variables = {"steps": {name: entry, identity.step_alias(name): entry} if entry else {}}
    answer = await context.stored.condition(
        condition, variables, context.pace(), context.asker(), field="postExecution.condition", finished=True
    )
    if isinstance(answer, Value):
        if answer.value is True:
            return None
        message = check.get("failureMessage")
        text = message if isinstance(message, str) and message else "postExecution.condition is false"
        return StepError(Reason.EXPRESSION_FAILED, text)
    return StepError(Reason.EXPRESSION_FAILED, getattr(answer, "message", "postExecution.condition has no value"))


def _report_different_keys(context: StepContext, binding: Binding, step_run: Object, output: Any) -> None:
    if binding.declared_output_keys is None:
        return
    found = frozenset(output) if isinstance(output, Mapping) else frozenset[str]()
    missing, extra = sorted(binding.declared_output_keys - found), sorted(found - binding.declared_output_keys)
    if missing or extra:
        text = f"output keys differ from the declared ones: missing {missing}, extra {extra}"
        context.emit(EventType.WARNING, "OutputKeyMismatch", text, step_run)
