"""``stop``: ends the whole run in the phase that it declares. Source: StoryRun contract 11.8 (improved form)."""

from __future__ import annotations

from datetime import datetime

import trio

from core.api.phases import TERMINAL_PHASES, Phase, Reason, member_or_none
from core.engine.context.step_context import StepContext
from core.engine.context.step_end import StepEnd
from core.engine.plan import GroupPlan, StepPlan, StoryPlan
from core.engine.status.state import RunState
from core.engine.step.endings import stopped
from core.engine.step.verdict import Conclusion, Verdict, failed
from core.story.kinds import StepKind

_ALIASES = {"success": Phase.SUCCEEDED, "failure": Phase.FAILED, "cancel": Phase.FINISHED}


async def run(context: StepContext) -> StepEnd:
    await trio.lowlevel.checkpoint()
    phase = requested_phase(context.step)
    if phase is None:
        allowed = sorted({*(TERMINAL_PHASES - {Phase.SKIPPED}), *_ALIASES})
        text = f"with.phase cannot end a run; write one of {', '.join(allowed)}"
        return StepEnd(failed(Reason.INVALID_CONFIGURATION, text))
    now = context.now()
    verdict = Verdict(phase, message_of(context.step, phase), started_at=now, finished_at=now)
    return StepEnd(verdict, ends_run=stopped(_conclusion(context.step, phase), now))


def requested_phase(step: StepPlan) -> Phase | None:
    """The terminal phase in ``with.phase`` (default ``Succeeded``); None if it names no phase that can end a run."""
    word = step.parameters.get("phase") or Phase.SUCCEEDED
    if not isinstance(word, str):
        return None
    phase = _ALIASES.get(word.strip().lower()) or member_or_none(Phase, word.strip())
    return phase if phase is not None and phase.terminal and phase is not Phase.SKIPPED else None


def message_of(step: StepPlan, phase: Phase) -> str:
    message = step.parameters.get("message")
    return message if isinstance(message, str) and message else f"Step {step.name!r} stopped the run as {phase}"


def stop_in_effect(plan: StoryPlan, state: RunState) -> tuple[Conclusion | None, datetime | None]:
    """How, and since when, a recorded ``stop`` ends the run: a restarted engine continues with that.

    A ``stop`` among the main steps came before any among the compensations. One among the ``finally`` steps ends
    nothing.
    """
    for group in (plan.main, plan.compensations):
        step = recorded_stop(plan, group, state)
        phase = requested_phase(step) if step is not None else None
        recorded = state.step(step.name) if step is not None else None
        if step is not None and phase is not None and recorded is not None:
            return _conclusion(step, phase), recorded.finished_at
    return None, None


def recorded_stop(plan: StoryPlan, group: GroupPlan, state: RunState) -> StepPlan | None:
    """The ``stop`` that has ended the steps of the group."""
    for name, recorded in (state.steps or {}).items():
        step = plan.find(name)
        if step is None or step.kind is not StepKind.STOP or step.parts[0] not in group.graph.position:
            continue
        if recorded.phase is requested_phase(step):
            return step
    return None


def _conclusion(step: StepPlan, phase: Phase) -> Conclusion:
    return Conclusion(phase, Reason.STOPPED, message_of(step, phase), has_error=phase.failing)
