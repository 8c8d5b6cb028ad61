"""The life of a step whose needs are met: its ``if``, then its work, then one outcome.

Not here: when a step may start (core.graph.readiness) and what follows from its end (core.engine.run.step_runner).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, Protocol

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
    if step.kind is StepKind.PARALLEL:
        return StepEnd(await parallel.run(context, branches))
    module = _MODULES.get(step.kind)
    end = await (module.run(context) if module is not None else _unknown(context))
    return end if isinstance(end, StepEnd) else StepEnd(end)


async def _unknown(context: StepContext) -> Verdict:
    await trio.lowlevel.checkpoint()
    word = context.step.declared.get("type")
    text = f"type {word!r} is unknown" if word else "none of ref, type and run is set"
    return failed(Reason.INVALID_CONFIGURATION, f"{text}; write ref for an Engram, run for a script, or a step type")


class _Module(Protocol):
    def run(self, context: StepContext) -> Awaitable[Verdict | StepEnd]: ...


_MODULES: Final[Mapping[StepKind, _Module]] = {
    StepKind.ENGRAM: engram,
    StepKind.CONDITION: condition,
    StepKind.SLEEP: sleep,
    StepKind.STOP: stop,
    StepKind.EXECUTE_STORY: story,
    StepKind.WAIT: wait,
    StepKind.GATE: gate,
}
PAST_OUTPUT: Final = {
    StepKind.PARALLEL: parallel.past_output,
    StepKind.EXECUTE_STORY: story.past_output,
    StepKind.GATE: gate.past_output,
}
"""The output of a step that ended before this process held the run, None if it has none. An Engram's is in its StepRun.

Args: the step, its state, and the StoryRun that it started.
"""
