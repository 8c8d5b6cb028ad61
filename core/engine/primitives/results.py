"""The results of one Engram step, and their records: a success once it is checked, a failure, or a retry.

Nothing is recorded twice: what is recorded counts, also for a restarted operator, which checks a success again.
Source: StepRun contract 17, 18 and 19.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import format_instant
from core.api.objects import Object, is_being_deleted
from core.api.phases import Reason
from core.engine.calls import committed
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.errors import ResultLostError
from core.engine.executor_port import StopReason
from core.engine.ports import Binding, EventType, Observation, StepError
from core.engine.primitives.collect import ResultReader
from core.engine.primitives.output_cache import OutputCache
from core.engine.primitives.success import why_not_successful
from core.engine.step import outcome, record
from core.engine.step.verdict import Verdict, failed
from core.policy.retry import RetryPolicy, retry_delay, with_wish

TIME_TO_LEAVE: Final = timedelta(seconds=5)
"""How long a container may take to end after its failure is recorded, if a restarted operator finds it running."""


class StepResults:
    """Checks and records how the attempts of one step end."""

    def __init__(self, context: StepContext, cache: OutputCache) -> None:
        self._context = context
        self._step_runs = context.engine.step_runs
        self._executors = context.engine.executors
        self._reader = ResultReader(context)
        self._cache = cache
        self._leaves_by: datetime | None = None

    async def settled(self, step_run: Object, binding: Binding) -> Verdict:
        """The recorded result; a success only after this process has checked it as well.

        The conditions that mark a result as recorded are in the status, where a container can write, too, and this
        process has not written them.
        """
        if record.claims_success(step_run):
            problem = await why_not_successful(self._context, binding, step_run)
            if problem is not None:
                message = f"{problem.reason}: {problem.message}"
                return await self.fail(outcome.final_failure(problem.reason, message, still_alive=False), step_run)
            self._context.variables.remember(step_run)
        return record.verdict_of(step_run)

    async def has_left(self, step_run: Object) -> bool:
        """Whether the container of a step with a recorded result has ended, or was asked to; if not, look again.

        A container that has reported its failure ends by itself, and its Job stays. A container whose time was over has
        not been asked to end, if the process died before it could ask.
        """
        now, ends_by_itself = self._context.now(), self._executors.traits_of(step_run).ends_by_itself
        self._leaves_by = self._leaves_by or (now + TIME_TO_LEAVE if ends_by_itself else now)
        if now < self._leaves_by:
            await wait_for_wakeup(self._context.wakeup, self._context.engine.clock, self._leaves_by)
            return False
        await committed(self._executors.stop, step_run, StopReason.RECORDED)
        return True

    async def collect(self, seen: Observation, binding: Binding | None, policy: RetryPolicy) -> Verdict | None:
        """Read the output of a container without an SDK, and record it together with the end of the step."""
        step_run = seen.step_run
        assert step_run is not None
        try:
            output = await self._reader.read(step_run, binding)
        except ResultLostError as error:
            decision = outcome.lost_result(step_run, str(error), policy)
            if isinstance(decision, outcome.Fail):
                return await self.fail(decision, step_run)
            await self.retry(decision, step_run, policy)
            return None
        if isinstance(output, StepError):
            return await self.fail_for_good(step_run, output, still_alive=False)
        more = {"output": dict(output), **record.key_patch(seen)}
        return await self.succeed(record.with_output(step_run, output), binding, more)

    async def succeed(
        self, step_run: Object, binding: Binding | None, more: Mapping[str, Any] | None = None
    ) -> Verdict | None:
        """Check and record a success. ``more``: fields of the status of ``step_run`` that are not stored yet."""
        context = self._context
        problem = await why_not_successful(context, binding, step_run)
        if problem is not None:  # the container ends by itself
            return await self.fail_for_good(step_run, problem, still_alive=False)
        if not (more or {}).get("cached"):
            step_run = await self._cache.keep(step_run, binding)
        patch = record.success_patch(step_run, context.now()) | dict(more or {})
        stored = await committed(self._step_runs.patch_step_run_status, step_run, patch)
        self._cache.end()
        context.variables.remember(stored)
        return record.verdict_of(stored)

    async def retry(self, retry: outcome.Retry, step_run: Object, policy: RetryPolicy) -> None:
        context = self._context
        self._cache.end()
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
        await committed(self._executors.stop, stored, StopReason.SUPERSEDED)

    async def fail(self, fail: outcome.Fail, step_run: Object) -> Verdict:
        self._cache.end()
        now, how, details = self._context.now(), (fail.phase, fail.reason, fail.message), fail.details
        code, class_ = fail.exit_code, fail.exit_class
        patch = record.failure_patch(step_run, *how, now, exit_code=code, exit_class=class_, details=details)
        stored = await committed(self._step_runs.patch_step_run_status, step_run, patch)
        self._context.variables.remember(stored)
        if fail.still_alive:
            await committed(self._executors.stop, stored, StopReason.END)
        # Its container may have made the status unreadable again: what was recorded here counts.
        return record.verdict_of(stored if record.is_final(stored.get("status") or {}) else {"status": patch})

    async def fail_for_good(
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
        return await self.fail(outcome.final_failure(problem.reason, message, still_alive=still_alive), step_run)
