"""The runs of this process: one scope for each, all in one nursery, isolated from each other.

A crash inside a scope is caught here and nowhere deeper. The supervisor reports it (condition on the run, Event,
callback for a metric) and starts the scope again after a growing pause; no other scope is affected. To stop writes
nothing: the next process resumes every run from its stored state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio

from core.api.conditions import with_condition, with_ready
from core.api.objects import NamespacedName, Object, controller_of
from core.api.phases import ConditionType, Reason
from core.engine.calls import Pace, committed, patiently
from core.engine.engine_context import EngineContext
from core.engine.ports import EventType
from core.engine.run.scope import StoryRunScope
from core.engine.status.state import RunState
from core.ownership.acting import acting_for


@dataclass(frozen=True, slots=True)
class SupervisorStatistics:
    """A snapshot for metrics and tests."""

    runs_alive: int
    steps_at_work: int
    scopes_started: int
    scope_crashes: int
    runs_in_backoff: int


@dataclass(slots=True)
class _AdoptedRun:
    """One adopted run."""

    scope: StoryRunScope | None = None
    adopted_again: bool = False
    """The run was adopted again while its scope was ending."""
    cancel_scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelled when the run is released."""
    over: trio.Event = field(default_factory=trio.Event)
    """Set when no task of the run is left here."""


class Supervisor:
    """Runs every adopted run until it has ended or is released.

    ``on_crash`` is called with the key and the exception whenever a scope crashes; it must not raise.
    """

    def __init__(self, engine: EngineContext, on_crash: Callable[[NamespacedName, BaseException], None]) -> None:
        self._engine = engine
        self._on_crash = on_crash
        self._adopted: dict[NamespacedName, _AdoptedRun] = {}
        self._nursery: trio.Nursery | None = None
        self._waiting: dict[NamespacedName, None] = {}
        self._draining = False
        self._over = trio.Event()
        self._scopes_started = 0
        self._crashes = 0
        self._in_backoff = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the nursery of all scopes until cancelled or drained. Runs that were adopted before start now."""
        if self._nursery is not None:
            raise RuntimeError("this supervisor is running already")
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._load_slots, name="slots that are taken")
                for key in self._waiting:
                    self.adopt(key)
                self._waiting.clear()
                task_status.started()
                if self._draining:
                    nursery.cancel_scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    self._draining = True  # controllers end later and may still adopt runs
        finally:
            self._over.set()

    def adopt(self, key: NamespacedName) -> None:
        """Start the scope of the run, or wake it; may be called any number of times. Returns at once.

        The run is read by its own task. A run that this process does not own is ignored.
        """
        if self._draining or not self._engine.ownership.owns(key):
            return
        adopted = self._adopted.get(key)
        if adopted is not None:
            adopted.adopted_again = True
            self.wake(key)
        elif self._nursery is None:
            self._waiting[key] = None
        else:
            adopted = self._adopted[key] = _AdoptedRun()
            self._nursery.start_soon(self._supervise, key, adopted, name=f"run {key}")

    def wake(self, key: NamespacedName, step: str | None = None) -> None:
        """Something has changed about ``step`` (its StepRun, Job, Pods); None: about the run, its Story or everything.

        With an empty ``step``, only a run that waits for its Story looks again.

        Never blocks and never fails; a run that was not adopted is ignored. After a relist, wake every run without
        ``step``.
        """
        adopted = self._adopted.get(key)
        if adopted is not None and adopted.scope is not None:
            adopted.scope.wake(step)

    def is_adopted(self, key: NamespacedName) -> bool:
        """Whether the run was adopted and has not ended since."""
        return key in self._adopted or key in self._waiting

    def live_state(self, key: NamespacedName, uid: str) -> RunState | None:
        """What this process knows of a run that it has in hand, stored or not; instants are not cut to seconds."""
        adopted = self._adopted.get(key)
        scope = adopted.scope if adopted is not None else None
        return scope.state if scope is not None and scope.run_uid == uid else None

    async def release(self, key: NamespacedName) -> None:
        """Give up one run without a write, so that another process can adopt it; success, too, if it was not adopted.

        Returns once no task of the run is left here: a write that was sent is answered, or given up after
        ``WRITE_DEADLINE_SECONDS``. Its slots and its turn are free for other runs of this process. The run does not
        continue here until it is adopted again, which needs its ownership.
        """
        self._waiting.pop(key, None)
        adopted = self._adopted.get(key)
        if adopted is not None:
            adopted.adopted_again = False
            adopted.cancel_scope.cancel()
            await adopted.over.wait()

    async def drain(self) -> None:
        """Give up every run without ending any; returns when no scope is left and ``run`` has returned."""
        self._draining = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            await self._over.wait()

    def steps_at_work(self) -> Iterator[tuple[NamespacedName, int]]:
        """Each run that has a scope here, and the number of its running steps."""
        for key, adopted in self._adopted.items():
            if adopted.scope is not None:
                yield key, adopted.scope.steps_at_work

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(
            runs_alive=len(self._adopted),
            steps_at_work=sum(steps for _, steps in self.steps_at_work()),
            scopes_started=self._scopes_started,
            scope_crashes=self._crashes,
            runs_in_backoff=self._in_backoff,
        )

    async def _load_slots(self) -> None:
        """Count the unfinished StepRuns of the runs that this process owns; nothing new starts before that."""
        occupants = await patiently(self._engine.step_runs.occupants, pace=Pace(self._engine.settings.jitter))
        self._engine.slots.load(one for one in occupants if self._takes_slot(one) and self._is_ours(one))

    def _takes_slot(self, step_run: Object) -> bool:
        """An attempt that does not end by itself would keep its slot for as long as its run lasts."""
        return self._engine.executors.traits_of(step_run).ends_by_itself

    def _is_ours(self, step_run: Object) -> bool:
        owner = controller_of(step_run)
        namespace = str(step_run["metadata"].get("namespace") or "")
        return owner is None or self._engine.ownership.owns(NamespacedName(namespace, str(owner.get("name"))))

    async def _supervise(self, key: NamespacedName, adopted: _AdoptedRun) -> None:
        """Run it until it has ended or is released; if it was adopted again during the release, adopt it again."""
        try:
            with acting_for(key), adopted.cancel_scope:
                await self._keep_alive(key, adopted)
        finally:
            del self._adopted[key]
            adopted.over.set()
        if adopted.cancel_scope.cancelled_caught and adopted.adopted_again:
            self.adopt(key)

    async def _keep_alive(self, key: NamespacedName, adopted: _AdoptedRun) -> None:
        settings = self._engine.settings
        pause = settings.first_restart_delay_seconds
        while True:
            started = trio.current_time()
            if await self._ended_well(key, adopted):
                if not adopted.adopted_again:
                    return
                continue
            if trio.current_time() - started > settings.longest_restart_delay_seconds:
                pause = settings.first_restart_delay_seconds
            self._in_backoff += 1
            try:
                await trio.sleep(pause * (1 + settings.jitter() / 4))
            finally:
                self._in_backoff -= 1
            pause = min(pause * 2, settings.longest_restart_delay_seconds)

    async def _ended_well(self, key: NamespacedName, adopted: _AdoptedRun) -> bool:
        """One scope from start to end; False if it crashed, which is then recorded."""
        adopted.adopted_again = False
        adopted.scope = StoryRunScope(self._engine, key)
        self._scopes_started += 1
        crash: BaseException | None = None
        try:
            await adopted.scope.run()
        except* Exception as group:  # noqa: BLE001 - the edge of a scope: a bug in one run must not reach another
            crash = group
        finally:
            if adopted.cancel_scope.cancel_called:
                adopted.scope.forget()
            adopted.scope = None
        if crash is None:
            return True
        self._crashes += 1
        self._on_crash(key, crash)
        try:
            await self._report(key, crash)
        except* Exception as group:  # noqa: BLE001 - this report is best effort; the callback above has the crash
            self._on_crash(key, group)
        return False

    async def _report(self, key: NamespacedName, crash: BaseException) -> None:
        """Report on the run that the engine failed; only with the type of the error, whose text may hold user data."""
        run = await self._engine.runs.read_run(key)
        if run is None:
            return
        text = f"the engine met an unexpected error ({_type_name(crash)}) and starts again from the recorded state"
        self._engine.events.emit(run, EventType.WARNING, Reason.ENGINE_ERROR, text)
        stored = list((run.get("status") or {}).get("conditions") or ())
        now, generation = self._engine.clock.now(), run["metadata"].get("generation", 0)
        conditions = with_condition(
            with_ready(stored, reason=Reason.ENGINE_ERROR, message=text, generation=generation, now=now),
            ConditionType.DEGRADED,
            True,
            reason=Reason.ENGINE_ERROR,
            message=text,
            generation=generation,
            now=now,
        )
        if conditions != stored:
            await committed(self._engine.runs.patch_run_status, run, {"conditions": conditions})


def _type_name(error: BaseException) -> str:
    """The type of the first error inside any groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
