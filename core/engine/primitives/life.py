"""The life of a step whose needs are met: its ``if``, then its work, then one outcome.

Not here: when a step may start (core.graph.readiness) and what follows from its end (core.engine.run.step_runner).
"""

from __future__ import annotations

from typing import Final

import trio

from core.api.phases import Phase, Reason, StepReason
from core.engine.context import step_start
from core.engine.context.step_context import StepContext
from core.engine.context.step_end import StepEnd
from core.engine.ports import StepError
from core.engine.primitives import condition, engram, gate, parallel, sleep, stop, story, wait
from core.engine.primitives.parallel import BranchRunner
from core.engine.primitives.settle import settle_condition
from core.engine.step.verdict import Verdict, failed
from core.story.kinds import StepKind

_SKIPPED: Final = "Skipped: its 'if' condition is false"


async def live(context: StepContext, branches: BranchRunner) -> StepEnd:
    """Resume or start the step; returns when it has ended. ``branches`` runs those of a ``parallel`` step."""
    step = context.step
    if context.state.step(step.name) is None and step.condition.strip():
        answer = await settle_condition(context, step.condition, "if")
        if isinstance(answer, StepError):
            return StepEnd(failed(answer.reason, answer.message))
        if answer.value is not True:
            return StepEnd(Verdict(Phase.SKIPPED, _SKIPPED, recorded_reason=StepReason.CONDITION_FALSE))
    step_start.condition_holds(context.run_context, step)
    if step.kind is StepKind.STOP:
        return await stop.run(context)
    return StepEnd(await _verdict(context, branches))


async def _verdict(context: StepContext, branches: BranchRunner) -> Verdict:
    match context.step.kind:
        case StepKind.ENGRAM:
            return await engram.run(context)
        case StepKind.CONDITION:
            return await condition.run(context)
        case StepKind.SLEEP:
            return await sleep.run(context)
        case StepKind.PARALLEL:
            return await parallel.run(context, branches)
        case StepKind.EXECUTE_STORY:
            return await story.run(context)
        case StepKind.WAIT:
            return await wait.run(context)
        case StepKind.GATE:
            return await gate.run(context)
        case _:
            await trio.lowlevel.checkpoint()
            return _unknown(context.step.declared.get("type"))


def _unknown(word: object) -> Verdict:
    text = f"type {word!r} is unknown" if word else "none of ref, type and run is set"
    return failed(Reason.INVALID_CONFIGURATION, f"{text}; write ref for an Engram, run for a script, or a step type")
