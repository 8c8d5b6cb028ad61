"""The StepRun of a step, as it would be created now. Source: StoryRun contract 11.2."""

from __future__ import annotations

from typing import Any, Final

from core.api.objects import Object
from core.api.phases import Reason
from core.engine.context.step_context import StepContext
from core.engine.errors import NoStoreError, RejectedError
from core.engine.payload_port import StoredAs
from core.engine.ports import Binding, EventType, StepError
from core.engine.primitives.settle import Settled, settle_value
from core.engine.step.manifest import (
    idempotency_key,
    merged_input,
    size_bytes,
    step_run_manifest,
    step_run_name,
)
from core.story.realtime import why_not_static

NEAR_LIMIT: Final = 0.8
"""Share of the input limit from which an Event warns."""


async def step_run_to_create(context: StepContext, binding: Binding) -> Object | StepError:
    """The manifest; an error if the input is too large, if that of a branch cannot be resolved, or if it reads other
    steps and may not.
    """
    step = context.step
    overlay = step.declared.get("with")
    input_ = merged_input(binding.default_with, overlay if isinstance(overlay, dict) else None)
    size, limit = size_bytes(input_ or {}), binding.max_inline_size_bytes
    if 0 < limit < size:
        return StepError(
            Reason.INPUT_TOO_LARGE,
            f"with, merged over the Engram's, has {size} bytes; execution.maxInlineSize allows "
            f"{limit}; pass large data through storage",
        )
    if input_ and not step.reads_steps:  # the Engram's own part comes with the binding
        why = await context.engine.evaluator.analyse(why_not_static, input_, asker=context.asker())
        if why is not None:
            return StepError(Reason.EXPRESSION_FAILED, why)
    left_to_container = False
    if step.is_branch and input_:
        answer = await settle_value(context, input_, "with")
        has_sdk = binding.container is None
        left_to_container = has_sdk and isinstance(answer, StepError) and context.stored.leaves_to_container(answer)
        if isinstance(answer, StepError) and not left_to_container:
            return answer
        if isinstance(answer, Settled):
            try:
                input_ = await _stored(context, answer.value, limit)
            except RejectedError as error:
                return StepError(error.reason, str(error))
    key = idempotency_key(context.namespace, context.run_name, step.name, await _rendered_key(context))
    return step_run_manifest(
        context.run,
        context.story,
        step,
        binding,
        input_,
        key,
        context.run_context.scheduling,
        context.state.revision,
        left_to_container=left_to_container,
    )


def warn_near_limit(context: StepContext, input_: Any, limit: int) -> None:
    """An Event, if the input of the StepRun is about to be too large."""
    size = size_bytes(input_ or {})
    if limit > 0 and size >= NEAR_LIMIT * limit:
        text = f"the input of step {context.step.name!r} uses {size} of {limit} bytes"
        context.emit(EventType.WARNING, "StepInputNearLimit", text)


async def _stored(context: StepContext, input_: Any, limit: int) -> Any:
    """The input of a branch with its large parts in the object store; without a store they stay inline.

    Each attempt reads it whole: see ``StoredData.own_inputs``.

    Raises:
        RejectedError: it cannot be written as JSON.
    """
    if limit <= 0:
        return input_
    owner = step_run_name(context.run_name, context.step.name)
    try:
        return await context.stored.offloaded(
            input_, StoredAs.INPUTS, owner, context.pace(), total_bytes=limit, inline_bytes=limit, field="with"
        )
    except NoStoreError:
        return input_


async def _rendered_key(context: StepContext) -> object:
    template = context.step.declared.get("idempotencyKeyTemplate")
    if not isinstance(template, str) or not template.strip():
        return None
    answer = await settle_value(context, template, "idempotencyKeyTemplate")
    return answer.value if isinstance(answer, Settled) else None
