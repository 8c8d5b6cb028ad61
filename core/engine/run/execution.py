"""The way of one run to its end: checks before the start, then its groups of steps, then its conclusion.

Main steps first; compensations if main steps failed; ``finally`` if a main step had started. An early end (cancel,
timeout, ``stop``) ends the current group and continues with the remaining ones.
Source: StoryRun contract 4 (order of checks), 14, 15 and 17.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import trio

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import NamespacedName, Object
from core.api.phases import Phase, Reason
from core.engine.context.run_context import RunContext
from core.engine.engine_context import EngineContext
from core.engine.plan import StoryPlan
from core.engine.primitives.stop import recorded_stop, stop_in_effect
from core.engine.run.cleanup import Cleanup
from core.engine.run.early_end import EarlyEnd, Stage
from core.engine.run.group_execution import GroupExecution
from core.engine.run.output import conclude
from core.engine.run.preparation import Preparation
from core.engine.run.step_runner import StepRunner
from core.engine.run.termination import (
    cancel_children,
    cancel_packet_runs,
    end_group,
    end_orphans,
    end_retrying_jobs,
)
from core.engine.status.stored_run import terminated_at
from core.engine.status.writer import StatusWriter
from core.engine.step import endings
from core.engine.step.endings import Ending
from core.engine.step.state import held_up_by
from core.engine.step.verdict import Conclusion
from core.engine.streams.endings import topology_terminated
from core.engine.streams.topology import watch_topology
from core.engine.wakeup import WakeUp


class RunExecution:
    """The way of one run to its end. ``end`` ends it early; ``cancel`` does so at a person's request."""

    def __init__(
        self, engine: EngineContext, key: NamespacedName, run: Object, status: StatusWriter, wakeups: dict[str, WakeUp]
    ) -> None:
        self._engine = engine
        self._key = key
        self._status = status
        self._wakeups = wakeups
        self._preparation = Preparation(engine, key, run, status, wakeups)
        self._run_context: RunContext | None = None
        self._early_end = EarlyEnd(status)
        self._cancel_requested = False
        self._main_group: GroupExecution | None = None

    @property
    def ending(self) -> Ending | None:
        return self._early_end.ending

    def cancel(self) -> None:
        """A person wants the run to end. If only ``finally`` steps are left, this changes nothing."""
        self._cancel_requested = True
        state = self._status.state
        if self._early_end.stage is Stage.PREPARING and state.started and state.cancel_observed_at is None:
            self._preparation.hurry()  # only the Story tells how far the run has come
        else:
            self._accept_cancel()

    def end(self, ending: Ending) -> None:
        """End the current group, and with it the run, unless only ``finally`` is left; the first reason counts."""
        self._early_end.end(ending)

    def follow(self, run: Object) -> None:
        """End the main steps of a realtime run if another program has recorded that its topology is terminated."""
        plan = self._run_context.plan if self._run_context is not None else None
        told_at = terminated_at(run)
        if plan is None or not plan.is_realtime or self._main_group is None or told_at is None:
            return
        if self._early_end.stage is Stage.MAIN and not _all_ended(plan.main.order, self._status.state.phases):
            at = parse_instant_or_none(told_at) or self._engine.clock.now()
            self._main_group.end(topology_terminated(at))

    async def run(self) -> Conclusion:
        """Bring the run to its end; returns its conclusion, which the caller has to record."""
        with self._early_end.group_scope:
            refused = await self._main()
            if refused is not None:
                return refused
        run_context, ending = self._run_context, self._early_end.ending
        if ending is not None:
            run_context = run_context or await self._restored()
            if run_context is None:
                return ending.conclusion
            await self._end_main(run_context, ending)
        assert run_context is not None
        cleanup = Cleanup(run_context, StepRunner(run_context, self._early_end))
        await self._compensate(cleanup)
        self._early_end.stage = Stage.FINALLY
        await cleanup.finish()
        return await conclude(run_context, self._early_end.ending)

    async def end_orphans(self, left: list[Object]) -> None:
        """End these StepRuns of the run, which has ended, whichever process started them."""
        run_context = await self._restored()
        if run_context is not None:
            await end_orphans(run_context, left, self._drain(run_context.plan))

    async def _main(self) -> Conclusion | None:
        """From the current state of the run to the end of its main steps; a conclusion if it cannot start."""
        prepared = await self._preparation.prepare()
        if not isinstance(prepared, RunContext):
            if isinstance(prepared, Ending):
                self.end(prepared)
            if self._cancel_requested:
                self._accept_cancel()
            return prepared if isinstance(prepared, Conclusion) else None
        self._run_context = run_context = prepared
        self._early_end.stage = Stage.MAIN
        self._resume_ending(run_context.plan)
        await trio.lowlevel.checkpoint_if_cancelled()
        await end_retrying_jobs(run_context)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_story_timeout, run_context.plan, name=f"timeout of {self._key}")
            if run_context.plan.is_realtime:
                shared = self._engine, self._status, run_context.streams
                nursery.start_soon(watch_topology, *shared, name=f"topology of {self._key}")
            await self._main_steps(run_context)
            nursery.cancel_scope.cancel()
        self._status.apply(self._status.state.topology_restored())
        return None

    async def _main_steps(self, run_context: RunContext) -> None:
        plan = run_context.plan
        self._main_group = GroupExecution(run_context, plan.main, StepRunner(run_context, self._early_end))
        self.follow(self._status.state.stored)
        ending = await self._main_group.run()
        if ending is not None:
            await self._status.wait_until_stored()
            await end_group(run_context, plan.main, ending, self._drain_at(plan, ending))

    async def _end_main(self, run_context: RunContext, ending: Ending) -> None:
        self._status.apply(self._status.state.topology_restored())
        if ending.conclusion.reason == Reason.CANCELED:  # it is stored already: containers need not wait for our status
            await cancel_children(run_context)
        else:
            await self._status.wait_until_stored()
        await end_group(run_context, run_context.plan.main, ending, self._drain_at(run_context.plan, ending))
        if run_context.plan.is_realtime:  # packets that were on their way may have started more
            await cancel_packet_runs(run_context)

    async def _compensate(self, cleanup: Cleanup) -> None:
        self._early_end.stage = Stage.COMPENSATIONS
        if self._cancel_requested:
            self._accept_cancel()
        scope = self._early_end.group_scope = trio.CancelScope()
        with scope:
            if recorded_stop(cleanup.plan, cleanup.plan.compensations, self._status.state) is not None:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            await cleanup.compensate(self._early_end.ending)
        ending = self._early_end.ending
        if scope.cancelled_caught and ending is not None:
            await self._status.wait_until_stored()
            await cleanup.end_compensations(ending, ending.decided_at + self._time_to_stop(cleanup.plan))

    def _accept_cancel(self) -> None:
        """Accept the cancel unless it is too late, and record that, so that a restarted engine accepts it, too."""
        state, stage, ending = self._status.state, self._early_end.stage, self._early_end.ending
        undoes = ending is not None and ending.compensates and stage is Stage.COMPENSATIONS
        if (ending is not None and not undoes) or state.ended or stage is Stage.FINALLY:
            return
        plan = self._run_context.plan if self._run_context is not None else None
        if state.cancel_observed_at is None and plan is not None and self._only_finally_is_left(plan):
            return
        self._status.apply(state.cancel_observed(self._engine.clock.now()))
        observed_at = self._status.state.cancel_observed_at
        assert observed_at is not None
        if undoes:  # a cancel ends the compensations after a ``stop`` as it does after a failure
            self._early_end.announce(endings.canceled(observed_at))
        self.end(endings.canceled(observed_at))

    def _only_finally_is_left(self, plan: StoryPlan) -> bool:
        phases = self._status.state.phases
        before = (*plan.main.order, *plan.compensations.order)
        return bool(before) and all(name in phases and phases[name].terminal for name in before)

    def _resume_ending(self, plan: StoryPlan) -> None:
        """After a restart: if the run was being ended, or should have been, end it before any step starts."""
        state, now = self._status.state, self._engine.clock.now()
        conclusion, stopped_at = stop_in_effect(plan, state)
        deadline_at = _deadline_at(plan, state.started_at)
        if state.announced is Reason.CANCELED and self._cancel_requested:
            self._accept_cancel()
        elif conclusion is not None:
            self.end(endings.stopped(conclusion, stopped_at or now))
        elif plan.story_timeout is not None and deadline_at is not None:
            over = now >= deadline_at and not _all_ended(plan.main.order, state.phases)
            if over or state.announced is Reason.TIMED_OUT:
                self.end(endings.timed_out(plan.story_timeout, deadline_at, held_up_by(self._status.state.steps or {})))
        if self._cancel_requested:
            self._accept_cancel()

    async def _watch_story_timeout(self, plan: StoryPlan) -> None:
        if plan.story_timeout is None:
            return
        await self._status.wait_until_stored()
        recorded = parse_instant_or_none((self._status.state.stored.get("status") or {}).get("startedAt"))
        deadline_at = _deadline_at(plan, recorded or self._status.state.started_at)
        assert deadline_at is not None
        await self._engine.clock.sleep_until(deadline_at)
        self.end(endings.timed_out(plan.story_timeout, deadline_at, held_up_by(self._status.state.steps or {})))

    async def _restored(self) -> RunContext | None:
        """The steps of a run that is ended before it could continue, e.g. canceled while no operator ran."""
        self._run_context = await self._preparation.restored()
        return self._run_context

    def _drain_at(self, plan: StoryPlan, ending: Ending) -> datetime:
        return ending.decided_at + self._drain(plan)

    def _drain(self, plan: StoryPlan) -> timedelta:
        """How long the main steps may take to end; those of a realtime Story finish what they have begun."""
        return plan.drain_timeout or self._time_to_stop(plan)

    def _time_to_stop(self, plan: StoryPlan) -> timedelta:
        return plan.graceful_shutdown or self._engine.settings.run_defaults().graceful_shutdown


def _all_ended(names: tuple[str, ...], phases: Mapping[str, Phase]) -> bool:
    return all(name in phases and phases[name].terminal for name in names)


def _deadline_at(plan: StoryPlan, started_at: datetime | None) -> datetime | None:
    return started_at + plan.story_timeout if started_at is not None and plan.story_timeout is not None else None
