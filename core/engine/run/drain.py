"""Ends an Engram step before its time: signal it, wait until nothing runs, record its end.

The engine signals a running step (annotation, and the attempt is asked to end), waits until the drain instant at most,
then records the end. A step that succeeded in time keeps its success.
Source: StoryRun contract 17 in the improved form; StepRun contract 23.
"""

from __future__ import annotations

from datetime import datetime

import trio

from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.phases import ExitClass, Phase, Reason
from core.api.unreadable import why_unreadable
from core.engine.calls import committed, patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.errors import PortError, RejectedError
from core.engine.ports import AttemptState, Observation
from core.engine.primitives.engram import EngramStep
from core.engine.step import record
from core.engine.step.endings import Ending
from core.engine.step.verdict import Verdict


async def end_engram(context: StepContext, ending: Ending, drain_at: datetime, *, unheard: bool = False) -> Verdict:
    """End an Engram step: signal it, wait until nothing runs or until ``drain_at``, record its end.

    ``unheard``: another process has started the step, and may have started an attempt that this process does not know.
    """
    engram = EngramStep(context)
    pace = context.pace()
    signalled = False
    while True:
        observation = await patiently(engram.observe, pace=context.pace())
        step_run = observation.step_run
        if step_run is None or is_being_deleted(step_run) or engram.is_foreign(step_run):
            return ending.verdict
        reported = record.phase_of(step_run.get("status") or {})
        alive = observation.state in (AttemptState.STARTING, AttemptState.RUNNING, AttemptState.LINGERING)
        try:
            if reported is not None and reported.terminal:
                if alive and reported is not Phase.SUCCEEDED:
                    await committed(engram.executor_of(step_run).end_leftover, step_run)
                return await _record(context, step_run, observation, ending)
            if (alive or unheard) and not signalled:  # even after drain_at: else it would outlive its run
                await _signal(context, step_run)
                signalled = True
            elif not alive or context.now() >= drain_at:
                return await _record(context, step_run, observation, ending)
            else:
                await wait_for_wakeup(context.wakeup, context.engine.clock, drain_at)
        except RejectedError:
            raise
        except PortError as error:
            await trio.sleep(pace.next_seconds(error))


async def _signal(context: StepContext, step_run: Object) -> None:
    """Ask the step to end, once and idempotently."""
    step_run = await _marked(context, step_run)
    await committed(context.engine.executors.of(step_run).end_attempt, step_run)


async def _marked(context: StepContext, step_run: Object) -> Object:
    """The StepRun with the mark that it was asked to end. Programs read this mark, never a message."""
    if record.end_is_requested(step_run):
        return step_run
    patch = {"annotations": {keys.ANNOTATION_CANCEL_REQUESTED: "true"}}
    return await committed(context.engine.step_runs.patch_step_run_metadata, step_run, patch)


async def _record(context: StepContext, step_run: Object, observation: Observation, ending: Ending) -> Verdict:
    """Record the end of the step: what is recorded, else what the SDK reported, else the phase of the ending."""
    status = step_run.get("status") or {}
    if not record.is_final(status):
        reported = record.phase_of(status)
        now = context.now()
        if why := why_unreadable(step_run):
            text = f"{record.UNREADABLE}: {why}"
            class_ = ExitClass.TERMINAL
            patch = record.failure_patch(step_run, Phase.FAILED, Reason.UNREADABLE, text, now, exit_class=class_)
        elif reported is Phase.SUCCEEDED or observation.state is AttemptState.SUCCEEDED:
            patch = record.success_patch(step_run, now)
        else:
            phase = reported if reported is not None and reported.terminal else ending.running_becomes
            reason = Reason.TIMED_OUT if phase is Phase.TIMEOUT else Reason.CANCELED
            message = str(status.get("lastFailureMsg") or "") if phase is reported else ""
            step_run = await _marked(context, step_run)
            patch = record.failure_patch(step_run, phase, reason, message or ending.text, now)
        step_run = await committed(context.engine.step_runs.patch_step_run_status, step_run, patch)
        if not record.is_final(step_run.get("status") or {}):  # its container has made it unreadable again
            return record.verdict_of({"metadata": step_run["metadata"], "status": patch})
    context.variables.remember(step_run)
    return record.verdict_of(step_run)
