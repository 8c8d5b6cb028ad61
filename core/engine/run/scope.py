"""One StoryRun in this process: ONE nursery for its steps; around it a listener and a status writer.

The nurseries give the order of the ends: step tasks first, then the listener, last the status writer, which is shielded
so that a write in flight gets its answer. When the process stops, the scope ends without a further write: the API
server has all that a successor needs.
Source: StoryRun contract 4, 7, 15 and 17.
"""

from __future__ import annotations

import trio

from core.api.objects import NamespacedName, Object, has_ended, is_being_deleted
from core.api.phases import Phase
from core.api.unreadable import why_unreadable
from core.engine.calls import Pace, patiently
from core.engine.engine_context import EngineContext
from core.engine.errors import GoneError
from core.engine.ports import EventType
from core.engine.redrive.redrive import Redrive
from core.engine.redrive.request import pending_redrive
from core.engine.run.execution import RunExecution
from core.engine.run.termination import orphans
from core.engine.status.state import RunState
from core.engine.status.writer import OvertakenError, StatusWriter
from core.engine.step.endings import unreadable
from core.engine.wakeup import WakeUp


class StoryRunScope:
    """The life of one run. ``run`` returns when the run is terminal, gone or being deleted."""

    def __init__(self, engine: EngineContext, key: NamespacedName) -> None:
        self._engine = engine
        self._key = key
        self._wakeup = WakeUp()
        self._wakeups: dict[str, WakeUp] = {}
        self._execution: RunExecution | None = None
        self._runs_again = False
        self._services = trio.CancelScope()
        self._status: StatusWriter | None = None
        self.run_uid = ""
        """UID of the run that was read last; empty before the first read."""

    def __repr__(self) -> str:
        phase = self._status.state.phase if self._status else None
        early = self._execution.ending if self._execution else None
        ending = f", {early.because}" if early else ""
        return f"<StoryRunScope {self._key} {phase or 'new'}, {self.steps_at_work} steps at work{ending}>"

    @property
    def steps_at_work(self) -> int:
        return len(self._wakeups)

    @property
    def state(self) -> RunState | None:
        """None before the run has been read."""
        return self._status.state if self._status is not None else None

    def wake(self, step: str | None = None) -> None:
        """Something about the step ``step`` has changed; None: look at everything again.

        An empty ``step``: only what the run itself waits for before it has steps.
        """
        if step is None:
            self._wakeup.wake()
            for wakeup in self._wakeups.values():
                wakeup.wake()
        elif step in self._wakeups:
            self._wakeups[step].wake()
        elif step:  # a step that does not run: the run may wait for its end
            self._wakeup.wake()

    async def run(self) -> None:
        """Bring the run to its end; each time a person asks to run it again, do that.

        Raises:
            RejectedError: the API server refuses a necessary write.
            Exception: a bug; the supervisor records it and starts a new scope.
        """
        while True:
            self._wakeups.clear()  # no step runs: a wake-up for one concerns the run
            self._wakeup.clear()
            run = await patiently(self._engine.runs.read_run, self._key, pace=self._pace())
            uid = None if run is None or is_being_deleted(run) else str(run["metadata"]["uid"])
            if self.run_uid not in ("", uid):  # deleted when it was to be read again
                self.forget()
            if run is None or uid is None:
                return
            self.run_uid = uid
            request = pending_redrive(run)
            if request is not None:
                await Redrive(self._engine, self._key, self._wakeup).answer(run, request)
            elif has_ended(run) or not await self._live(run):
                await self._end_leftovers()
                self.forget()
                return

    def forget(self) -> None:
        """No task of the run is left here: its slots and its turn go to other runs of this process."""
        self._engine.slots.forget(self.run_uid)
        self._engine.concurrency.ended(self.run_uid)

    async def _live(self, run: Object) -> bool:
        """The life of the run until its end, or until this scope gives it up; True if the run must be read again."""
        self._runs_again = False
        self._services = trio.CancelScope()
        status = self._status = StatusWriter(self._engine, self._key, RunState.from_stored(run))
        execution = self._execution = RunExecution(self._engine, self._key, run, status, self._wakeups)
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(self._write_status, status, name=f"status of {self._key}")
                try:
                    with self._services:
                        async with trio.open_nursery() as services:
                            services.start_soon(self._listen, status, execution, name=f"listener of {self._key}")
                            self._end_early(run, execution)
                            await self._execute(execution, status)
                            services.cancel_scope.cancel()
                finally:
                    status.close()
        except* GoneError:
            pass  # it was deleted meanwhile; its children go with it
        except* OvertakenError:
            self._runs_again = True
        return self._runs_again

    async def _end_leftovers(self) -> None:
        """End StepRuns that still run although the run has ended.

        Another process may have ended the run while a step was started here, or in a process that has died since.
        """
        run = await patiently(self._engine.runs.read_run, self._key, pace=self._pace())
        if run is None or not has_ended(run):
            return
        step_runs = await patiently(self._engine.step_runs.step_runs, run, pace=self._pace())
        remaining = orphans(step_runs, begun_here=self._execution is not None)
        stored = await patiently(self._engine.runs.read_run_anew, self._key, pace=self._pace()) if remaining else None
        if stored is None or stored["metadata"]["uid"] != run["metadata"]["uid"] or not has_ended(stored):
            return  # it may run again, and these may belong to that
        self._wakeups.clear()
        status = StatusWriter(self._engine, self._key, RunState.from_stored(stored))
        await RunExecution(self._engine, self._key, stored, status, self._wakeups).end_orphans(remaining)

    async def _write_status(self, status: StatusWriter) -> None:
        """The writer outlives every task that it serves: only ``close`` ends it."""
        with trio.CancelScope(shield=True):
            await status.run()

    async def _listen(self, status: StatusWriter, execution: RunExecution) -> None:
        """Watch for changes that concern the whole run: cancel, deletion, an end that another process has recorded."""
        while True:
            await self._wakeup.wait()
            run = await patiently(self._engine.runs.read_run, self._key, pace=self._pace())
            if run is None or run["metadata"]["uid"] != status.state.stored["metadata"]["uid"]:
                self._services.cancel()
            elif pending_redrive(run) is not None or status.state.is_overtaken_by(run):
                self._runs_again = True
                self._services.cancel()
            elif _is_over(run):
                if is_being_deleted(run) or not status.state.ended:
                    self._services.cancel()
            else:
                self._end_early(run, execution)

    def _end_early(self, run: Object, execution: RunExecution) -> None:
        """End the run before its time if the object says so."""
        if why := why_unreadable(run):
            execution.end(unreadable(why, self._engine.clock.now()))
        elif run["spec"].get("cancelRequested") is True:
            execution.cancel()
        else:
            execution.follow(run)

    async def _execute(self, execution: RunExecution, status: StatusWriter) -> None:
        """From the current state of the run to its stored end."""
        conclusion = await execution.run()
        status.apply(status.state.concluded(conclusion, self._engine.clock.now()))
        await status.wait_until_stored()
        kind = EventType.NORMAL if conclusion.phase in (Phase.SUCCEEDED, Phase.FINISHED) else EventType.WARNING
        self._engine.events.emit(status.state.stored, kind, conclusion.reason, conclusion.message)

    def _pace(self) -> Pace:
        return Pace(self._engine.settings.jitter)


def _is_over(run: Object) -> bool:
    """Whether nothing is to be done for the run: it is terminal or being deleted."""
    return is_being_deleted(run) or has_ended(run)
