"""What one attempt of an Engram step is started with: its inputs, resolved once, defaulted and checked.

Source: StepRun contract 8 (input resolution). ``BUBU_TRIGGER_DATA`` and ``BUBU_STEP_CONFIG`` are one value here, so
that they cannot differ. A container without an SDK is called with its templates over the inputs (contract 25.1): the
operator resolves everything, because nothing in the container can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bubu_contract.canonical import NotJsonError
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.context.step_context import StepContext
from core.engine.errors import RejectedError
from core.engine.payload_port import StoredAs
from core.engine.ports import AttemptOrder, Binding, StepError
from core.engine.primitives.earlier_output import cache_policy
from core.engine.primitives.settle import Settled, settle_value
from core.engine.step import record
from core.engine.step.manifest import is_left_to_container
from core.engine.values.schema import why_invalid
from core.evaluation.evaluator import Failure, Value
from core.evaluation.schema import apply_schema_defaults
from core.expressions.paths import is_reference
from core.workloads.execution import execution_key
from core.workloads.output_cache import CacheRules
from core.workloads.plain_container import templates_of


@dataclass(frozen=True, slots=True)
class AttemptPreparation:
    context: StepContext
    binding: Binding
    waits: bool = True
    """Whether to wait for a value that a template chooses at run time; False: that wait has been done already."""

    async def order(self, step_run: Object) -> AttemptOrder | StepError:
        """The order for the StepRun's next attempt; a ``StepError`` if its input cannot be resolved or is refused."""
        context, binding = self.context, self.binding
        requires = context.step.requires
        absent = _first_absent(requires, context.seen()) if requires else None
        if absent is not None:
            return StepError(Reason.DEPENDENCY_FAILED, f"requires: {absent} has no value")
        found = await self._inputs(step_run)
        if isinstance(found, StepError):
            return found
        inputs, left_to_container = found
        if binding.input_schema is not None and not left_to_container:
            inputs = apply_schema_defaults(binding.input_schema, inputs)
            problem = await why_invalid(context.engine.evaluator, binding.input_schema, inputs, context.asker())
            if problem is not None:
                return StepError(Reason.INPUT_SCHEMA_FAILED, f"the resolved input breaks the schema: {problem}")
        container = await _resolved_container(context, binding.container, inputs, step_run)
        if isinstance(container, StepError):
            return container
        whole, key = inputs, ""
        if binding.shares_store and binding.container is None and not left_to_container:
            try:
                inputs = await self._offloaded(inputs, step_run)
            except RejectedError as error:
                return StepError(error.reason, str(error))
        if binding.definition and not left_to_container and context.step.has_output:
            key = _execution_key(step_run, binding, inputs, container)
        return AttemptOrder(
            run=context.run,
            story=context.story,
            step=context.step.declared,
            step_run=step_run,
            binding=binding,
            attempt=record.retries_of(step_run.get("status") or {}),
            inputs=inputs,
            template_context=context.variables.snapshot() if context.step.reads_steps else context.seen(),
            deadline_at=binding.deadline_from(context.now()),
            is_resolved=not left_to_container,
            outlives_cancel=context.step.parts[0] in context.run_context.plan.finally_.graph.position,
            container=container,
            whole_inputs=None if whole is inputs else whole,
            execution_key=key,
            packet_needs=context.run_context.plan.packet_needs_of(context.step),
        )

    async def _inputs(self, step_run: Object) -> tuple[Any, bool] | StepError:
        """The inputs, and whether the container has to resolve them; that needs an SDK."""
        context, has_sdk = self.context, self.binding.container is None
        inputs: Any = {}
        left_to_container = False
        declared = step_run["spec"].get("input")
        if context.step.is_branch:  # resolved when its StepRun was created: data is not evaluated again
            found = await context.stored.own_inputs(declared or {}, step_run["metadata"]["name"], context.pace())
            if isinstance(found, Failure):
                return StepError(Reason.EXPRESSION_FAILED, found.message)
            inputs = found
            left_to_container = is_left_to_container(step_run)
        elif declared:
            answer = await settle_value(context, declared, "with", waits=self.waits)
            left_to_container = (
                self._may_resolve and isinstance(answer, StepError) and context.stored.leaves_to_container(answer)
            )
            if isinstance(answer, StepError) and not left_to_container:
                return answer
            inputs = answer.value if isinstance(answer, Settled) else declared
        if has_sdk:
            return inputs, left_to_container
        if left_to_container:
            text = "with reads data in object storage, which only a container with an SDK can read"
            return StepError(Reason.EXPRESSION_FAILED, f"{text}; set controller.storage.provider for the operator")
        whole = await _whole_inputs(context, inputs)
        return whole if isinstance(whole, StepError) else (whole.value, False)

    @property
    def _may_resolve(self) -> bool:
        """Whether the container can resolve templates: with an SDK, and with what other steps have put out."""
        return self.binding.container is None and self.context.step.reads_steps

    async def _offloaded(self, inputs: Any, step_run: Object) -> Any:
        """``inputs``, with their large parts in the object store, where the container reads them."""
        limit = max(self.binding.max_inline_size_bytes, 0)
        if not inputs:
            return inputs
        return await self.context.stored.offloaded(
            inputs,
            StoredAs.INPUTS,
            step_run["metadata"]["name"],
            self.context.pace(),
            total_bytes=limit,
            inline_bytes=limit,
            field="with",
        )


def _execution_key(step_run: Object, binding: Binding, inputs: Any, container: Mapping[str, Any] | None) -> str:
    rules = CacheRules.of(cache_policy(step_run, binding))
    try:
        return execution_key(binding.definition, binding.image, container, rules.salt if rules else "", inputs)
    except NotJsonError:
        return ""  # the executor reports it


def _first_absent(paths: tuple[str, ...], variables: Mapping[str, Any]) -> str | None:
    """The first dot path that has no value, or that passes through a value that is not an object.

    Data in object storage counts as present.
    """
    for path in paths:
        value: Any = variables
        for part in path.split("."):
            if is_reference(value):
                break
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return path
    return None


async def _whole_inputs(context: StepContext, inputs: Any) -> Settled | StepError:
    """The inputs with the data that they refer to, which the container could not read."""
    answer = await context.stored.all_of(inputs, "with", context.pace())
    return StepError(Reason.EXPRESSION_FAILED, answer.message) if isinstance(answer, Failure) else Settled(answer)


async def _resolved_container(
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
