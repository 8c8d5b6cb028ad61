"""The StepRun of one Engram step: one that is not ours, one that was there before, and one that this operator created.

A StepRun of the step's name that this run does not control is never adopted or changed. One that it controls may still
be of somebody else's making: then it is created again, if no work has been done for it.
Source: StoryRun contract 11.2; StepRun contract 7.
"""

from __future__ import annotations

from typing import Final

import trio

from core.api.objects import Object, is_controlled_by, is_left_by_a_namesake, step_path
from core.api.phases import Reason
from core.engine.calls import committed, patiently
from core.engine.context.step_context import StepContext
from core.engine.errors import NameConflictError, UnavailableError
from core.engine.ports import AttemptState, Binding, EventType, Observation, StepError
from core.engine.primitives.creation import step_run_to_create
from core.engine.step import record
from core.engine.step.manifest import is_edited, is_touched, step_run_name, why_not_the_work

STRANGE_GRACE_SECONDS: Final = 3.0
"""After this time, a StepRun that is not what this operator would create, and for which no work has been done, is
created again.

Another leader that has just created it checks it again before it starts an attempt, once this time has passed.
"""


class OwnStepRun:
    """What one process knows of the StepRun of one step."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._name = step_run_name(context.run_name, context.step.name)
        self.was_there = False
        """Whether this process has seen or created one."""
        self._known = ""
        """UID of the StepRun that this process has created, or has found to be what it would have created."""
        self._strange_since: float | None = None

    async def observe(self) -> Observation:
        """One look at the step; also updates the variables of templates."""
        engine = self._context.engine
        observation = await engine.executors.observe(engine.step_runs, self._context.run, self._name)
        step_run = observation.step_run
        if step_run is not None and not self.is_foreign(step_run):
            self.was_there = True
            self._context.run_context.streams.begin(self._context.step)
            if not record.claims_success(step_run):  # else after the check
                self._context.variables.remember(step_run)
        return observation

    def is_foreign(self, step_run: Object) -> bool:
        """Whether this run does not control the StepRun with this step's name: it is then not adopted or changed."""
        ours = is_controlled_by(step_run, self._context.run["metadata"]["uid"])
        return not ours or step_path(step_run) != self._context.step.name

    def conflict(self, step_run: Object) -> UnavailableError | NameConflictError:
        """Why the step cannot go on while the foreign ``step_run`` is there."""
        if is_left_by_a_namesake(step_run, self._context.run):
            return UnavailableError(f"StepRun {self._name} of a deleted run is still being removed")
        text = f"a StepRun named {self._name} exists and belongs to another owner; delete or rename it"
        return NameConflictError(text)

    def created(self, step_run: Object) -> None:
        """This process has created it."""
        self.was_there = True
        self._known = step_run["metadata"]["uid"]

    async def is_ours(self, step_run: Object, binding: Binding) -> bool:
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
        text = f"StepRun {self._name} is created again: it is not as the operator created it ({why})"
        self._context.emit(EventType.WARNING, Reason.NAME_CONFLICT, text)
        await committed(self._context.engine.step_runs.delete_step_run, step_run)
        return False

    async def is_begun(self) -> bool:
        """Whether another leader has created the StepRun."""
        step_run = (await patiently(self.observe, pace=self._context.pace())).step_run
        return step_run is not None and not self.is_foreign(step_run)

    async def is_at_work(self) -> bool:
        """Whether another leader has started the attempt, or has ended the step."""
        observation = await patiently(self.observe, pace=self._context.pace())
        status = (observation.step_run or {}).get("status") or {}
        return observation.state is not AttemptState.ABSENT or record.is_final(status)
