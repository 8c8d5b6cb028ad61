"""What happens before the steps of a run start: guards, Story, turn, inputs, needs of its containers, restored steps.

A run executes its Story as it was when the run started: the copy that ``status.storyRevision`` names. The live Story is
read only for runs that have not started.
Source: StoryRun contract 4 (order of checks), 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api import keys
from core.api.objects import NamespacedName, Object, owners_of, packet_step, step_path, without_data
from core.api.phases import Phase, Reason
from core.api.resource import STORY_RUN
from core.api.unreadable import why_unreadable
from core.engine.calls import patiently, persistently
from core.engine.concurrency.rules import takes_turns
from core.engine.context.access import RunAccess, has_step_at_work
from core.engine.context.run_context import RunContext
from core.engine.context.watchers import Watchers
from core.engine.engine_context import EngineContext
from core.engine.errors import RejectedError
from core.engine.plan import Refusal, StoryPlan
from core.engine.ports import EventType
from core.engine.run import inputs
from core.engine.run.adopted_plan import Begun, bare_plan, plan_to_end
from core.engine.run.restore import restore
from core.engine.slots.scheduling import PRIORITY_BOUNDED
from core.engine.status.writer import StatusWriter
from core.engine.step import endings
from core.engine.step.endings import Ending
from core.engine.step.verdict import Conclusion
from core.engine.values.stored_data import StoredData
from core.engine.values.variables import Variables
from core.engine.wakeup import WakeUp
from core.evaluation.evaluator import Failure
from core.story.realtime import story_of_step
from core.workloads.live_run import why_not_startable

_RUN = ""
"""The key among the wake-ups of the steps for the run itself; no step has an empty name."""


class Preparation:
    """Creates the ``RunContext`` of one run."""

    def __init__(
        self, engine: EngineContext, key: NamespacedName, run: Object, status: StatusWriter, wakeups: dict[str, WakeUp]
    ) -> None:
        self._engine = engine
        self._key = key
        self._run = run
        self._status = status
        self._wakeups = wakeups
        self._hurried = False
        self._turn_taken = False
        """Whether other runs wait for the end of this run, or will."""
        self._is_substitute = False
        """Whether the Story read last is the live one because the copy with which the run started is gone."""
        self._packet_revision = ""
        """Of the stream, for the run of a packet that has none yet."""

    def hurry(self) -> None:
        """Do not wait for a Story that does not exist."""
        self._hurried = True
        wakeup = self._wakeups.get(_RUN)
        if wakeup is not None:
            wakeup.wake()

    async def prepare(self) -> RunContext | Conclusion | Ending | None:
        """The ``RunContext`` of a run whose steps can run now.

        Else a conclusion for a run that cannot start; an ending for a started run that cannot continue; None for a run
        that is being ended already.
        """
        refusal = self._why_not_startable()
        if refusal is not None:
            return _failure(refusal)
        prepared: RunContext | Refusal | None = None
        under_way = False
        while prepared is None:
            step_runs, child_runs = await self._children()
            story = await self._story(step_runs)
            if story is None:
                return None
            state = self._status.state  # the first timer records a revision, perhaps before "Running"
            under_way = state.started or bool(state.revision or step_runs or child_runs)
            prepared = await self._prepared(story, step_runs, child_runs, under_way=under_way)
        if isinstance(prepared, RunContext):
            return prepared
        if not under_way:
            return _failure(prepared)
        if self._hurried:  # it was canceled before, and ends as canceled
            return None
        return endings.refused(_failure(prepared), self._engine.clock.now())

    async def restored(self) -> RunContext | None:
        """The steps of a run that is ended before it could continue; None if it never started."""
        step_runs, child_runs = await self._children()
        state = self._status.state
        if not state.started and not state.steps and not step_runs and not child_runs:
            return None
        story = await self._stored_story()
        plans, evaluator = self._engine.plans, self._engine.evaluator
        known = story is not None and not why_unreadable(story)
        plan = await plans.plan_of(story, evaluator, self._status.asker()) if story and known else None
        values: Mapping[str, Any] | Refusal = {}
        begun = Begun.of(self._status.state.steps or (), step_runs, child_runs)
        if isinstance(plan, StoryPlan):
            values = inputs.run_inputs(self._run, plan)
            plan = plan_to_end(plan, begun)
        else:
            plan = bare_plan(begun)
        access = RunAccess(self._engine, self._run, story or {}, self._status.pace)
        values = {} if isinstance(values, Refusal) else values
        run_context = self._context(story or {}, plan, values, access, was_under_way=True)
        await self._record_start(run_context)
        return run_context

    def _why_not_startable(self) -> Refusal | None:
        """Guards for a run that has not started; they never affect a started run."""
        if self._status.state.started:
            return None
        namespace, name = self._story_key()
        if not name:
            return Refusal(Reason.STORY_REFERENCE_INVALID, "spec.storyRef.name is missing")
        refused = self._engine.settings.why_story_refused(self._key.namespace, namespace, name)
        if refused is not None:
            return Refusal(Reason.STORY_REFERENCE_INVALID, refused)
        return inputs.why_inputs_too_large(self._run, self._engine.settings)

    async def _story(self, step_runs: list[Object]) -> Object | None:
        """The Story. Waits, and shows that in the status, while it does not exist. None: ``hurry`` was called."""
        wakeup = self._wakeups[_RUN] = WakeUp()
        try:
            while True:
                story = await self._stored_story()
                if story is not None:
                    return story
                if self._hurried:
                    return None
                self._give_back_slots(step_runs)
                if self._status.state.reason != Reason.STORY_NOT_FOUND:
                    namespace, name = self._story_key()
                    message = f"Story {namespace}/{name} does not exist (yet)"
                    self._engine.events.emit(self._run, EventType.WARNING, Reason.STORY_NOT_FOUND, message)
                    self._status.apply(self._status.state.story_missing(message))
                else:
                    await self._status.store_again()
                await wakeup.wait()
        finally:
            self._wakeups.pop(_RUN, None)

    def _give_back_slots(self, step_runs: list[Object]) -> None:
        """Release the slots of steps that have no StepRun, so that other steps can use them.

        These steps were about to start when the run was interrupted to answer a request.
        """
        slots, uid = self._engine.slots, str(self._run["metadata"]["uid"])
        for name in slots.steps_holding(uid).difference(map(step_path, step_runs)):
            slots.release(uid, name)

    async def _stored_story(self) -> Object | None:
        """The Story as the run started with it; the live one if the run has not started, or if the copy is gone."""
        namespace, name = self._story_key()
        revision = self._status.state.revision
        if packet_step(self._run):
            self._is_substitute = False
            return await self._story_of_packet(namespace, revision)
        if revision:
            kept = await patiently(self._engine.runs.read_pinned_story, namespace, revision, pace=self._status.pace())
            if kept is not None and kept["metadata"].get("name") == name:  # else it is another Story's
                self._is_substitute = False
                return await self._with_shared_spec(kept)
        self._is_substitute = bool(revision)
        live = await patiently(self._engine.runs.read_story, namespace, name, pace=self._status.pace())
        return None if live is None else await self._with_shared_spec(live)

    async def _story_of_packet(self, namespace: str, revision: str) -> Object | None:
        """The one step that the packet of a stream runs, as the run of that stream executes its Story."""
        pace, step = self._status.pace(), packet_step(self._run)
        revision = revision or await self._revision_of_owner()
        kept = (
            await patiently(self._engine.runs.read_pinned_story, namespace, revision, pace=pace) if revision else None
        )
        if kept is None or why_unreadable(kept):
            return kept
        story = story_of_step(kept, step, self._run["spec"].get("inputs") or {})
        if story is not None and not self._status.state.revision:
            self._packet_revision = revision
        return story

    async def _revision_of_owner(self) -> str:
        """The Story of the stream that owns this run; empty: there is no such stream."""
        for owner in owners_of(self._run):
            if owner.get("kind") != STORY_RUN.kind:
                continue
            key = NamespacedName(self._key.namespace, str(owner.get("name")))
            run = await patiently(self._engine.runs.read_run, key, pace=self._status.pace())
            if run is not None and run["metadata"]["uid"] == owner.get("uid"):
                return str((run.get("status") or {}).get("storyRevision") or "")
        return ""

    async def _with_shared_spec(self, story: Object) -> Object:
        """The Story with the spec that all runs of it share, from now on: a run may wait with it for hours."""
        if why_unreadable(story):
            return story
        await self._engine.plans.plan_of(story, self._engine.evaluator, self._status.asker())
        return self._engine.plans.with_shared_spec(story)

    async def _prepared(
        self, story: Object, step_runs: list[Object], child_runs: list[Object], *, under_way: bool
    ) -> RunContext | Refusal | None:
        """None: the Story has changed meanwhile, so the whole preparation must be repeated."""
        if why := why_unreadable(story):
            namespace, name = self._story_key()
            return Refusal(Reason.UNREADABLE, f"Story {namespace}/{name} cannot be read: {why}; make it smaller")
        if not under_way and (problem := why_not_startable(self._run, story)):
            return Refusal(Reason.INVALID_CONFIGURATION, problem)
        plan = await self._engine.plans.plan_of(story, self._engine.evaluator, self._status.asker())
        if isinstance(plan, Refusal):
            return plan
        resolved = inputs.run_inputs(self._run, plan)
        if isinstance(resolved, Refusal):
            return resolved
        if self._is_substitute:
            astray = Begun.of(self._status.state.steps or (), step_runs, child_runs).astray(plan)
            if astray:
                return _contradiction(plan, astray)
        if not under_way:
            refusal = await self._why_inputs_invalid(resolved, plan, story)
            if refusal is not None:
                return refusal
        state = self._status.state
        runs_again = state.attempts > 0 and not state.is_timed  # perhaps with steps from before
        if not state.started and (not under_way or runs_again) and not await self._is_its_turn(story):
            return None
        access = RunAccess(self._engine, self._run, story, self._status.pace)
        if has_step_at_work(step_runs) or (plan.has_engrams and not self._status.state.started):
            try:
                await access.ensure()
            except RejectedError as error:
                return Refusal(error.reason, str(error))
        if not self._status.state.started and not self._status.state.revision:
            revision = await self._kept(story)
            if isinstance(revision, Refusal):
                return revision
            if self._turn_taken and not await self._engine.concurrency.is_current(story, self._status.pace()):
                # Other runs may have started by the rules of the new Story.
                self._engine.concurrency.ended(str(self._run["metadata"]["uid"]))
                return None
            self._status.apply(self._status.state.pinned(revision))
        starts = not self._status.state.started
        run_context = self._context(story, plan, resolved, access, was_under_way=not starts)
        await self._record_start(run_context)
        if starts and self._turn_taken:
            await self._status.wait_until_stored()  # before anything is created: after a crash, other runs must know
        return run_context

    async def _why_inputs_invalid(self, resolved: Mapping[str, Any], plan: StoryPlan, story: Object) -> Refusal | None:
        if plan.inputs_schema is None:
            return None
        whole = await StoredData(self._engine, story, self._run).inputs(resolved, self._status.pace())
        if isinstance(whole, Failure):
            return Refusal(Reason.VALIDATION_FAILED, whole.message)
        return await inputs.why_inputs_invalid(whole, plan, self._engine.evaluator, self._status.asker())

    async def _is_its_turn(self, story: Object) -> bool:
        """Wait for the turn of the run. False: ``story`` is not the live one any more, and the run has no revision.

        A run that runs again from a step got its revision with that request. It waits by the rules of the live Story,
        if there is one. The run of a packet has no turn: its stream has, and waits for it.
        """
        if packet_step(self._run):
            return True
        limiter, chosen = self._engine.concurrency, bool(self._status.state.revision)
        followed = story
        while True:
            if chosen:
                live = await patiently(self._engine.runs.read_story, *self._story_key(), pace=self._status.pace())
                followed = story if live is None else await self._with_shared_spec(live)
            if await limiter.wait(self._run, followed, self._report_turn, self._status.pace(), outlives=chosen):
                self._turn_taken = takes_turns(followed)
                return True
            if not chosen:
                return False

    def _report_turn(self, message: str) -> None:
        self._status.apply(self._status.state.waiting_for_turn(message))

    async def _kept(self, story: Object) -> str | Refusal:
        """Store a copy of the Story as it is now; returns its name, which the run records together with ``Running``.

        A packet runs a step of the Story that its stream has stored.
        """
        if self._packet_revision:
            return self._packet_revision
        try:
            return await persistently(self._engine.runs.pin_story, story, pace=self._status.pace())
        except RejectedError as error:
            return Refusal(error.reason, str(error))

    def _context(
        self, story: Object, plan: StoryPlan, values: Mapping[str, Any], access: RunAccess, *, was_under_way: bool
    ) -> RunContext:
        watchers = Watchers()
        return RunContext(
            engine=self._engine,
            status=self._status,
            wakeups=self._wakeups,
            story=story,
            plan=plan,
            variables=Variables(values, changed=watchers.wake),
            stored=StoredData(self._engine, story, self._status.state.stored),
            access=access,
            watchers=watchers,
            was_under_way=was_under_way,
        )

    async def _record_start(self, run_context: RunContext) -> None:
        """Restore the steps and record the start of the run: now, or the start of its first step if that is earlier."""
        step_runs = await patiently(self._engine.step_runs.step_runs, self._run, pace=self._status.pace())
        child_runs = await patiently(self._engine.runs.child_runs, self._run, pace=self._status.pace())
        earliest = restore(run_context, step_runs, child_runs)
        if not self._status.state.started and not self._status.state.ended:
            now = self._engine.clock.now()
            schema_refs = _schema_refs(run_context.plan, self._run)
            starts_again = self._status.state.attempts > 0
            since = now if starts_again else min(earliest or now, now)
            self._status.apply(self._status.state.began(since, schema_refs))
            text = "The run starts again" if starts_again else "The run starts"
            self._engine.events.emit(self._run, EventType.NORMAL, Reason.STARTING_EXECUTION, text)
            if note := run_context.scheduling.note:
                self._engine.events.emit(self._run, EventType.WARNING, PRIORITY_BOUNDED, note)

    async def _children(self) -> tuple[list[Object], list[Object]]:
        """The StepRuns and child runs; if the status has no revision yet, it is taken from them.

        Without inputs and outputs: a run may wait long for its Story, its turn or permissions, and many runs may wait
        at once.
        """
        step_runs = await patiently(self._engine.step_runs.step_runs, self._run, pace=self._status.pace())
        child_runs = await patiently(self._engine.runs.child_runs, self._run, pace=self._status.pace())
        child_runs = [without_data(child) for child in child_runs]
        state = self._status.state
        if not state.started and not state.revision:
            known = [
                annotations.get(key)
                for key, children in (
                    (keys.ANNOTATION_STORY_REVISION, step_runs),
                    (keys.ANNOTATION_PARENT_STORY_REVISION, child_runs),
                )
                for annotations in (child["metadata"].get("annotations") or {} for child in children)
            ]
            revision = next((str(name) for name in known if name), "")
            if revision:
                self._status.apply(state.pinned(revision))
        return step_runs, child_runs

    def _story_key(self) -> tuple[str, str]:
        ref = self._run["spec"].get("storyRef") or {}
        return str(ref.get("namespace") or self._key.namespace), str(ref.get("name") or "")


def _failure(refusal: Refusal) -> Conclusion:
    return Conclusion(Phase.FAILED, refusal.reason, refusal.message, has_error=True)


def _contradiction(plan: StoryPlan, astray: tuple[str, ...]) -> Refusal:
    text = (
        f"Story {plan.namespace}/{plan.name} is not the one that the run started with, which was deleted; "
        f"these started steps are missing or different in the present Story: {', '.join(astray)}; start a new run"
    )
    return Refusal(Reason.INVALID_CONFIGURATION, text)


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
