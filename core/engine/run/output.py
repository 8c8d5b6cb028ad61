"""The conclusion of a run whose steps have all ended: which failure counts, and the final ``output``.

Every step has ended here, so a missing value stays missing: the run never waits for it.
Source: StoryRun contract 14.4 and 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from core.api.conditions import truncated
from core.api.phases import Phase, Reason, StepReason
from core.engine.context.run_context import RunContext
from core.engine.errors import NoStoreError, RejectedError
from core.engine.payload_port import StoredAs
from core.engine.plan import GroupPlan, StoryPlan
from core.engine.status.state import RunState
from core.engine.step.endings import MAX_CAUSE_LENGTH, Ending
from core.engine.step.manifest import size_bytes
from core.engine.step.state import StepState
from core.engine.step.verdict import Conclusion, Degradation
from core.engine.values.schema import why_invalid
from core.evaluation.evaluator import Value
from core.graph.readiness import failed_steps

_LATEST: Final = datetime.max.replace(tzinfo=UTC)
MAX_OUTPUT_BYTES: Final = 1_048_576
"""Size of an output that stays in the status because the operator has no object store."""


async def conclude(run_context: RunContext, ending: Ending | None) -> Conclusion:
    """The end of a run whose steps are all terminal; ``ending`` is set if the run was ended early, and says why."""
    plan, state = run_context.plan, run_context.status.state
    unclean = _failed(plan.compensations, state) + _failed(plan.finally_, state)
    if ending is not None:
        return _ended_early(ending.conclusion, unclean)
    failed = _failed(plan.main, state)
    if _failed(plan.finally_, state):
        return _steps_failed(Reason.CLEANUP_FAILED, "finally ", _failed(plan.finally_, state), state)
    if _failed(plan.compensations, state):
        return _steps_failed(Reason.COMPENSATION_FAILED, "compensation ", _failed(plan.compensations, state), state)
    if failed and plan.compensations.order:
        text = f"{_failure_of('', failed, state)}; what was done has been compensated"
        return Conclusion(Phase.COMPENSATED, Reason.COMPENSATED, text, has_error=True)
    if failed:
        return _steps_failed(Reason.DEPENDENCY_FAILED, "", failed, state)
    return await _succeeded(run_context)


def _ended_early(conclusion: Conclusion, unclean: tuple[str, ...]) -> Conclusion:
    """The run ends in the phase that was decided, whatever the result of the clean-up."""
    if not unclean:
        return conclusion
    text = f"{_steps('clean-up ', unclean)} failed"
    message = f"{conclusion.message}; {text}"
    return replace(conclusion, message=message, has_error=True, degraded=Degradation(Reason.CLEANUP_FAILED, text))


def _steps_failed(reason: Reason, kind: str, names: tuple[str, ...], state: RunState) -> Conclusion:
    return Conclusion(Phase.FAILED, reason, _failure_of(kind, names, state), has_error=True)


def _failure_of(kind: str, names: tuple[str, ...], state: RunState) -> str:
    """Which steps have failed, and why the first of them has."""
    first = min(filter(None, map(state.step, names)), key=_ended_at, default=None)
    text = f"{_steps(kind, names)} failed"
    if first is None or not first.message:
        return text
    which = "" if len(names) == 1 else next(f", first {name}" for name in names if state.step(name) is first)
    return f"{text}{which}: {truncated(first.message, MAX_CAUSE_LENGTH)}"


def _ended_at(step: StepState) -> datetime:
    return step.finished_at or _LATEST


def _steps(kind: str, names: tuple[str, ...]) -> str:
    return f"{kind}{'step' if len(names) == 1 else 'steps'} {', '.join(names)}"


def _failed(group: GroupPlan, state: RunState) -> tuple[str, ...]:
    """The failed steps; without streams that only another one's failure has ended."""
    failed = failed_steps(group.graph, state.phases, group.rules)
    if not group.rules.started_suffices:
        return failed
    own = tuple(name for name in failed if (step := state.step(name)) and step.reason != StepReason.RUN_ENDED)
    return own or failed


async def _succeeded(run_context: RunContext) -> Conclusion:
    plan, status, evaluator = run_context.plan, run_context.status, run_context.engine.evaluator
    message = _success_message(plan, status.state)
    if plan.output is None:
        return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, message)
    variables = run_context.variables.snapshot()
    answer = await run_context.stored.value(
        plan.output, variables, status.pace(), status.asker(), field="output", finished=True
    )
    if not isinstance(answer, Value):
        text = getattr(answer, "message", "output reads data that no step has produced")
        return _failure(Reason.OUTPUT_RESOLUTION_FAILED, text)
    output = answer.value
    if not isinstance(output, Mapping):
        return _failure(Reason.OUTPUT_RESOLUTION_FAILED, "output must resolve to an object")
    if plan.outputs_schema is not None:
        problem = await why_invalid(evaluator, plan.outputs_schema, output, status.asker())
        if problem is not None:
            return _failure(Reason.OUTPUT_SCHEMA_FAILED, f"output breaks the Story's outputsSchema: {problem}")
    return await _with_output(run_context, output, message)


async def _with_output(run_context: RunContext, output: Mapping[str, Any], message: str) -> Conclusion:
    """A success with ``output``; if that is large, it goes to the object store."""
    settings, status = run_context.engine.settings, run_context.status
    try:
        output = await run_context.stored.offloaded(
            output,
            StoredAs.OUTPUTS,
            str(run_context.run["metadata"]["name"]),
            status.pace(),
            total_bytes=settings.max_inline_output_bytes,
            inline_bytes=settings.max_inline_bytes(),
            field="output",
        )
    except NoStoreError:
        size = size_bytes(output)
        if size > MAX_OUTPUT_BYTES:
            text = (
                f"output has {size} bytes; a status can hold {MAX_OUTPUT_BYTES}; it was left out; "
                "give the operator an object store (controller.storage.provider), where it puts large outputs"
            )
            return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, f"{message}; {text}", degraded=_degraded(text))
    except RejectedError as error:
        return _failure(Reason.OUTPUT_RESOLUTION_FAILED, str(error))
    return Conclusion(Phase.SUCCEEDED, Reason.COMPLETED, message, output=output)


def _degraded(text: str) -> Degradation:
    return Degradation(Reason.OUTPUT_RESOLUTION_FAILED, text)


def _success_message(plan: StoryPlan, state: RunState) -> str:
    phases = state.phases
    allowed = [name for name in plan.order if name in phases and phases[name].failing]
    if not allowed:
        return "All steps completed"
    return f"All steps completed; allowed to fail: {', '.join(allowed)}"


def _failure(reason: Reason, message: str) -> Conclusion:
    return Conclusion(Phase.FAILED, reason, message, has_error=True)
