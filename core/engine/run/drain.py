"""Ends an Engram step before its time: signal it, wait until nothing runs, record its end.

The engine signals a running step (annotation, and the attempt is asked to end), waits until the drain instant at most,
then records the end. A step that succeeded in time keeps its success.

An attempt that does not end by itself is drained first (``core.engine.streams.drain``).
Source: StoryRun contract 17 in the improved form; StepRun contract 23.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import trio

from core.api.objects import Object, is_being_deleted
from core.api.phases import ExitClass, Phase, Reason
from core.api.unreadable import why_unreadable
from core.engine.calls import committed, patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.end_request import asked_to_end
from core.engine.context.step_context import StepContext
from core.engine.errors import PortError, RejectedError, ResultLostError, StaleError
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptState, Observation, StepError
from core.engine.primitives.collect import ResultReader
from core.engine.primitives.own_step_run import OwnStepRun
from core.engine.step import record
from core.engine.step.endings import Ending
from core.engine.step.verdict import Verdict
from core.engine.streams import drain as streams

LEAST_READ_SECONDS: Final = 5.0
"""For the output of a container without an SDK that has ended in time, even if the drain is over."""


async def end_engram(context: StepContext, ending: Ending, drain_at: datetime, *, unheard: bool = False) -> Verdict:
    """End an Engram step: signal it, wait until nothing runs or until ``drain_at``, record its end.

    ``unheard``: another process has started the step, and may have started an attempt that this process does not know.
    """
    own = OwnStepRun(context)
    executors, pace = context.engine.executors, context.pace()
    signalled = False
    while True:
        observation = await patiently(own.observe, pace=context.pace())
        step_run = observation.step_run
        if step_run is None or is_being_deleted(step_run) or own.is_foreign(step_run):
            return ending.verdict
        traits = executors.traits_of(step_run)
        if not traits.ends_by_itself:
            stop_at = drain_at + _time_to_stop(context)
            return await _drain(context, own, ending, streams.Drain(ending.drains, drain_at, stop_at))
        reported = record.phase_of(step_run.get("status") or {})
        alive = observation.state in (AttemptState.STARTING, AttemptState.RUNNING, AttemptState.LINGERING)
        latest_at = drain_at + traits.release_time
        try:
            if reported is not None and reported.terminal:
                if alive and reported is not Phase.SUCCEEDED:
                    await committed(executors.stop, step_run, StopReason.RECORDED)
                is_late = latest_at > drain_at and context.now() >= drain_at
                return await _record(context, step_run, observation, ending, None, is_late=is_late)
            if (alive or unheard) and not signalled:  # even after drain_at: else it would outlive its run
                await _signal(context, step_run)
                signalled = True
            elif not alive or context.now() >= latest_at:
                output = await _output_left(context, step_run, observation, drain_at)
                return await _record(context, step_run, observation, ending, output)
            else:
                await wait_for_wakeup(context.wakeup, context.engine.clock, latest_at)
        except RejectedError:
            raise
        except PortError as error:
            await trio.sleep(pace.next_seconds(error))


async def _drain(context: StepContext, own: OwnStepRun, ending: Ending, drain: streams.Drain) -> Verdict:
    """The same for an attempt that does not end by itself."""
    executors, pace = context.engine.executors, context.pace()
    asked: StopReason | None = None
    while True:
        context.wakeup.clear()
        observation = await patiently(own.observe, pace=context.pace())
        step_run = observation.step_run
        if step_run is None or is_being_deleted(step_run):
            return ending.verdict
        now = context.now()
        wanted, has_end = drain.request(now), record.is_final(step_run.get("status") or {})
        try:
            if has_end or drain.is_over(observation, asked, now):
                if has_end and streams.is_at_work(observation):
                    await committed(executors.stop, step_run, StopReason.RECORDED)
                return await _record(context, step_run, observation, ending, None)
            if asked is not StopReason.END:
                step_run = await asked_to_end(context.engine, step_run)
                await committed(executors.stop, step_run, wanted)
                if asked is not wanted:
                    asked = wanted
                    continue
            await wait_for_wakeup(context.wakeup, context.engine.clock, drain.next_at(now))
        except RejectedError:
            raise
        except PortError as error:
            await trio.sleep(pace.next_seconds(error))


def _time_to_stop(context: StepContext) -> timedelta:
    """How long a container may take to stop once it is asked to end."""
    return context.run_context.plan.graceful_shutdown or context.engine.settings.run_defaults().graceful_shutdown


async def _signal(context: StepContext, step_run: Object) -> None:
    """Ask the step to end, once and idempotently."""
    step_run = await asked_to_end(context.engine, step_run)
    await committed(context.engine.executors.stop, step_run, StopReason.END)


async def _output_left(
    context: StepContext, step_run: Object, observation: Observation, drain_at: datetime
) -> Mapping[str, Any] | None:
    """The output of a container without an SDK that has succeeded; None if it cannot be read in time."""
    if observation.state is not AttemptState.SUCCEEDED or not observation.has_result:
        return None
    results = ResultReader(context)
    with trio.move_on_after(max((drain_at - context.now()).total_seconds(), LEAST_READ_SECONDS)):
        try:
            found = await patiently(results.read, step_run, None, pace=context.pace())
        except (ResultLostError, StaleError):
            return None
        return None if isinstance(found, StepError) else found
    return None


def _has_succeeded(observation: Observation) -> bool:
    """Whether the container of an SDK has succeeded, with or without a report. A report of a failure counts more than a
    later Pod of the same Job.
    """
    assert observation.step_run is not None, "only what exists is ended"
    reported = record.phase_of(observation.step_run.get("status") or {})
    if reported is not None and reported.terminal:
        return reported is Phase.SUCCEEDED
    return observation.state is AttemptState.SUCCEEDED and not observation.has_result


async def _record(
    context: StepContext,
    step_run: Object,
    observation: Observation,
    ending: Ending,
    output: Mapping[str, Any] | None,
    *,
    is_late: bool = False,
) -> Verdict:
    """Record the end of the step: what is recorded, else what the SDK reported, else the phase of the ending.

    ``output``: that of a container without an SDK, which has succeeded only if there is one.
    ``is_late``: the drain was over before the report, so a failure that it tells is that of the ending.
    """
    status, ends_by_itself = step_run.get("status") or {}, context.engine.executors.traits_of(step_run).ends_by_itself
    if not record.is_final(status):
        reported = record.phase_of(status)
        now = context.now()
        if why := why_unreadable(step_run):
            text = f"{record.UNREADABLE}: {why}"
            class_ = ExitClass.TERMINAL
            patch = record.failure_patch(step_run, Phase.FAILED, Reason.UNREADABLE, text, now, exit_class=class_)
        elif output is not None:
            patch = record.success_patch(record.with_output(step_run, output), now) | {"output": dict(output)}
        elif _has_succeeded(observation) if ends_by_itself else streams.has_finished(observation):
            patch = record.success_patch(step_run, now)
        else:
            counts = reported is not None and reported.terminal and not is_late
            phase = reported if reported is not None and counts else ending.running_becomes
            reason = Reason.TIMED_OUT if phase is Phase.TIMEOUT else Reason.CANCELED
            reason = ending.step_reason if phase is ending.running_becomes else reason
            message = str(status.get("lastFailureMsg") or "") if phase is reported else ""
            step_run = await asked_to_end(context.engine, step_run)
            patch = record.failure_patch(step_run, phase, reason, message or ending.text, now)
        step_run = await committed(context.engine.step_runs.patch_step_run_status, step_run, patch)
        if not record.is_final(step_run.get("status") or {}):  # its container has made it unreadable again
            return record.verdict_of({"metadata": step_run["metadata"], "status": patch})
    context.variables.remember(step_run)
    return record.verdict_of(step_run)
