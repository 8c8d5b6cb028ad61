"""What a run does between being read and being concluded: guards, Story, inputs, steps, output.

``conduct`` is what an early end cancels; ``wind_down`` is what then remains to be done. Source: StoryRun contract 4
(order of checks), 5, 6, 15 and 16.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import trio

from core.api.instant import parse_instant_or_none
from core.api.phases import Phase, Reason
from core.engine import cancel, inputs
from core.engine.access import RunAccess, has_step_at_work
from core.engine.bell import Bell
from core.engine.calls import Pace, patiently
from core.engine.cancel import Ending
from core.engine.context import EngineContext
from core.engine.errors import RejectedError
from core.engine.execution import Execution
from core.engine.output import conclude
from core.engine.plan import Refusal, StoryPlan, bare_plan, parse_story
from core.engine.ports import EventType, Object, RunKey
from core.engine.primitives.stop import stop_in_effect
from core.engine.status import StatusWriter
from core.engine.verdict import Conclusion

_STORY = ""
"""Stands among the bells of the steps for the wait for the Story; no step has an empty name."""


class Pursuit:
    """One run on its way to its end. ``end_run`` ends it early: it cancels ``conduct``."""

    def __init__(
        self,
        engine: EngineContext,
        key: RunKey,
        run: Object,
        status: StatusWriter,
        bells: dict[str, Bell],
        end_run: Callable[[Ending], None],
    ) -> None:
        self._engine = engine
        self._key = key
        self._run = run
        self._status = status
        self._bells = bells
        self._end_run = end_run
        self._execution: Execution | None = None

    async def conduct(self) -> Conclusion | None:
        """The run's end, once all its steps have ended; None when it was ended early."""
        refusal = self._why_not_startable()
        if refusal is not None:
            return _failure(refusal)
        story = await self._story()
        execution = await self._prepare(story)
        if isinstance(execution, Conclusion):
            return execution
        if execution is None:
            return None
        self._execution = execution
        if self._ends_at_once(execution.plan):
            return None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_story_timeout, execution.plan, name=f"timeout of {self._key}")
            await execution.run()
            nursery.cancel_scope.cancel()
        return await conclude(self._engine, execution.plan, self._status.state, execution.variables.snapshot())

    async def wind_down(self, ending: Ending) -> None:
        """Bring every started step to its end and skip the rest; nothing to do for a run that never started."""
        step_runs = await self._step_runs()
        if not self._status.state.started and not step_runs:
            return
        execution = self._execution or await self._recalled(step_runs)
        await self._status.wait_until_stored()
        drain_at = ending.decided_at + (execution.plan.graceful_shutdown or self._engine.settings.graceful_shutdown)
        await execution.wind_down(ending, step_runs, drain_at)

    def _why_not_startable(self) -> Refusal | None:
        """Guards for a run that has not started; one that runs is never touched by them."""
        if self._status.state.started:
            return None
        namespace, name = self._story_key()
        if not name:
            return Refusal(Reason.STORY_REFERENCE_INVALID, "spec.storyRef.name is missing")
        refused = self._engine.settings.why_story_refused(self._key.namespace, namespace, name)
        if refused is not None:
            return Refusal(Reason.STORY_REFERENCE_INVALID, refused)
        return inputs.why_inputs_too_large(self._run, self._engine.settings)

    async def _story(self) -> Object:
        """The Story; waits, visibly, as long as there is none."""
        namespace, name = self._story_key()
        bell = self._bells[_STORY] = Bell()
        try:
            while True:
                story = await patiently(self._engine.runs.read_story, namespace, name, pace=self._pace())
                if story is not None:
                    return story
                if self._status.state.reason != Reason.STORY_NOT_FOUND:
                    message = f"Story {namespace}/{name} does not exist (yet)"
                    self._engine.events.emit(self._run, EventType.WARNING, Reason.STORY_NOT_FOUND, message)
                    self._status.apply(self._status.state.story_missing(message))
                await bell.wait()
        finally:
            self._bells.pop(_STORY, None)

    async def _prepare(self, story: Object) -> Execution | Conclusion | None:
        """The steps, ready to run; a conclusion for a run that cannot start; None when one under way cannot go on."""
        step_runs = await self._step_runs()
        under_way = self._status.state.started or bool(step_runs)
        execution = await self._execution_of(story, step_runs, check_inputs=not under_way)
        if isinstance(execution, Execution):
            return execution
        conclusion = _failure(execution)
        if not under_way:
            return conclusion
        self._end_run(cancel.refused(conclusion, self._engine.clock.now()))
        return None

    async def _execution_of(self, story: Object, step_runs: list[Object], *, check_inputs: bool) -> Execution | Refusal:
        plan = await self._engine.evaluator.analyse(parse_story, story)
        if isinstance(plan, Refusal):
            return plan
        resolved = inputs.run_inputs(self._run, plan)
        if isinstance(resolved, Refusal):
            return resolved
        if check_inputs:
            refusal = await inputs.why_inputs_invalid(resolved, plan, self._engine.evaluator)
            if refusal is not None:
                return refusal
        access = RunAccess(self._engine, self._run, story, self._pace)
        if not self._status.state.started or has_step_at_work(step_runs):
            try:
                await access.ensure()
            except RejectedError as error:
                return Refusal(error.reason, str(error))
        execution = Execution(self._engine, self._status, self._bells, story, plan, resolved, access, self._end_run)
        self._begin(execution, step_runs)
        return execution

    def _begin(self, execution: Execution, step_runs: list[Object]) -> None:
        """The run is under way from now on, or from the start of its first step if that was never recorded."""
        earliest = execution.recall(step_runs)
        if not self._status.state.started:
            now = self._engine.clock.now()
            schema_refs = _schema_refs(execution.plan, self._run)
            self._status.apply(self._status.state.began(min(earliest or now, now), schema_refs))

    def _ends_at_once(self, plan: StoryPlan) -> bool:
        """A restart may find that the run should have ended already: then nothing is started any more."""
        state = self._status.state
        conclusion, stopped_at = stop_in_effect(plan, state)
        if conclusion is not None:
            self._end_run(cancel.stopped(conclusion, stopped_at or self._engine.clock.now()))
            return True
        deadline_at = _deadline_at(plan, state.started_at)
        if plan.story_timeout is not None and deadline_at is not None and self._engine.clock.now() >= deadline_at:
            self._end_run(cancel.timed_out(plan.story_timeout, deadline_at))
            return True
        return False

    async def _watch_story_timeout(self, plan: StoryPlan) -> None:
        if plan.story_timeout is None:
            return
        await self._status.wait_until_stored()
        recorded = parse_instant_or_none((self._status.state.stored.get("status") or {}).get("startedAt"))
        deadline_at = _deadline_at(plan, recorded or self._status.state.started_at)
        assert deadline_at is not None
        await self._engine.clock.sleep_until(deadline_at)
        self._end_run(cancel.timed_out(plan.story_timeout, deadline_at))

    async def _recalled(self, step_runs: list[Object]) -> Execution:
        """The steps of a run that is ended before it could go on, e.g. canceled while no operator ran."""
        namespace, name = self._story_key()
        story = await patiently(self._engine.runs.read_story, namespace, name, pace=self._pace())
        plan = await self._engine.evaluator.analyse(parse_story, story) if story is not None else None
        if not isinstance(plan, StoryPlan):
            engrams = {str(step_run["spec"].get("stepId")) for step_run in step_runs}
            plan = bare_plan(dict.fromkeys([*(self._status.state.steps or {}), *sorted(engrams)]), engrams)
        access = RunAccess(self._engine, self._run, story or {}, self._pace)
        execution = Execution(self._engine, self._status, self._bells, story or {}, plan, {}, access, self._end_run)
        self._begin(execution, step_runs)
        return execution

    async def _step_runs(self) -> list[Object]:
        return await patiently(self._engine.executor.step_runs, self._run, pace=self._pace())

    def _story_key(self) -> tuple[str, str]:
        ref = self._run["spec"].get("storyRef") or {}
        return str(ref.get("namespace") or self._key.namespace), str(ref.get("name") or "")

    def _pace(self) -> Pace:
        return Pace(self._engine.settings.jitter, lambda denied: self._status.tell_denied("", denied))


def _failure(refusal: Refusal) -> Conclusion:
    return Conclusion(Phase.FAILED, refusal.reason, refusal.message, has_error=True)


def _deadline_at(plan: StoryPlan, started_at: datetime | None) -> datetime | None:
    return started_at + plan.story_timeout if started_at is not None and plan.story_timeout is not None else None


def _schema_refs(plan: StoryPlan, run: Object) -> dict[str, Object]:
    """References to the Story's schemas (StoryRun contract 6.1)."""
    version = str((run["spec"].get("storyRef") or {}).get("version") or "").strip() or plan.version
    place = f"bubu://story/{plan.namespace}/{plan.name}" if plan.namespace else f"bubu://story/{plan.name}"
    refs: dict[str, Object] = {}
    for field, schema, suffix in (
        ("inputSchemaRef", plan.inputs_schema, "inputs"),
        ("outputSchemaRef", plan.outputs_schema, "output"),
    ):
        if schema is not None:
            refs[field] = {"ref": f"{place}/{suffix}"} | ({"version": version} if version else {})
    return refs
