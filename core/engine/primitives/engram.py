"""An Engram step: one StepRun; its executor carries out attempts until a result is recorded.

A level-based loop: look, decide (core.engine.step.outcome, pure), do one thing, look again. It keeps nothing between
two rounds that a restarted engine would need. Before it, the step waits for its Engram (definitions). Whose StepRun it
finds is in own_step_run, how an attempt ends in results. Source: StoryRun contract 11.2; StepRun contract 7 and 17.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import trio

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, has_ended, is_being_deleted
from core.api.phases import Reason
from core.engine.calls import committed, patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.run_slots import has_slot, wait_for_slot
from core.engine.context.step_context import StepContext
from core.engine.errors import (
    GoneError,
    NameConflictError,
    NoRoomError,
    RejectedError,
    StaleError,
    UnavailableError,
)
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptOrder, AttemptState, Binding, EventType, Observation, StepError
from core.engine.primitives.attempt import AttemptPreparation
from core.engine.primitives.creation import step_run_to_create, warn_near_limit
from core.engine.primitives.definitions import StepDefinitions, divided
from core.engine.primitives.first_attempt import create_step_run, start_turn
from core.engine.primitives.output_cache import CachedOutput, OutputCache
from core.engine.primitives.own_step_run import OwnStepRun
from core.engine.primitives.results import StepResults
from core.engine.primitives.room import RoomWait
from core.engine.primitives.running_mark import RunningMark
from core.engine.primitives.settle import settle_value
from core.engine.primitives.shown_state import pause_after, show
from core.engine.step import outcome, record
from core.engine.step.manifest import is_touched, why_not_continued
from core.engine.step.past import why_missing_in_backup
from core.engine.step.pending_reason import HoldUp
from core.engine.step.verdict import Verdict, failed
from core.engine.streams.record import live_patch, why_not_taken_over

NAME_CONFLICT_GRACE_SECONDS: Final = 4.0
"""An object of a deleted run of the same name vanishes within this time; one that remains belongs to another owner."""


async def run(context: StepContext) -> Verdict:
    return await EngramStep(context).run()


class EngramStep:
    """One Engram step that runs in this process."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._executors = context.engine.executors
        self._own = OwnStepRun(context)
        self._cache = OutputCache(context)
        self._results = StepResults(context, self._cache)
        self._definitions = StepDefinitions(context, self._own, self._results)
        self._room = RoomWait(context)
        self._mark = RunningMark(context)

    async def run(self) -> Verdict:
        try:
            return await self._until_recorded()
        finally:
            self._cache.end()

    async def _until_recorded(self) -> Verdict:
        context = self._context
        found = await self._definitions.binding()
        if isinstance(found, Verdict):
            return found
        binding, problem = divided(found)
        pace = context.pace()
        conflict_until: float | None = None
        while True:
            context.wakeup.clear()  # our own writes wake this task, too
            observation = await patiently(self._own.observe, pace=context.pace())
            hold_up = show(context, observation)
            try:
                verdict = await self._round(observation, binding, problem, hold_up)
            except NameConflictError as error:
                conflict_until = conflict_until or trio.current_time() + NAME_CONFLICT_GRACE_SECONDS
                if trio.current_time() >= conflict_until:
                    problem = StepError(error.reason, str(error))
                else:
                    with trio.move_on_at(conflict_until):
                        await pause_after(error, context, pace)
            except NoRoomError as error:
                await self._room.wait(error)
            except (StaleError, GoneError, UnavailableError) as error:
                await pause_after(error, context, pace)
            except RejectedError as error:
                if problem is not None:
                    raise  # even the record of the failure is refused: the supervisor reports it
                found = await self._definitions.binding()  # admission refuses a step whose Engram has been deleted
                if isinstance(found, Verdict):
                    return found
                binding, problem = divided(found)
                if problem is None and not self._definitions.waited:
                    problem = StepError(error.reason, str(error))
            else:
                if isinstance(verdict, Verdict):
                    return verdict
                pace.reset()
                if isinstance(verdict, outcome.Wait):
                    del observation  # do not hold the StepRun, which may be large, during the wait
                    await wait_for_wakeup(context.wakeup, context.engine.clock, verdict.until)

    async def _round(
        self, observation: Observation, binding: Binding | None, problem: StepError | None, hold_up: HoldUp | None
    ) -> Verdict | outcome.Wait | None:
        step_run = observation.step_run
        if step_run is not None and self._own.is_foreign(step_run):
            if problem is not None:
                return failed(problem.reason, problem.message)
            raise self._own.conflict(step_run)
        if problem is not None:
            return await self._results.fail_for_good(step_run, problem)
        if step_run is not None:
            why = why_not_continued(step_run) or why_not_taken_over(self._context.step, step_run)
            if why is not None:
                return await self._results.fail_for_good(step_run, StepError(Reason.INVALID_CONFIGURATION, why))
        assert binding is not None, "a step is either bound or has a problem"
        now, traits = self._context.now(), self._executors.traits_of(step_run)
        news = bool(live_patch(observation, now))
        decision = outcome.decide(observation, binding.retry, now, traits, binding.limit, hold_up, has_news=news)
        return await self._act(decision, observation, binding)

    async def _act(
        self, decision: outcome.NextAction, observation: Observation, binding: Binding
    ) -> Verdict | outcome.Wait | None:
        """Do the one thing. A verdict ends the step; None: look again at once; a ``Wait``: look again after it."""
        step_run = observation.step_run
        match decision:
            case outcome.Create():
                return await self._create(observation, binding)
            case outcome.Wait():
                if observation.live is not None and step_run is not None:
                    await committed(self._executors.stop, step_run, StopReason.IF_DONE)
                return decision
        assert step_run is not None
        match decision:
            case outcome.Recorded(still_alive):
                if still_alive and not await self._results.has_left(step_run):
                    return None
                return await self._results.settled(step_run, binding)
            case outcome.Start():
                if not await self._own.is_ours(step_run, binding) or not await self._has_slot(step_run):
                    return None
                return await self._start(decision, step_run, binding)
            case outcome.Announce():
                await self._mark.record_when_due(step_run, observation)
            case outcome.EndAttempt():
                await committed(self._executors.stop, step_run, StopReason.SUPERSEDED)
                await trio.lowlevel.checkpoint()
            case outcome.Succeed():
                verdict = await self._results.succeed(step_run, binding, record.key_patch(observation))
                if not self._executors.traits_of(step_run).ends_by_itself:
                    await committed(self._executors.stop, step_run, StopReason.RECORDED)
                return verdict
            case outcome.Collect():
                return await self._results.collect(observation, binding, binding.retry)
            case outcome.Retry():
                await self._results.retry(decision, step_run, binding.retry)
            case outcome.Fail():
                return await self._results.fail(decision, step_run)
        return None

    async def _create(self, observation: Observation, binding: Binding) -> Verdict | None:
        context, step = self._context, self._context.step
        if await _run_is_over(context):
            await context.wakeup.wait()
            return None
        if not self._own.was_there and (missing := why_missing_in_backup(context.run, step.name)):
            return failed(Reason.RESTORED, missing)
        manifest = self._executors.why_unknown(binding.executor) or await step_run_to_create(context, binding)
        if isinstance(manifest, StepError):
            return failed(manifest.reason, manifest.message)
        input_ = manifest["spec"].get("input")
        warn_near_limit(context, input_, binding.max_inline_size_bytes)
        # Wait before taking a slot: what the step waits for may need that slot. The input of a branch is data already.
        if step.looks_anywhere and not step.is_branch:
            await settle_value(context, input_ or {}, "with")
        if not await wait_for_slot(context, self._own.is_begun):
            return None
        again = self._own.was_there or context.run_context.is_shared
        lingers = observation.state is not AttemptState.ABSENT
        run = context.run  # as it is before the wait for a turn or a worker, in which it may show that the step runs
        async with start_turn(context, binding, manifest):
            return await self._begin(run, manifest, binding, again=again, lingers=lingers)

    async def _begin(
        self, run: Object, manifest: Object, binding: Binding, *, again: bool, lingers: bool
    ) -> Verdict | None:
        created = await create_step_run(self._context, binding, run, manifest, again=again, lingers=lingers)
        step_run = created.step_run
        self._own.created(step_run)
        if lingers or step_run.get("status"):
            return None  # it existed already, or an attempt of an earlier one may still run: look again
        if is_touched(step_run):  # with its attempt
            self._has_started(step_run)
            return None
        start = outcome.Start(announce_first=False, announced=False)
        return await self._start(start, step_run, binding, created.order, waits=False)

    async def _has_slot(self, step_run: Object) -> bool:
        """Whether the step may start an attempt: a step with a StepRun may have lost its slot (definitions)."""
        if has_slot(self._context):
            return True
        begun_at = parse_instant_or_none((step_run.get("status") or {}).get("startedAt"))
        if not await wait_for_slot(self._context, self._own.is_at_work, begun_at):
            return False
        await self._context.status.wait_until_stored()  # a restarted engine must know that it has its slot
        return True

    async def _start(
        self,
        start: outcome.Start,
        step_run: Object,
        binding: Binding,
        order: AttemptOrder | StepError | None = None,
        *,
        waits: bool = True,
    ) -> Verdict | None:
        """``order``: that of the attempt, if it was prepared before the StepRun existed."""
        context, traits = self._context, self._executors.traits_of(step_run)
        order = self._executors.why_unknown(traits.name) or order
        order = order or await AttemptPreparation(context, binding, waits).order(step_run)
        if isinstance(order, StepError):
            return await self._results.fail_for_good(step_run, order)
        order = replace(order, step_run=step_run)
        found = await self._cache.look_up(order, binding)
        if found is None:
            return None
        if isinstance(found, CachedOutput):
            seen = record.with_output(found.step_run, found.output)
            return await self._results.succeed(seen, binding, record.cached_patch(found.output, found.source))
        order, step_run = found, found.step_run
        if start.announced:
            text = f"the {traits.word} of {step_run['metadata']['name']} is missing; the operator starts it again"
            context.emit(EventType.WARNING, "JobRestarted", text, step_run)
        if start.announce_first and not traits.lives_by_record:
            await self._mark.record(step_run, record.attempt_ordered(order))
        await context.run_context.access.ensure()
        await committed(self._executors.start, order)
        self._has_started(step_run)
        return None

    def _has_started(self, step_run: Object) -> None:
        self._room.end()
        self._context.set_message("")
        self._mark.started(step_run)


async def _run_is_over(context: StepContext) -> bool:
    """Whether the run is gone, being deleted or ended elsewhere.

    Nothing is created for such a run; the listener ends its scope.
    """
    run = await patiently(context.engine.runs.read_run, context.key, pace=context.pace())
    if run is None or run["metadata"]["uid"] != context.run["metadata"]["uid"]:
        return True
    return is_being_deleted(run) or has_ended(run)
