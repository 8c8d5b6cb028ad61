"""Running a run again: all of it, or from one step on. Source: StoryRun contract 18, in the improved form.

A run that runs again from a step uses the Story as it is at the time of the request. A run that runs again as a whole
uses the Story as it is when the run starts.

The order makes a crash at any point harmless, because everything is repeated: first delete what runs again, then remove
it from the status, then record the request as answered. A request that cannot be met is reported (condition, Event) and
recorded as answered; nothing else changes. A request that a newer one has replaced, or that another process has
answered, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

import trio

from core.api import keys
from core.api.conditions import with_condition, with_ready
from core.api.objects import NamespacedName, Object, is_being_deleted, packet_step, step_path
from core.api.phases import ConditionType, Phase, Reason, StepReason
from core.api.resource import STORY_RUN
from core.api.unreadable import why_unreadable
from core.engine.calls import Pace, committed, patiently, persistently
from core.engine.context.end_request import asked_to_end
from core.engine.engine_context import EngineContext
from core.engine.errors import GoneError, PortError, RejectedError
from core.engine.executor_port import StopReason
from core.engine.plan import GroupName, Refusal, StoryPlan
from core.engine.ports import AttemptState, EventType
from core.engine.redrive.request import (
    FullRedrive,
    Malformed,
    RedriveFrom,
    RedriveRequest,
    answered,
    pending_redrive,
)
from core.engine.step.record import end_is_requested
from core.engine.step.state import StepState, steps_from
from core.engine.step.timers import GROUP_MARK, KEPT_BY, timers_from, timers_to_wire
from core.engine.wakeup import WakeUp
from core.evaluation.asker import Asker
from core.graph.reach import downstream
from core.graph.readiness import failed_steps, failure_skips
from core.story.kinds import StepKind

_RESET_BY_BOTH: Final = (
    "phase",
    "message",
    "error",
    "output",
    "conditions",
    "childrenCleanedAt",
    "duration",
    "startedAt",
    "finishedAt",
    "observedGeneration",
    "storyRevision",
    "active",
    "completed",
)
_RESET_BY_FULL: Final = (
    "primitiveChildren",
    "stepStates",
    "gates",
    "stepsComplete",
    "stepsFailed",
    "stepsSkipped",
    "allowedFailures",
)
_GOING_CHECK_SECONDS: Final = 1.0
"""A safety net: the end of each child wakes this task."""


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What is to run again. ``steps``: full names of steps, which include everything inside them; None: all steps."""

    steps: frozenset[str] | None
    event: str
    message: str
    revision: str = ""
    """Name of the stored copy of the Story that gave ``steps`` and that they run by; empty: the live Story then."""

    def includes(self, name: str | None) -> bool:
        """Whether the step with that full name runs again."""
        if self.steps is None:
            return True
        parts = (name or "").split("/")
        return any("/".join(parts[:length]) in self.steps for length in range(1, len(parts) + 1))


class _OvertakenError(Exception):
    """The run carries another request now, or none."""


class Redrive:
    """Answers the request that one run carries."""

    def __init__(self, engine: EngineContext, key: NamespacedName, wakeup: WakeUp) -> None:
        self._engine = engine
        self._key = key
        self._wakeup = wakeup
        self._deleted: set[str] = set()
        """Steps whose StepRun or StoryRun was deleted for the request, or was asked to end in order to be deleted."""
        self._asked: set[str] = set()
        """UIDs of StepRuns that were asked to end for the request; they are deleted once nothing runs for them."""

    async def answer(self, run: Object, request: RedriveRequest) -> None:
        """Return once the request is recorded as answered; the run is then ready to continue, or is as it was before.

        Return early if the run carries another request by then, or none: the caller looks again.
        """
        rerun = await self._rerun_of(run, request)
        self._deleted.clear()
        self._asked.clear()
        try:
            if isinstance(rerun, str):
                await self._refuse(run, request, rerun)
            else:
                await self._clear(run, request, rerun)
                self._release_slots(run, rerun)
                runs = self._engine.runs
                await self._write(run, request, runs.patch_run_status, lambda now: reset_patch(now, rerun))
                await self._write(run, request, runs.patch_run_metadata, lambda now: answered_patch(now, rerun))
                self._engine.events.emit(run, EventType.NORMAL, rerun.event, rerun.message)
        except _OvertakenError:
            await self._delete_asked(run)
            await self._forget_deleted(run)
        except GoneError:
            with trio.move_on_after(_GOING_CHECK_SECONDS):  # the watch may take a while to show it
                await self._wakeup.wait()

    async def _delete_asked(self, run: Object) -> None:
        """Delete the StepRuns that were asked to end for a replaced request: they could not go on."""
        pace = self._pace()
        while True:
            self._wakeup.clear()
            step_runs, _ = await self._children(run)
            left = [one for one in step_runs if one["metadata"]["uid"] in self._asked]
            if not left:
                return
            for one in left:
                try:
                    await self._delete(one)
                except RejectedError:
                    raise
                except PortError as error:
                    await trio.sleep(pace.next_seconds(error))
            with trio.move_on_after(_GOING_CHECK_SECONDS):
                await self._wakeup.wait()

    async def _forget_deleted(self, run: Object) -> None:
        """Let steps run again that were deleted for a replaced request, whatever the newer request asks for.

        They run by the Story of the run until now: it gave the states that stay, and the newer request may be refused.
        """
        pace = self._pace()
        while self._deleted:
            current = await patiently(self._engine.runs.read_run, self._key, pace=self._pace())
            if current is None or current["metadata"]["uid"] != run["metadata"]["uid"]:
                return
            revision = str((current.get("status") or {}).get("storyRevision") or "")
            patch = reset_patch(current, RerunPlan(frozenset(self._deleted), "", "", revision))
            if pending_redrive(current) is None or not patch:  # answered, by another leader
                return
            try:
                await committed(self._engine.runs.patch_run_status, current, patch)
                return
            except GoneError:
                return
            except RejectedError:
                raise
            except PortError as error:
                await trio.sleep(pace.next_seconds(error))

    async def _rerun_of(self, run: Object, request: RedriveRequest) -> RerunPlan | str:
        """What runs again; or why nothing does."""
        if isinstance(request, Malformed):
            return f"annotation {request.annotation} is {request.value!r}: {request.why}"
        if run["spec"].get("cancelRequested") is True:
            return "the run was canceled, which cannot be taken back; start a new one with the same inputs"
        if isinstance(request, FullRedrive) or packet_step(run):  # the run of a packet has one step
            return RerunPlan(None, "StoryRunRedrive", "the run starts again from the beginning")
        return await self._from_step(run, request)

    async def _from_step(self, run: Object, request: RedriveFrom) -> RerunPlan | str:
        ref = run["spec"].get("storyRef") or {}
        namespace, name = str(ref.get("namespace") or self._key.namespace), str(ref.get("name") or "")
        story = await patiently(self._engine.runs.read_story, namespace, name, pace=self._pace())
        if story is None:
            return f"Story {namespace}/{name} does not exist"
        if why := why_unreadable(story):
            return f"Story {namespace}/{name} cannot be read: {why}"
        plan = await self._engine.plans.plan_of(story, self._engine.evaluator, Asker(self._key.namespace))
        if isinstance(plan, Refusal):
            return plan.message
        if request.step in plan.per_packet:
            text = f"step {request.step!r} runs for each packet, so it never ends and cannot run again"
            return f"{text}; name a step that serves a stream: {', '.join(plan.main.order)}"
        if plan.find(request.step) is None:
            return f"Story {namespace}/{name} has no step {request.step!r}; its steps are: {', '.join(plan.order)}"
        states = steps_from((run.get("status") or {}).get("stepStates"))
        steps = steps_to_run_again(plan, states, request.step) | await self._made_in_vain(run, plan)
        steps |= steps_that_waited_for_something_else(plan, run)
        steps |= steps_begun_too_early(plan, states, steps)
        try:
            revision = await self._pinned(story)
        except RejectedError as error:
            return str(error)
        return RerunPlan(steps, "StoryRunRedriveFromStep", f"the run starts again from step {request.step!r}", revision)

    async def _pinned(self, story: Object) -> str:
        """Store a copy of the Story as it is now: after another edit it may not fit the steps that stay.

        Raises:
            RejectedError.
        """
        return await persistently(self._engine.runs.pin_story, story, pace=self._pace())

    async def _made_in_vain(self, run: Object, plan: StoryPlan) -> frozenset[str]:
        """Steps whose StepRun or StoryRun was asked to end, or does not fit the step in the Story as it is now."""
        step_runs, child_runs = await self._children(run)
        found = set()
        for kind, children in ((StepKind.ENGRAM, step_runs), (StepKind.EXECUTE_STORY, child_runs)):
            for child in children:
                name = step_path(child)
                step = plan.find(name)
                if name and (step is None or step.kind is not kind or _was_asked_to_end(child)):
                    found.add(name)
        return frozenset(found)

    async def _clear(self, run: Object, request: RedriveRequest, rerun: RerunPlan) -> None:
        """Delete the StepRuns and StoryRuns of what runs again, and wait until they are gone."""
        asked: set[str] = set()
        pace = self._pace()
        while True:
            self._wakeup.clear()
            current = await self._current(run, request)  # if another leader has answered it, delete nothing
            if is_being_deleted(current):
                raise GoneError(f"StoryRun {self._key} is being deleted")
            step_runs, child_runs = await self._children(run)
            left = [child for child in (*step_runs, *child_runs) if rerun.includes(step_path(child))]
            if not left:
                return
            before = len(asked)
            for child in left:
                uid = child["metadata"]["uid"]
                if uid in asked or is_being_deleted(child):
                    continue
                try:
                    deleted = await self._delete(child)
                except RejectedError:
                    raise
                except PortError as error:
                    await trio.sleep(pace.next_seconds(error))
                else:
                    self._deleted.add(step_path(child) or "")
                    if deleted:
                        asked.add(uid)
            if 0 < before < len(asked):  # another leader, which has answered already, creates them again
                await trio.sleep(pace.next_seconds())
            with trio.move_on_after(_GOING_CHECK_SECONDS):
                await self._wakeup.wait()

    def _release_slots(self, run: Object, rerun: RerunPlan) -> None:
        """Release the slots of what runs again: it asks for one again, and the steps before it may need those slots."""
        uid, slots = str(run["metadata"]["uid"]), self._engine.slots
        for name in filter(rerun.includes, slots.steps_holding(uid)):
            slots.release(uid, name)

    async def _delete(self, child: Object) -> bool:
        """End the attempt first: the garbage collector may end it much later, when a new object has the same name.

        False: it must stay for now, because nothing else would tell when its attempt has ended.
        """
        if child.get("kind") == STORY_RUN.kind:
            await committed(self._engine.runs.delete_child_run, child)
            return True
        executors = self._engine.executors
        if executors.traits_of(child).lives_by_record:
            state = (await patiently(executors.look, child, pace=self._pace())).state
            if state in (AttemptState.STARTING, AttemptState.RUNNING):
                await asked_to_end(self._engine, child)
                self._asked.add(child["metadata"]["uid"])
            if state in (AttemptState.STARTING, AttemptState.RUNNING, AttemptState.LINGERING):
                return False
        await committed(executors.stop, child, StopReason.END)
        await committed(self._engine.step_runs.delete_step_run, child)
        return True

    async def _children(self, run: Object) -> tuple[list[Object], list[Object]]:
        step_runs = await patiently(self._engine.step_runs.step_runs, run, pace=self._pace())
        child_runs = await patiently(self._engine.runs.child_runs, run, pace=self._pace())
        return step_runs, child_runs

    async def _refuse(self, run: Object, request: RedriveRequest, why: str) -> None:
        self._engine.events.emit(run, EventType.WARNING, Reason.REDRIVE_INVALID, why)
        clock = self._engine.clock

        def refused(current: Object) -> Object:
            return {"conditions": _with_refusal(current, why, clock.now())}

        runs = self._engine.runs
        await self._write(run, request, runs.patch_run_status, refused)
        await self._write(run, request, runs.patch_run_metadata, lambda now: {"annotations": answered(now)})

    async def _current(self, run: Object, request: RedriveRequest) -> Object:
        """The newest version of the run.

        Raises:
            GoneError: it does not exist.
            _OvertakenError: it does not carry this request any more.
        """
        current = await patiently(self._engine.runs.read_run, self._key, pace=self._pace())
        if current is None or current["metadata"]["uid"] != run["metadata"]["uid"]:
            raise GoneError(f"StoryRun {self._key} was deleted")
        if pending_redrive(current) != request:
            raise _OvertakenError
        return current

    async def _write(
        self, run: Object, request: RedriveRequest, write: Any, compute: Callable[[Object], Object]
    ) -> None:
        """Write ``compute`` of the newest version, until it is stored.

        Raises:
            GoneError: the run is gone or being deleted.
            _OvertakenError: it does not carry this request any more.
        """
        pace = self._pace()
        while True:
            current = await self._current(run, request)
            patch = compute(current)
            if not patch:
                return
            try:
                await committed(write, current, patch)
                return
            except (GoneError, RejectedError):
                raise
            except PortError as error:
                await trio.sleep(pace.next_seconds(error))

    def _pace(self) -> Pace:
        return Pace(self._engine.settings.jitter)


def steps_to_run_again(plan: StoryPlan, states: Mapping[str, StepState], start: str) -> frozenset[str]:
    """The step, its dependents, and the steps that only its failure or the early end of the run kept from running.

    Pure. A branch runs again without its siblings. Clean-up steps always run again.
    """
    top = start.partition("/")[0]
    group = next(name for name in GroupName if top in plan.groups[name].graph.position)
    names = set(downstream(plan.groups[group].graph, [top]))
    if start != top:
        names.discard(top)
        names.add(start)
    for name, state in states.items():
        step = plan.find(name)
        if step is None:
            names.add(name)  # the Story does not have it any more
            continue
        if name.partition("/")[0] not in plan.main.graph.position:
            continue
        not_begun = state.phase is Phase.SKIPPED and state.started_at is None
        kept_from_running = not_begun and state.reason != StepReason.CONDITION_FALSE
        was_ended = state.phase is not Phase.SKIPPED and state.reason == StepReason.RUN_ENDED
        if kept_from_running or was_ended or step.kind is StepKind.STOP:
            names.add(name)
    names.update(plan.compensations.order)
    names.update(plan.finally_.order)
    return frozenset(names)


def steps_begun_too_early(plan: StoryPlan, states: Mapping[str, StepState], again: Set[str]) -> frozenset[str]:
    """Running main steps that, in the Story as it is now, need a step which has no result to use. Pure.

    ``again``: the steps that run again anyway.
    """
    graph, rules = plan.graph, plan.rules
    phases = {name: state.phase for name, state in states.items() if name not in again}
    missing = {name for name in graph.order if name not in phases or not phases[name].terminal}
    if rules.started_suffices:  # running streams are what the others need
        missing = {name for name in graph.order if name not in phases}
    missing |= {*failed_steps(graph, phases, rules), *failure_skips(graph, phases, rules)}
    running = [name for name in graph.order if name in phases and not phases[name].terminal]
    return frozenset(name for name in running if not missing.isdisjoint(graph.needs[name]))


def steps_that_waited_for_something_else(plan: StoryPlan, run: Object) -> frozenset[str]:
    """Running steps with a timer of a kind that the Story, as it is now, does not give them. Pure.

    The instant at which a ``sleep`` was to end is not the timeout of the ``wait`` that the step has become.
    """
    states = steps_from((run.get("status") or {}).get("stepStates"))
    timers = timers_from((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STEP_TIMERS))
    found = set()
    for name, timer in timers.items():
        step, state = plan.find(name), states.get(name)
        running = state is None or not state.phase.terminal
        if step is not None and running and step.kind is not KEPT_BY.get(timer.kind):
            found.add(name)
    return frozenset(found)


def reset_patch(run: Object, rerun: RerunPlan) -> Object:
    """The merge patch of ``status`` that removes what runs again. Pure."""
    status = run.get("status") or {}
    patch: Object = {field: None for field in _RESET_BY_BOTH if field in status}
    if rerun.steps is None:
        return patch | {field: None for field in _RESET_BY_FULL if field in status}
    if rerun.revision:
        patch["storyRevision"] = rerun.revision
    around = _to_open_again(status, rerun)
    for field in ("stepStates", "gates", "primitiveChildren"):
        gone = [name for name in status.get(field) or {} if rerun.includes(name)]
        gone += around if field == "stepStates" else ()
        if gone:
            patch[field] = dict.fromkeys(gone) if set(gone) < set(status[field]) else None
    kept = {name: state for name, state in _steps_left(status, rerun).items() if "/" not in name}
    counts = {
        "stepsComplete": sum(state.phase is Phase.SUCCEEDED for state in kept.values()),
        "stepsFailed": sum(state.phase.failing for state in kept.values()),
        "stepsSkipped": sum(state.phase is Phase.SKIPPED for state in kept.values()),
    }
    patch |= {field: count for field, count in counts.items() if status.get(field) != count}
    if allowed := status.get("allowedFailures"):
        patch["allowedFailures"] = [name for name in allowed if not rerun.includes(name)] or None
    return patch


def answered_patch(run: Object, rerun: RerunPlan) -> Object:
    """The merge patch of ``metadata`` that records the request as answered and drops the timers of what runs again."""
    annotations = run["metadata"].get("annotations") or {}
    patch: dict[str, str | None] = dict(answered(run))
    if keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT in annotations:
        patch[keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT] = None
    if keys.ANNOTATION_STORY_REVISION in annotations:
        patch[keys.ANNOTATION_STORY_REVISION] = None
    if keys.ANNOTATION_STEP_TIMERS in annotations:
        timers = timers_from(annotations[keys.ANNOTATION_STEP_TIMERS])
        kept = {
            name: timer
            for name, timer in timers.items()
            if not name.startswith(GROUP_MARK) and not rerun.includes(name)
        }
        patch[keys.ANNOTATION_STEP_TIMERS] = timers_to_wire(kept) if kept else None
    return {"annotations": patch} if patch else {}


def _steps_left(status: Mapping[str, Any], rerun: RerunPlan) -> dict[str, StepState]:
    """The states that stay."""
    states = steps_from(status.get("stepStates"))
    around = _to_open_again(status, rerun)
    return {name: state for name, state in states.items() if not rerun.includes(name) and name not in around}


def _was_asked_to_end(child: Object) -> bool:
    asked = end_is_requested(child) or child["spec"].get("cancelRequested") is True
    return asked and (child.get("status") or {}).get("phase") != Phase.SUCCEEDED


def _to_open_again(status: Mapping[str, Any], rerun: RerunPlan) -> list[str]:
    """The ``parallel`` steps that had ended and contain branches that run again.

    A running one continues with its branches.
    """
    states = steps_from(status.get("stepStates"))
    return [name for name in _around(rerun.steps or ()) if name in states and states[name].phase.terminal]


def _around(names: Iterable[str]) -> list[str]:
    """The ``parallel`` steps that contain the branches."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split("/")
        found.update(dict.fromkeys("/".join(parts[:length]) for length in range(1, len(parts))))
    return list(found)


def _with_refusal(run: Object, why: str, now: Any) -> list[Object]:
    conditions = list((run.get("status") or {}).get("conditions") or ())
    generation = run["metadata"].get("generation", 0)
    not_started = "The run has not started"
    return with_condition(
        with_ready(conditions, reason=Reason.PENDING, message=not_started, generation=generation, now=now),
        ConditionType.REDRIVE,
        False,
        reason=Reason.REDRIVE_INVALID,
        message=why,
        generation=generation,
        now=now,
    )
