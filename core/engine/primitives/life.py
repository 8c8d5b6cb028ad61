"""The life of a step whose needs are met: ``if``, then whatever it is, then one verdict.

Not here: when a step may start (core.graph.readiness) and what follows from its end (core.engine.run.scope).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from core.api.phases import Phase, Reason, StepReason
from core.engine.context.run_context import StepContext
from core.engine.plan import StepKind
from core.engine.ports import StepError
from core.engine.primitives import condition, engram, gate, parallel, sleep, stop, story, wait
from core.engine.primitives.settle import settle_condition
from core.engine.step.verdict import Verdict, failed

_SKIPPED: Final = "Skipped: its 'if' condition is false"
_PRIMITIVES: Final[dict[StepKind, Callable[[StepContext], Awaitable[Verdict]]]] = {
    StepKind.ENGRAM: engram.run,
    StepKind.CONDITION: condition.run,
    StepKind.SLEEP: sleep.run,
    StepKind.STOP: stop.run,
    StepKind.PARALLEL: parallel.run,
    StepKind.EXECUTE_STORY: story.run,
    StepKind.WAIT: wait.run,
    StepKind.GATE: gate.run,
}


async def live(context: StepContext) -> Verdict:
    """Resume or start the step; returns when it is over."""
    step = context.step
    if context.state.step(step.name) is None and step.condition.strip():
        answer = await settle_condition(context, step.condition, "if")
        if isinstance(answer, StepError):
            return failed(answer.reason, answer.message)
        if answer.value is not True:
            return Verdict(Phase.SKIPPED, _SKIPPED, recorded_reason=StepReason.CONDITION_FALSE)
    primitive = _PRIMITIVES.get(step.kind)
    if primitive is None:
        await trio.lowlevel.checkpoint()
        return _unsupported(step.kind, step.declared.get("type"))
    if step.kind is StepKind.ENGRAM:
        context.status.apply(context.state.step_started(step.name, context.now()))
    return await primitive(context)


def _unsupported(kind: StepKind, word: object) -> Verdict:
    if kind is StepKind.UNKNOWN:
        text = f"type {word!r} is unknown" if word else "neither ref nor type is set"
        return failed(Reason.INVALID_CONFIGURATION, f"{text}; write ref for an Engram or one of the step types")
    return failed(Reason.NOT_SUPPORTED_YET, f"this version does not support steps of type {kind}")
