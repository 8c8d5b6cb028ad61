"""What an Engram step is bound to: its Engram and its template, which may be applied after its run has started.

A step waits for what is not there, as long as its timeout allows, and its state says for what and since when. That time
is recorded, so a restart does not prolong the wait. The informers wake the step (core.engine.awaited); nothing is
written while it waits. A step that waits is ``Pending`` and has no slot, unless its current attempt was started. What
that attempt reports is recorded once the definitions are there, or when there is no time left to wait for them.
Source: StepRun contract 6, in the improved form.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import trio

from core.api.objects import Object, is_being_deleted
from core.api.phases import AWAITED_DEFINITIONS, Phase
from core.engine.calls import patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context import step_start
from core.engine.context.run_slots import has_slot
from core.engine.context.step_context import StepContext
from core.engine.errors import AwaitedError, Definition, GoneError, RejectedError, StaleError, UnavailableError
from core.engine.ports import AttemptState, Binding, EventType, Observation, StepError
from core.engine.primitives.own_step_run import OwnStepRun
from core.engine.primitives.results import StepResults
from core.engine.primitives.waiting import until_words
from core.engine.step import outcome, record
from core.engine.step.pending_reason import HoldUp
from core.engine.step.verdict import Verdict
from core.policy.retry import RetryPolicy, retry_on_of

_REPEATS_ALL: Final = RetryPolicy(max_retries=1 << 30)
"""For an unknown policy, while it may become known: only what no number of retries repeats is a failure for good."""
_REPEATS_NOTHING: Final = RetryPolicy(max_retries=0)


class StepDefinitions:
    """Looks up the definitions of one step, and waits for them."""

    def __init__(self, context: StepContext, own: OwnStepRun, results: StepResults) -> None:
        self._context = context
        self._own = own
        self._results = results
        self._pace = context.pace()
        self.waited = False
        """Whether the last call of ``binding`` had to wait."""

    async def binding(self) -> Binding | StepError | Verdict:
        """The binding of the step, once there is one. An error if it can never be bound; a verdict if it ends
        meanwhile.
        """
        self.waited = False
        try:
            return await self._found()
        except RejectedError as error:
            self._end_wait()
            return StepError(error.reason, str(error))

    async def _found(self) -> Binding | Verdict:
        context = self._context
        definitions: frozenset[Definition] = frozenset()
        while True:
            with context.engine.awaited.watching(definitions, context.wakeup):
                context.wakeup.clear()
                try:
                    binding = await patiently(
                        context.engine.bindings.bind,
                        context.run,
                        context.story,
                        context.step.declared,
                        pace=context.pace(),
                    )
                except AwaitedError as missing:
                    if not missing.definitions <= definitions:  # it may have come before this was watched: look again
                        definitions |= missing.definitions
                        continue
                    verdict = await self._wait(missing)
                    if verdict is not None:
                        return verdict
                else:
                    self._end_wait()
                    return binding

    async def _wait(self, missing: AwaitedError) -> Verdict | None:
        """Wait for a wake-up, or for the end of the step's time; a verdict if the step has ended."""
        context = self._context
        self.waited = True
        observation = await patiently(self._own.observe, pace=context.pace())
        step_run = observation.step_run
        if step_run is not None and self._own.is_foreign(step_run):
            step_run = None
        if step_run is not None and record.is_final(step_run.get("status") or {}):
            return record.verdict_of(step_run) if await self._has_let_go(observation) else None
        started = step_run is not None and observation.state is not AttemptState.ABSENT
        ends_at = _deadline_of_attempt(observation) if started else None
        serves = started and observation.live is not None and ends_at is None  # a stream needs no Engram to go on
        deadline_at = self._report(missing, ends_at, Phase.RUNNING if started else Phase.PENDING)
        if has_slot(context) and not started:
            await context.status.wait_until_stored()  # before another step starts in its place
            context.engine.slots.release(context.run_context.run_uid, context.step.name)
        is_over = context.now() >= deadline_at and not serves
        try:
            verdict = await self._judged(observation, missing, is_over=is_over) if started else None
            if verdict is None and is_over:
                verdict = await self._timed_out(step_run, missing)
        except (StaleError, GoneError, UnavailableError) as error:
            await trio.sleep(self._pace.next_seconds(error))
            return None
        if verdict is None and not is_over:
            await wait_for_wakeup(context.wakeup, context.engine.clock, None if serves else deadline_at)
        return verdict

    async def _has_let_go(self, observation: Observation) -> bool:
        """Whether nothing is at work for the recorded end; if not, look again: a request to end may have failed."""
        recorded, step_run = self._decision(observation, RetryPolicy()), observation.step_run
        if step_run is None or not isinstance(recorded, outcome.Recorded) or not recorded.still_alive:
            return True
        try:
            return await self._results.has_left(step_run)
        except (StaleError, GoneError, UnavailableError) as error:
            await trio.sleep(self._pace.next_seconds(error))
            return False

    async def _judged(self, observation: Observation, missing: AwaitedError, *, is_over: bool) -> Verdict | None:
        """Record the result of the current attempt if it is a failure that no policy, while one may become known,
        repeats. When there is no time left for that, record each failure, and a success without its checks.
        """
        step_run = observation.step_run
        assert step_run is not None, "its attempt was started"
        if is_over:
            policy = _REPEATS_NOTHING
        else:
            policy = replace(_REPEATS_ALL, retry_on=retry_on_of((step_run.get("spec") or {}).get("retry")))
        match self._decision(observation, policy):
            case outcome.Fail(message=message) as fail:
                text = f"{message}; no retry follows: {missing}" if is_over else message
                return await self._results.fail(replace(fail, message=text), step_run)
            case outcome.Succeed() if is_over:
                verdict = await self._results.succeed(step_run, None)
            case outcome.Collect() if is_over:
                verdict = await self._results.collect(observation, None, policy)
            case _:
                return None
        text = f"the output of {step_run['metadata']['name']} was not checked: {missing}"
        self._context.emit(EventType.WARNING, "OutputUnchecked", text, step_run)
        return verdict

    async def _timed_out(self, step_run: Object | None, missing: AwaitedError) -> Verdict | None:
        """Record that the time of the step is over, for which ``missing`` was; None: look again."""
        end = outcome.timed_out(missing.limit, HoldUp(missing.reason, str(missing)))
        if step_run is None or is_being_deleted(step_run):
            return Verdict(end.phase, end.message)
        return await self._results.fail(end, step_run)

    def _decision(self, observation: Observation, policy: RetryPolicy) -> outcome.NextAction:
        traits = self._context.engine.executors.traits_of(observation.step_run)
        return outcome.decide(observation, policy, self._context.now(), traits)

    def _report(self, missing: AwaitedError, ends_at: datetime | None, phase: Phase) -> datetime:
        """Show in the state of the step what it waits for; returns the end of its time, unless ``ends_at`` is that."""
        context = self._context
        state = context.state.step(context.step.name)
        since = state.reason_since if state is not None and state.reason in AWAITED_DEFINITIONS else None
        if since is None:
            since = context.now().replace(microsecond=0)  # as stored
            context.emit(EventType.WARNING, missing.reason, f"step {context.step.name!r} waits: {missing}")
        deadline_at = ends_at or since + missing.limit.timeout
        context.set_message(
            f"Waiting{until_words(deadline_at)}: {missing}",
            phase,
            reason=missing.reason,
            reason_since=since,
        )
        return deadline_at

    def _end_wait(self) -> None:
        """The state of the step does not say any more that it waits. That time does not count as its run time."""
        context = self._context
        state = context.state.step(context.step.name)
        if state is not None and state.reason in AWAITED_DEFINITIONS:
            step_start.defined(context.run_context, context.step)
            context.run_context.access.renew()


def _deadline_of_attempt(observation: Observation) -> datetime | None:
    """The deadline of the current attempt, while it is at work."""
    status = (observation.step_run or {}).get("status") or {}
    current = observation.attempt == record.retries_of(status)
    at_work = observation.state in (AttemptState.STARTING, AttemptState.RUNNING)
    return observation.deadline_at if current and at_work else None


def divided(found: Binding | StepError) -> tuple[Binding | None, StepError | None]:
    """What ``binding`` has found: the binding, or the problem that the step fails with."""
    return (None, found) if isinstance(found, StepError) else (found, None)
