"""``gate``: waits until a person approves or rejects, in the run's ``status.gates``. Source: StoryRun contract 11.6.

The decision may come before the gate starts, and it counts before the timeout. ``status.gates`` keeps who decided and
when; admission writes that, and the engine never changes it. The step ends when the engine reads the decision. Its
output is the data of the approval; ``{}`` if there is none or no decision was made. This is our addition.
"""

from __future__ import annotations

from collections.abc import Mapping

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.gatedata import given_data
from core.api.objects import Object
from core.api.phases import Phase, StepReason
from core.engine.calls import patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.ports import EventType, StepError
from core.engine.primitives.waiting import Waiting, keep_deadline, until_words
from core.engine.step.state import StepState
from core.engine.step.timers import TimerKind
from core.engine.step.verdict import Verdict, failed


async def run(context: StepContext) -> Verdict:
    settings = Waiting.of(context, context.engine.settings.run_defaults().gate_timeout)
    if isinstance(settings, StepError):
        return failed(settings.reason, settings.message)
    verdict = await _decision(context)
    if verdict is not None:
        return verdict
    is_new = context.state.step(context.step.name) is None
    deadline_at = await keep_deadline(context, TimerKind.GATE, settings.timeout)
    waiting = f"Waiting for approval{until_words(deadline_at)}"
    context.set_message(waiting, Phase.PAUSED, reason=StepReason.WAITING_FOR_APPROVAL)
    if is_new:
        text = f"gate {context.step.name!r} waits for approval{until_words(deadline_at)}"
        context.emit(EventType.NORMAL, "GateWaiting", text)
    while True:
        context.wakeup.clear()
        verdict = await _decision(context)
        if verdict is not None:
            return verdict
        if deadline_at is not None and context.now() >= deadline_at:
            verdict = settings.over("nobody has approved or rejected it", StepReason.NOT_DECIDED)
            if verdict.phase is Phase.SKIPPED:
                context.variables.give(context.step.name, {})
            return verdict
        await wait_for_wakeup(context.wakeup, context.engine.clock, deadline_at)


def past_output(context: StepContext, recorded: StepState, _: Object | None) -> dict[str, str] | None:
    if recorded.phase is Phase.SUCCEEDED:
        return _output(context.state.stored, context.step.name)
    return {} if recorded.reason == StepReason.NOT_DECIDED else None


def _output(run: Object, name: str) -> dict[str, str]:
    """The data that was given with the approval of a gate."""
    gates = (run.get("status") or {}).get("gates")
    decision = gates.get(name) if isinstance(gates, Mapping) else None
    return given_data(decision) if isinstance(decision, Mapping) else {}


async def _decision(context: StepContext) -> Verdict | None:
    """The verdict of the decision, if there is one; an approval gives the step its output."""
    run = await patiently(context.engine.runs.read_run, context.key, pace=context.pace())
    gates = ((run or {}).get("status") or {}).get("gates")
    decision = gates.get(context.step.name) if isinstance(gates, Mapping) else None
    if not isinstance(decision, Mapping):
        return None
    by = f" by {decision['updatedBy']}" if decision.get("updatedBy") else ""
    at = parse_instant_or_none(decision.get("updatedAt"))
    made = by + (f" at {format_instant(at)}" if at else "")
    now = context.now()
    match decision.get("state"):
        case "Approved":
            text = str(decision.get("message") or f"Approved{made}")
            context.variables.give(context.step.name, _output(run or {}, context.step.name))
            return Verdict(Phase.SUCCEEDED, text, started_at=now)
        case "Rejected":
            return Verdict(Phase.FAILED, str(decision.get("message") or f"Rejected{made}"), started_at=now)
    return None
