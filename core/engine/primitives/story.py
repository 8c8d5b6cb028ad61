"""``executeStory``: starts a StoryRun of another Story, and usually waits for its end. Source: StoryRun contract 11.5.

With ``until`` it is a loop: one StoryRun after the other, each of which can read the output of the one before as
``previous``, until the condition holds; at most ``maxIterations``. Loops are our addition.

The name of the current StoryRun is stored as ``subStoryRunName``; the StoryRun itself, found by its name, makes the
step recoverable. What has been started once is never started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from core.api.conditions import truncated
from core.api.loops import MAX_ITERATIONS
from core.api.objects import NamespacedName, Object, has_ended, is_being_deleted, is_controlled_by, story_depth
from core.api.phases import Phase, Reason, member_or_none
from core.engine.calls import committed, patiently
from core.engine.clock import wait_for_wakeup
from core.engine.context.step_context import StepContext
from core.engine.errors import GoneError, NameConflictError, NoStoreError, PortError, RejectedError
from core.engine.payload_port import StoredAs
from core.engine.ports import EventType, StepError
from core.engine.primitives.settle import settle_condition, settle_value
from core.engine.primitives.waiting import keep_deadline, until_words
from core.engine.slots.scheduling import child_metadata
from core.engine.step.endings import MAX_CAUSE_LENGTH
from core.engine.step.manifest import child_run_manifest, child_run_name, merged_input
from core.engine.step.past import why_missing_in_backup
from core.engine.step.state import StepState, held_up_by, steps_from
from core.engine.step.timers import TimerKind
from core.engine.step.verdict import Verdict, failed
from core.expressions import roots
from core.policy.timing import TimeoutChoice
from core.story.kinds import are_iterations


async def run(context: StepContext) -> Verdict:
    call = _Call.of(context)
    if isinstance(call, StepError):
        return failed(call.reason, call.message)
    try:
        return await _Children(context, call).run()
    except RejectedError as error:
        if isinstance(error, NameConflictError):
            context.emit(EventType.WARNING, Reason.SUB_STORY_RUN_SPOOFED, str(error))
        return failed(error.reason, str(error))


@dataclass(frozen=True, slots=True)
class _Call:
    """The settings of the step."""

    namespace: str
    name: str
    version: str
    waits: bool
    overlay: Mapping[str, Any] | None
    until: str
    """Blank: no loop."""
    most: int

    @classmethod
    def of(cls, context: StepContext) -> _Call | StepError:
        parameters = context.step.parameters
        ref = parameters.get("storyRef")
        name = ref.get("name") if isinstance(ref, Mapping) else None
        if not isinstance(ref, Mapping) or not isinstance(name, str) or not name:
            return StepError(Reason.INVALID_CONFIGURATION, "with.storyRef.name is required: the Story to run")
        overlay, until = parameters.get("with"), parameters.get("until")
        if not isinstance(overlay, Mapping | None):
            return StepError(Reason.INVALID_CONFIGURATION, "with.with must be an object: the inputs of the Story")
        until = until if isinstance(until, str) else ""
        most, waits = parameters.get("maxIterations"), parameters.get("waitForCompletion")
        if until.strip() and not are_iterations(most):
            text = f"with.maxIterations is required with until: a whole number from 1 to {MAX_ITERATIONS}"
            return StepError(Reason.INVALID_CONFIGURATION, text)
        return cls(
            namespace=str(ref.get("namespace") or context.run_context.plan.namespace),
            name=name,
            version=str(ref.get("version") or "").strip(),
            waits=waits is not False or bool(until.strip()),
            overlay=overlay,
            until=until.strip(),
            most=most if isinstance(most, int) and until.strip() else 1,
        )


class _Children:
    """The StoryRuns that one step starts, one after the other."""

    def __init__(self, context: StepContext, call: _Call) -> None:
        self._context = context
        self._call = call

    async def run(self) -> Verdict:
        deadline_at = await keep_deadline(self._context, TimerKind.DEADLINE, self._context.step.timeout)
        number = self._recorded_iteration()
        previous: Mapping[str, Any] = _output(await self._find(number - 1)) if number > 1 else {}
        while True:
            child = await self._start(number, previous)
            if isinstance(child, StepError):
                return failed(child.reason, child.message)
            name = str(child["metadata"]["name"])
            self._record_message(number, name, deadline_at)
            if not self._call.waits:
                self._context.variables.give(self._context.step.name, _output(child))
                return Verdict(Phase.SUCCEEDED, f"Started StoryRun {name}", child_run=name)
            ended = await self._ended(child, deadline_at)
            if isinstance(ended, Verdict):
                return ended
            previous = _output(ended)
            verdict = await self._after(number, ended, previous)
            if verdict is not None:
                return verdict
            number += 1

    def _recorded_iteration(self) -> int:
        """The iteration that is recorded as the last one started; 1 if none is."""
        state = self._context.state.step(self._context.step.name)
        if not self._call.until or state is None or not state.child_run:
            return 1
        run_name, step = self._context.run_name, self._context.step.name
        numbers = range(1, self._call.most + 1)
        return next((n for n in numbers if child_run_name(run_name, step, n) == state.child_run), 1)

    async def _find(self, number: int) -> Object | None:
        """The StoryRun of an iteration, if it exists and this run controls it."""
        context = self._context
        name = child_run_name(context.run_name, context.step.name, number if self._call.until else None)
        child = await patiently(
            context.engine.runs.read_run, NamespacedName(context.namespace, name), pace=context.pace()
        )
        if child is None or not is_controlled_by(child, context.run["metadata"]["uid"]):
            return None
        ref = child["spec"].get("storyRef") or {}
        is_ours = ref.get("name") == self._call.name and ref.get("namespace") in (None, self._call.namespace)
        return child if is_ours else None  # else the API server will report that the name is taken

    async def _start(self, number: int, previous: Mapping[str, Any]) -> Object | StepError:
        """The StoryRun of an iteration: the existing one, else a new one."""
        context, call = self._context, self._call
        child = await self._find(number)
        if child is not None:
            return child
        iteration = number if call.until else None
        name = child_run_name(context.run_name, context.step.name, iteration)
        state = context.state.step(context.step.name)
        if state is not None and state.child_run == name:
            return StepError(Reason.EXECUTION_FAILED, f"StoryRun {name} was deleted before it had ended")
        if number == self._recorded_iteration() and why_missing_in_backup(context.run, context.step.name):
            return StepError(
                Reason.RESTORED, f"StoryRun {name} is not in the backup, so it is unknown what it has done"
            )
        target = await self._target()
        if isinstance(target, StepError):
            return target
        inputs = await self._inputs(target, number, previous)
        if isinstance(inputs, StepError):
            return inputs
        inputs = await self._offloaded(inputs, name)
        settings, scheduling = context.engine.settings, context.run_context.scheduling
        handed_down = child_metadata(
            scheduling, target, settings.queues(), settings.max_priorities(), context.namespace
        )
        manifest = child_run_manifest(
            context.run, context.step, target, inputs, iteration, handed_down, context.state.revision
        )
        child = await self._created(manifest)
        if child is None:  # our own run is gone; its scope ends
            await trio.sleep_forever()
            raise AssertionError("unreachable")
        return child

    async def _created(self, manifest: Object) -> Object | None:
        context, pace = self._context, self._context.pace()
        while True:
            run = await patiently(context.engine.runs.read_run, context.key, pace=context.pace())
            if run is None or run["metadata"]["uid"] != context.run["metadata"]["uid"]:
                return None
            if is_being_deleted(run) or has_ended(run):
                return None
            try:
                return await committed(context.engine.runs.create_child_run, context.run, manifest)
            except RejectedError:
                raise
            except GoneError:
                return None
            except PortError as error:
                await trio.sleep(pace.next_seconds(error))

    async def _target(self) -> Object | StepError:
        """The Story to run, as it is now."""
        context, call = self._context, self._call
        caller = context.run_context.plan
        refused = context.engine.settings.why_call_refused(caller.namespace, call.namespace, call.name)
        if refused is not None:
            return StepError(Reason.STORY_REFERENCE_INVALID, refused)
        deepest = context.engine.settings.run_defaults().max_story_depth
        if story_depth(context.run) >= deepest:
            text = f"Stories call each other more than {deepest} levels deep; check for a cycle of calls"
            return StepError(Reason.INVALID_CONFIGURATION, text)
        story = await patiently(context.engine.runs.read_story, call.namespace, call.name, pace=context.pace())
        if story is None:
            return StepError(Reason.REFERENCE_NOT_FOUND, f"Story {call.namespace}/{call.name} does not exist")
        version = str((story.get("spec") or {}).get("version") or "").strip()
        if call.version and call.version != version:
            text = f"Story {call.namespace}/{call.name} is of version {version or 'none'}, not {call.version}"
            return StepError(Reason.REFERENCE_NOT_FOUND, text)
        return story

    async def _inputs(
        self, target: Object, number: int, previous: Mapping[str, Any]
    ) -> Mapping[str, Any] | StepError | None:
        """The step's ``with.with`` over the target's ``policy.with``, resolved."""
        base = ((target.get("spec") or {}).get("policy") or {}).get("with")
        merged = merged_input(base if isinstance(base, Mapping) else None, self._call.overlay)
        if not merged:
            return merged
        answer = await settle_value(self._context, merged, "with.with", self._roots(number, previous))
        if isinstance(answer, StepError):
            return answer
        value: Any = answer.value
        return value if isinstance(value, Mapping) else {}

    async def _offloaded(self, inputs: Mapping[str, Any] | None, child_name: str) -> Mapping[str, Any] | None:
        """``inputs``; if they are larger than a run may have, their large parts go to the object store.

        Without a store they stay, and the run of the called Story refuses them.
        """
        if not inputs:
            return inputs
        limit = self._context.engine.settings.inputs_limit_bytes
        try:
            found: Mapping[str, Any] = await self._context.stored.offloaded(
                inputs,
                StoredAs.INPUTS,
                child_name,
                self._context.pace(),
                total_bytes=limit,
                inline_bytes=limit,
                field="with.with",
            )
        except NoStoreError:
            return inputs
        return found

    async def _after(self, number: int, child: Object, previous: Mapping[str, Any]) -> Verdict | None:
        """What an ended StoryRun means for the step; None: another iteration follows."""
        context, call = self._context, self._call
        status = child.get("status") or {}
        name, message = str(child["metadata"]["name"]), str(status.get("message") or "")
        phase = member_or_none(Phase, status.get("phase")) or Phase.FAILED
        if phase is Phase.SUCCEEDED:
            context.variables.give(context.step.name, previous)
        if not call.until or phase is not Phase.SUCCEEDED:
            where = f"iteration {number}: " if call.until else ""
            return Verdict(phase, f"{where}{message}", child_run=name)
        if number < call.most and await self._find(number + 1) is not None:
            return None  # started before a restart, so the condition did not hold
        answer = await settle_condition(context, call.until, "with.until", self._roots(number, previous))
        if isinstance(answer, StepError):
            return failed(answer.reason, answer.message)
        if answer.value is True:
            return Verdict(Phase.SUCCEEDED, f"Done after iteration {number}", child_run=name)
        if number < call.most:
            return None
        return failed(Reason.ITERATIONS_EXHAUSTED, f"with.until is still false after {number} iterations")

    async def _ended(self, child: Object, deadline_at: Any) -> Object | Verdict:
        """The StoryRun once it has ended; a verdict if there is nothing left to wait for."""
        context = self._context
        key = NamespacedName(context.namespace, str(child["metadata"]["name"]))
        asked = False
        while True:
            context.wakeup.clear()
            current = await patiently(context.engine.runs.read_run, key, pace=context.pace())
            if current is None or current["metadata"]["uid"] != child["metadata"]["uid"]:
                text = f"StoryRun {key.name} was deleted before it had ended"
                return Verdict(Phase.FAILED, text, Reason.EXECUTION_FAILED, child_run=key.name)
            if has_ended(current):
                return current
            if deadline_at is not None and context.now() >= deadline_at:
                if not asked:
                    await cancel_child(context, current)
                    asked = True
                return Verdict(Phase.TIMEOUT, self._out_of_time(current), child_run=key.name)
            with context.run_context.progress.held_up(context.step.name):
                await wait_for_wakeup(context.wakeup, context.engine.clock, deadline_at)

    def _out_of_time(self, child: Object) -> str:
        timeout, status = self._context.step.timeout, child.get("status") or {}
        limit = f" after {TimeoutChoice(timeout, 'Story step')}" if timeout is not None else ""
        held_up = held_up_by(steps_from(status.get("stepStates"))) or str(status.get("message") or "")
        text = f"timed out{limit}: StoryRun {child['metadata']['name']} had not ended and was canceled"
        return text + (f"; it was at {truncated(held_up, MAX_CAUSE_LENGTH)}" if held_up else "")

    def _roots(self, number: int, previous: Mapping[str, Any]) -> dict[str, Any]:
        return {roots.ITERATION: number, roots.PREVIOUS: dict(previous)} if self._call.until else {}

    def _record_message(self, number: int, name: str, deadline_at: Any) -> None:
        until = until_words(deadline_at)
        text = f"Running StoryRun {name}{until}"
        if self._call.until:
            text = f"Iteration {number} of at most {self._call.most}: StoryRun {name}{until}"
        self._context.set_message(text, child_run=name)


async def cancel_child(context: StepContext, child: Object) -> None:
    """Ask a StoryRun that the step has started to end; retries until the API server has accepted it."""
    pace = context.pace()
    while True:
        try:
            await committed(context.engine.runs.request_cancel, child)
            return
        except GoneError:
            return
        except PortError as error:
            if isinstance(error, RejectedError):
                raise
            await trio.sleep(pace.next_seconds(error))
            key = NamespacedName(str(child["metadata"]["namespace"]), str(child["metadata"]["name"]))
            current = await patiently(context.engine.runs.read_run, key, pace=context.pace())
            if current is None or current["metadata"]["uid"] != child["metadata"]["uid"]:
                return
            child = current


def past_output(_: StepContext, recorded: StepState, child_run: Object | None) -> Mapping[str, Any] | None:
    return _output(child_run) if recorded.phase is Phase.SUCCEEDED else None


def _output(child: Object | None) -> Mapping[str, Any]:
    output = ((child or {}).get("status") or {}).get("output")
    return output if isinstance(output, Mapping) else {}
