"""An Engram step: one StepRun; its executor carries out attempts until a result is recorded.

A level-based loop: look, decide (core.engine.step.outcome, pure), do one thing, look again. It keeps nothing between
two rounds that a restarted engine would need. Before it, the step waits for its Engram (definitions).
Source: StoryRun contract 11.2; StepRun contract 7, 17, 18 and 19.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import trio

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.objects import Object, has_ended, is_being_deleted, is_controlled_by, is_left_by_a_namesake, step_path
from core.api.phases import Reason
from core.engine.calls import committed, patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.run_slots import has_slot, wait_for_slot
from core.engine.context.step_context import StepContext
from core.engine.errors import (
    AwaitedError,
    GoneError,
    NameConflictError,
    NoRoomError,
    RejectedError,
    ResultLostError,
    StaleError,
    UnavailableError,
)
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptOrder, AttemptState, Binding, EventType, Observation, StepError
from core.engine.primitives.attempt import AttemptPreparation
from core.engine.primitives.collect import ResultReader
from core.engine.primitives.creation import step_run_to_create, warn_near_limit
from core.engine.primitives.definitions import StepDefinitions, divided
from core.engine.primitives.first_attempt import create_step_run, start_turn
from core.engine.primitives.output_cache import CachedOutput, OutputCache
from core.engine.primitives.room import RoomWait
from core.engine.primitives.running_mark import RunningMark
from core.engine.primitives.settle import settle_value
from core.engine.primitives.shown_state import pause_after, show
from core.engine.primitives.success import why_not_successful
from core.engine.step import outcome, record
from core.engine.step.manifest import (
    is_edited,
    is_touched,
    step_run_name,
    why_not_continued,
    why_not_the_work,
)
from core.engine.step.past import why_missing_in_backup
from core.engine.step.pending_reason import HoldUp
from core.engine.step.verdict import Verdict, failed
from core.policy.retry import RetryPolicy, retry_delay, with_wish
from core.policy.timing import TimeoutChoice

TIME_TO_LEAVE: Final = timedelta(seconds=5)
"""How long a container may take to end after its failure is recorded, if a restarted operator finds it running."""
STRANGE_GRACE_SECONDS: Final = 3.0
"""After this time, a StepRun that is not what this operator would create, and for which no work has been done, is
created again.

Another leader that has just created it checks it again before it starts an attempt, once this time has passed.
"""
NAME_CONFLICT_GRACE_SECONDS: Final = 4.0
"""An object of a deleted run of the same name vanishes within this time; one that remains belongs to another owner."""


async def run(context: StepContext) -> Verdict:
    step = EngramStep(context)
    try:
        return await step.run()
    finally:
        step.cache.end()


class EngramStep:
    """One Engram step that runs in this process."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._step_runs = context.engine.step_runs
        self._executors = context.engine.executors
        self.name = step_run_name(context.run_name, context.step.name)
        self._leaves_by: datetime | None = None
        self._had_step_run = False
        self._known = ""
        """UID of the StepRun that this process has created, or has found to be what it would have created."""
        self._strange_since: float | None = None
        self._definitions = StepDefinitions(context, self)
        self._results = ResultReader(context)
        self._room = RoomWait(context)
        self._mark = RunningMark(context)
        self.cache = OutputCache(context)

    async def run(self) -> Verdict:
        context = self._context
        found = await self._definitions.binding()
        if isinstance(found, Verdict):
            return found
        binding, problem = divided(found)
        pace = context.pace()
        conflict_until: float | None = None
        while True:
            context.wakeup.clear()  # our own writes wake this task, too
            observation = await patiently(self.observe, pace=context.pace())
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
        if step_run is not None and self.is_foreign(step_run):
            if problem is not None:
                return failed(problem.reason, problem.message)
            if is_left_by_a_namesake(step_run, self._context.run):
                raise UnavailableError(f"StepRun {self.name} of a deleted run is still being removed")
            text = f"a StepRun named {self.name} exists and belongs to another owner; delete or rename it"
            raise NameConflictError(text)
        if problem is not None:
            return await self._fail_for_good(step_run, problem)
        if step_run is not None and (why := why_not_continued(step_run, streams=self._context.step.serves_stream)):
            return await self._fail_for_good(step_run, StepError(Reason.INVALID_CONFIGURATION, why))
        assert binding is not None, "a step is either bound or has a problem"
        decision = self._decide(observation, binding.retry, binding.limit, hold_up)
        return await self._act(decision, observation, binding)

    async def observe(self) -> Observation:
        """One look at the step; also updates the variables of templates."""
        observation = await self._executors.observe(self._step_runs, self._context.run, self.name)
        step_run = observation.step_run
        if step_run is not None and not self.is_foreign(step_run):
            self._had_step_run = True
            if self._context.step.serves_stream:
                self._context.run_context.streams.begin(self._context.step.name)
            if not record.claims_success(step_run):  # else after the check
                self._context.variables.remember(step_run)
        return observation

    async def judge(self, observation: Observation, policy: RetryPolicy, missing: str = "") -> Verdict | None:
        """Record a failure that ``policy`` does not repeat; with ``missing``, also a success, without its schema."""
        step_run = observation.step_run
        match self._decide(observation, policy):
            case outcome.Fail(message=message) as fail if step_run is not None:
                text = f"{message}; no retry follows: {missing}" if missing else message
                return await self._fail(replace(fail, message=text), step_run)
            case outcome.Succeed() | outcome.Collect() as success if step_run is not None and missing:
                collects = isinstance(success, outcome.Collect)
                end = self._collect(observation, None, policy) if collects else self._succeed(step_run, None)
                verdict = await end
                text = f"the output of {self.name} was not checked: {missing}"
                self._context.emit(EventType.WARNING, "OutputUnchecked", text, step_run)
                return verdict
        return None

    async def has_let_go(self, observation: Observation) -> bool:
        """Whether nothing is at work any more for a StepRun whose end is recorded; if not, look again."""
        step_run = observation.step_run
        recorded = self._decide(observation, RetryPolicy())
        alive = isinstance(recorded, outcome.Recorded) and recorded.still_alive
        return step_run is None or not alive or await self._has_left(step_run)

    async def run_out_of_time(self, step_run: Object | None, missing: AwaitedError) -> Verdict | None:
        """Record that the time of the step is over, for which its Engram was missing."""
        end = outcome.timed_out(missing.limit, HoldUp(missing.reason, str(missing)))
        if step_run is None or is_being_deleted(step_run):
            return Verdict(end.phase, end.message)
        return await self._fail(end, step_run)

    def is_foreign(self, step_run: Object) -> bool:
        """Whether this run does not control the StepRun with this step's name: it is then not adopted or changed."""
        ours = is_controlled_by(step_run, self._context.run["metadata"]["uid"])
        return not ours or step_path(step_run) != self._context.step.name

    def _decide(
        self,
        observation: Observation,
        policy: RetryPolicy,
        limit: TimeoutChoice | None = None,
        hold_up: HoldUp | None = None,
    ) -> outcome.NextAction:
        traits = self._executors.traits_of(observation.step_run)
        return outcome.decide(observation, policy, self._context.now(), traits, limit, hold_up)

    async def _stop(self, step_run: Object, why: StopReason) -> None:
        await committed(self._executors.stop, step_run, why)

    async def _run_is_over(self) -> bool:
        """Whether the run is gone, being deleted or ended elsewhere.

        Nothing is created for such a run; the listener ends its scope.
        """
        context = self._context
        run = await patiently(context.engine.runs.read_run, context.key, pace=context.pace())
        if run is None or run["metadata"]["uid"] != context.run["metadata"]["uid"]:
            return True
        return is_being_deleted(run) or has_ended(run)

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
                    await self._stop(step_run, StopReason.IF_DONE)
                return decision
        assert step_run is not None
        match decision:
            case outcome.Recorded(still_alive):
                if still_alive and not await self._has_left(step_run):
                    return None
                return await self._settled(step_run, binding)
            case outcome.Start():
                if not await self._is_ours(step_run, binding) or not await self._has_slot(step_run):
                    return None
                return await self._start(decision, step_run, binding)
            case outcome.Announce():
                await self._mark.record_when_due(step_run, observation)
            case outcome.EndAttempt():
                await self._stop(step_run, StopReason.SUPERSEDED)
                await trio.lowlevel.checkpoint()
            case outcome.Succeed():
                verdict = await self._succeed(step_run, binding, record.key_patch(observation))
                if not self._executors.traits_of(step_run).ends_by_itself:
                    await self._stop(step_run, StopReason.RECORDED)
                return verdict
            case outcome.Collect():
                return await self._collect(observation, binding, binding.retry)
            case outcome.Retry():
                await self._retry(decision, step_run, binding.retry)
            case outcome.Fail():
                return await self._fail(decision, step_run)
        return None

    async def _create(self, observation: Observation, binding: Binding) -> Verdict | None:
        context, step = self._context, self._context.step
        if await self._run_is_over():
            await context.wakeup.wait()
            return None
        if not self._had_step_run and (missing := why_missing_in_backup(context.run, step.name)):
            return failed(Reason.RESTORED, missing)
        manifest = self._executors.why_unknown(binding.executor) or await step_run_to_create(context, binding)
        if isinstance(manifest, StepError):
            return failed(manifest.reason, manifest.message)
        input_ = manifest["spec"].get("input")
        warn_near_limit(context, input_, binding.max_inline_size_bytes)
        # Wait before taking a slot: what the step waits for may need that slot. The input of a branch is data already.
        if step.looks_anywhere and not step.is_branch:
            await settle_value(context, input_ or {}, "with")
        if not await wait_for_slot(context, self._is_begun):
            return None
        again = self._had_step_run or context.run_context.is_shared
        lingers = observation.state is not AttemptState.ABSENT
        run = context.run  # as it is before the wait for a turn or a worker, in which it may show that the step runs
        async with start_turn(context, binding, manifest):
            return await self._begin(run, manifest, binding, again=again, lingers=lingers)

    async def _begin(
        self, run: Object, manifest: Object, binding: Binding, *, again: bool, lingers: bool
    ) -> Verdict | None:
        created = await create_step_run(self._context, binding, run, manifest, again=again, lingers=lingers)
        step_run, self._had_step_run = created.step_run, True
        self._known = step_run["metadata"]["uid"]
        if lingers or step_run.get("status"):
            return None  # it existed already, or an attempt of an earlier one may still run: look again
        if is_touched(step_run):  # with its attempt
            self._has_started(step_run)
            return None
        start = outcome.Start(announce_first=False, announced=False)
        return await self._start(start, step_run, binding, created.order, waits=False)

    async def _is_ours(self, step_run: Object, binding: Binding) -> bool:
        """Whether the StepRun is one that this operator would create; if not, look again.

        A user who may write StepRuns can create the one of a step before the operator does, or change it. If no work
        has been done for it, it is created again, whatever the reason for the difference: that costs nothing. If work
        has been done, its input was resolved from the values of that time; then its spec must only be unchanged since
        its creation, which the caller has checked.
        """
        uid = step_run["metadata"]["uid"]
        if is_touched(step_run) or (uid == self._known and not is_edited(step_run)):
            return True
        wanted = await step_run_to_create(self._context, binding)
        if isinstance(wanted, StepError):
            return True  # its start fails for the same reason, which is then recorded
        why = "spec" if is_edited(step_run) else why_not_the_work(wanted, step_run)
        if why is None:
            self._known = uid
            return True
        now = trio.current_time()
        self._strange_since = self._strange_since or now
        if now < self._strange_since + STRANGE_GRACE_SECONDS:
            await trio.sleep(self._strange_since + STRANGE_GRACE_SECONDS - now)
            return False
        self._strange_since = None
        text = f"StepRun {self.name} is created again: it is not as the operator created it ({why})"
        self._context.emit(EventType.WARNING, Reason.NAME_CONFLICT, text)
        await committed(self._step_runs.delete_step_run, step_run)
        return False

    async def _settled(self, step_run: Object, binding: Binding) -> Verdict:
        """The recorded result; a success only after this process has checked it as well.

        The conditions that mark a result as recorded are in the status, where a container can write, too, and this
        process has not written them.
        """
        if record.claims_success(step_run):
            problem = await why_not_successful(self._context, binding, step_run)
            if problem is not None:
                message = f"{problem.reason}: {problem.message}"
                return await self._fail(outcome.final_failure(problem.reason, message, still_alive=False), step_run)
            self._context.variables.remember(step_run)
        return record.verdict_of(step_run)

    async def _is_begun(self) -> bool:
        """Whether another leader has created the StepRun."""
        step_run = (await patiently(self.observe, pace=self._context.pace())).step_run
        return step_run is not None and not self.is_foreign(step_run)

    async def _has_slot(self, step_run: Object) -> bool:
        """Whether the step may start an attempt: a step with a StepRun may have lost its slot (definitions)."""
        if has_slot(self._context):
            return True
        begun_at = parse_instant_or_none((step_run.get("status") or {}).get("startedAt"))
        if not await wait_for_slot(self._context, self._is_at_work, begun_at):
            return False
        await self._context.status.wait_until_stored()  # a restarted engine must know that it has its slot
        return True

    async def _is_at_work(self) -> bool:
        """Whether another leader has started the attempt, or has ended the step."""
        observation = await patiently(self.observe, pace=self._context.pace())
        status = (observation.step_run or {}).get("status") or {}
        return observation.state is not AttemptState.ABSENT or record.is_final(status)

    async def _has_left(self, step_run: Object) -> bool:
        """Whether the container of a step with a recorded result has ended, or was asked to; if not, look again.

        A container that has reported its failure ends by itself, and its Job stays. A container whose time was over has
        not been asked to end, if the process died before it could ask.
        """
        now, ends_by_itself = self._context.now(), self._executors.traits_of(step_run).ends_by_itself
        self._leaves_by = self._leaves_by or (now + TIME_TO_LEAVE if ends_by_itself else now)
        if now < self._leaves_by:
            await wait_for_wakeup(self._context.wakeup, self._context.engine.clock, self._leaves_by)
            return False
        await self._stop(step_run, StopReason.RECORDED)
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
            return await self._fail_for_good(step_run, order)
        order = replace(order, step_run=step_run)
        found = await self.cache.look_up(order, binding)
        if found is None:
            return None
        if isinstance(found, CachedOutput):
            seen = record.with_output(found.step_run, found.output)
            return await self._succeed(seen, binding, record.cached_patch(found.output, found.source))
        order, step_run = found, found.step_run
        if start.announced:
            text = f"the {traits.word} of {self.name} is missing; the operator starts it again"
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

    async def _collect(self, seen: Observation, binding: Binding | None, policy: RetryPolicy) -> Verdict | None:
        """Read the output of a container without an SDK, and record it together with the end of the step."""
        step_run = seen.step_run
        assert step_run is not None
        try:
            output = await self._results.read(step_run, binding)
        except ResultLostError as error:
            decision = outcome.lost_result(step_run, str(error), policy)
            if isinstance(decision, outcome.Fail):
                return await self._fail(decision, step_run)
            await self._retry(decision, step_run, policy)
            return None
        if isinstance(output, StepError):
            return await self._fail_for_good(step_run, output, still_alive=False)
        more = {"output": dict(output), **record.key_patch(seen)}
        return await self._succeed(record.with_output(step_run, output), binding, more)

    async def _succeed(
        self, step_run: Object, binding: Binding | None, more: Mapping[str, Any] | None = None
    ) -> Verdict | None:
        """Check and record a success. ``more``: fields of the status of ``step_run`` that are not stored yet."""
        context = self._context
        problem = await why_not_successful(context, binding, step_run)
        if problem is not None:  # the container ends by itself
            return await self._fail_for_good(step_run, problem, still_alive=False)
        if not (more or {}).get("cached"):
            step_run = await self.cache.keep(step_run, binding)
        patch = record.success_patch(step_run, context.now()) | dict(more or {})
        stored = await committed(self._step_runs.patch_step_run_status, step_run, patch)
        self.cache.end()
        context.variables.remember(stored)
        return record.verdict_of(stored)

    async def _retry(self, retry: outcome.Retry, step_run: Object, policy: RetryPolicy) -> None:
        context = self._context
        self.cache.end()
        number = record.retries_of(step_run.get("status") or {}) + 1
        now = context.now()
        delay = with_wish(retry_delay(policy, number, context.engine.settings.jitter()), retry.not_before, now)
        why = retry.exit_code, retry.message, retry.obstacle
        patch = record.retry_patch(step_run, now, now + delay, policy.max_retries, *why)
        stored = await committed(self._step_runs.patch_step_run_status, step_run, patch)
        at = format_instant(now + delay)
        message = f"Retry {number} of {policy.max_retries} at {at}: {retry.message}"
        context.set_message(message, reason=Reason.RETRY_SCHEDULED)
        text = f"retry {number} of {policy.max_retries} in {delay.total_seconds():g} s: {retry.message}"
        context.emit(EventType.WARNING, "JobRetryScheduled", text, stored)
        context.emit(EventType.WARNING, "StepRetryScheduled", f"step {context.step.name!r}: {text}")
        await self._stop(stored, StopReason.SUPERSEDED)

    async def _fail(self, fail: outcome.Fail, step_run: Object) -> Verdict:
        self.cache.end()
        now, how, details = self._context.now(), (fail.phase, fail.reason, fail.message), fail.details
        code, class_ = fail.exit_code, fail.exit_class
        patch = record.failure_patch(step_run, *how, now, exit_code=code, exit_class=class_, details=details)
        stored = await committed(self._step_runs.patch_step_run_status, step_run, patch)
        self._context.variables.remember(stored)
        if fail.still_alive:
            await self._stop(stored, StopReason.END)
        # Its container may have made the status unreadable again: what was recorded here counts.
        return record.verdict_of(stored if record.is_final(stored.get("status") or {}) else {"status": patch})

    async def _fail_for_good(
        self, step_run: Object | None, problem: StepError, *, still_alive: bool = True
    ) -> Verdict | None:
        """Record a failure that no retry can fix; without a StepRun, only the step's state records it."""
        if step_run is None:
            return failed(problem.reason, problem.message)
        if is_being_deleted(step_run):
            return failed(problem.reason, problem.message)
        if record.is_final(step_run.get("status") or {}):
            return record.verdict_of(step_run)
        message = f"{problem.reason}: {problem.message}"
        return await self._fail(outcome.final_failure(problem.reason, message, still_alive=still_alive), step_run)
