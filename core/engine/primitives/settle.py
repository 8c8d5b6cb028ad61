"""The value of an expression once nothing that it reads can still change.

A step starts when every step that its templates name has ended, so a value that is missing then stays missing. Only a
template that chooses a step at run time may have to wait for progress first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.api.phases import Reason
from core.engine.context.run_slots import has_slot
from core.engine.context.step_context import StepContext
from core.engine.ports import StepError
from core.engine.values.stored_data import Answer
from core.evaluation.evaluator import Failure, NotYet, Value


@dataclass(frozen=True, slots=True)
class Settled:
    value: Any


async def settle_value(
    context: StepContext,
    value: Any,
    field: str,
    extra: Mapping[str, Any] | None = None,
    *,
    waits: bool = True,
) -> Settled | StepError:
    """``value`` with every template in it resolved; ``extra``: variables beside those that every expression can read.

    ``waits``: wait for progress if a template may choose at run time what it reads.
    """

    async def resolve(variables: Mapping[str, Any], finished: bool) -> Answer:
        return await context.stored.value(
            value, variables, context.pace(), context.asker(), field=field, finished=finished
        )

    return await _settle(context, resolve, field, extra, waits=waits)


async def settle_whole(context: StepContext, value: Any, field: str) -> Settled | StepError:
    """``settle_value`` for a value whose content the engine itself needs: fetched if it is in object storage."""
    answer = await settle_value(context, value, field)
    if isinstance(answer, StepError):
        return answer
    whole = await context.stored.whole(answer.value, field, context.pace())
    return StepError(Reason.EXPRESSION_FAILED, whole.message) if isinstance(whole, Failure) else Settled(whole)


async def settle_condition(
    context: StepContext, text: str, field: str, extra: Mapping[str, Any] | None = None
) -> Settled | StepError:
    """The boolean value of a condition; blank is true."""
    if not text.strip():
        return Settled(True)

    async def decide(variables: Mapping[str, Any], finished: bool) -> Answer:
        return await context.stored.condition(
            text, variables, context.pace(), context.asker(), field=field, finished=finished
        )

    return await _settle(context, decide, field, extra)


async def _settle(
    context: StepContext,
    evaluate: Callable[[Mapping[str, Any], bool], Awaitable[Answer]],
    field: str,
    extra: Mapping[str, Any] | None,
    *,
    waits: bool = True,
) -> Settled | StepError:
    finished = not (waits and context.step.looks_anywhere)
    while True:
        answer = await evaluate({**context.seen(), **(extra or {})}, finished)
        match answer:
            case Value():
                return Settled(answer.value)
            case Failure():
                return StepError(Reason.EXPRESSION_FAILED, answer.message, answer.offloaded)
            case NotYet() if finished:
                return StepError(Reason.EXPRESSION_FAILED, f"{field} reads data that no step has produced")
            case NotYet():
                progress = context.run_context.progress
                finished = await progress.wait(context.step.name, has_slot=has_slot(context))
