"""The one writer of a StoryRun. Changes are collected; one write is in flight, and the next one carries all later
changes.

Step tasks change the in-memory ``state`` and continue at once. A task that relies on a stored change waits with
``wait_until_stored``. Every write carries the version that it was computed from. If the object has changed since, the
writer reads it again and computes the *remaining* patch again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, Final

import trio

from core.api.objects import NamespacedName
from core.engine.calls import Pace, committed, patiently
from core.engine.engine_context import EngineContext
from core.engine.errors import GoneError, ObstacleError, StaleError, UnavailableError
from core.engine.ports import EventType
from core.engine.status.state import RunState
from core.engine.step.timers import Timer
from core.engine.wakeup import WakeUp
from core.evaluation.asker import Asker

_LONGEST_CONTENTION_SECONDS: Final = 1.0


class OvertakenError(Exception):
    """Another process has advanced the run: read it again before you continue."""


class StatusWriter:
    """Holds the state of one run and stores it.

    ``close`` ends ``run`` after the write in flight. Changes that have not been sent by then are not written: a process
    that stops leaves them to its successor.
    """

    def __init__(self, engine: EngineContext, key: NamespacedName, state: RunState) -> None:
        self._engine = engine
        self._key = key
        self._state = state
        self._contention = Pace(engine.settings.jitter)
        """For writes that fail with StaleError: a watch that is behind shows the same old version again and again."""
        self._dirty = WakeUp()
        self._changed = 1
        self._stored = 0
        self._progress = trio.Event()
        self._open = trio.CancelScope()
        self._awaited = False
        self._stale_in_a_row = 0
        self._written_at = -inf
        self.writes = 0
        """Number of answered writes, for statistics."""
        self.met_another = False
        """Whether the status was found changed by another process, or by a write of this one that got no answer."""

    @property
    def state(self) -> RunState:
        return self._state

    def apply(self, state: RunState) -> None:
        """Replace the state by ``state``, a transition of it; the writer stores it soon."""
        if state is self._state:
            return
        self._state = state
        self._changed += 1
        self._dirty.wake()

    async def store_again(self) -> None:
        """Store the state once more if another leader has overwritten it."""
        run = await patiently(self._engine.runs.read_run, self._key, pace=Pace(self._engine.settings.jitter))
        if run is not None and run["metadata"]["uid"] == self._state.stored["metadata"]["uid"]:
            state = self._state.rebased(run)
            if state.status_patch(self._engine.clock.now()):
                self.apply(state)

    def pace(self, step: str = "") -> Pace:
        """Pauses between the retries of ``step`` (empty: of the run); the status shows what a person must fix."""
        return Pace(self._engine.settings.jitter, partial(self.report_obstacle, step))

    def asker(self, step: str = "") -> Asker:
        """For the evaluation of expressions of ``step`` (empty: of the run); the status shows one that waits."""
        return Asker(self._key.namespace, partial(self.report_waiting, step))

    def report_obstacle(self, step: str, obstacle: ObstacleError | None) -> None:
        """A person must fix something for ``step`` (empty: for the run); None: it is fixed."""
        if obstacle is None:
            self.apply(self._state.unobstructed(step))
            return
        before = self._state
        self.apply(before.obstructed(step, obstacle.reason, str(obstacle)))
        if self._state is not before:
            self._warn(obstacle)

    def report_waiting(self, step: str, seconds: float | None) -> None:
        """An expression of ``step`` (empty: of the run) has waited that long for its turn; None: it waits no longer."""
        if seconds is None:
            self.apply(self._state.not_waiting(step))
        else:
            self.apply(self._state.waiting(step, self._engine.clock.now() - timedelta(seconds=seconds)))

    def _warn(self, obstacle: ObstacleError | None) -> None:
        if obstacle is not None:
            self._engine.events.emit(self._state.stored, EventType.WARNING, obstacle.reason, str(obstacle))

    async def wait_until_stored(self) -> None:
        """Return once everything applied so far is stored."""
        target = self._changed
        if self._stored < target:
            self._awaited = True
            self._dirty.wake()
        while self._stored < target:
            await self._progress.wait()

    async def stored_timer(self, name: str) -> Timer:
        """The instant that a step waits for, once it is stored; it may be one that another process has stored first."""
        await self.wait_until_stored()
        return (self.state.timers or {})[name]

    def close(self) -> None:
        self._open.cancel()

    async def run(self) -> None:
        """Store changes until the writer is closed.

        Raises:
            GoneError: the run no longer exists.
            OvertakenError: another process has advanced the run.
            RejectedError: the API server refuses the write.
        """
        pace = Pace(self._engine.settings.jitter, self._warn)
        self._dirty.wake()
        with self._open:  # a write in flight has its own shield; every other wait ends when the writer is closed
            while True:
                await self._dirty.wait()
                await self._linger()
                while not await self._store_once(pace):
                    pass

    async def _linger(self) -> None:
        """Let further changes come, unless a task waits for the write or the run has ended."""
        changed_at = trio.current_time()
        while not (self._awaited or self._state.ended):
            with trio.move_on_at(self._due_at(changed_at)):
                await self._dirty.wait()
                continue
            return

    def _due_at(self, changed_at: float) -> float:
        """When to store changes. The first of them was made at ``changed_at``. Both are Trio times."""
        settings = self._engine.settings
        due_at = changed_at + settings.status_linger_seconds
        if self._state.phase != (self._state.stored.get("status") or {}).get("phase"):
            return due_at
        return max(due_at, self._written_at + settings.status_interval_seconds)

    async def _store_once(self, pace: Pace) -> bool:
        """Send one write, or none if nothing is left. True: everything that was known before the call is stored."""
        version, state = self._changed, self._state
        self._awaited = False
        runs = self._engine.runs
        metadata_patch = state.metadata_patch()
        patch = metadata_patch or state.status_patch(self._engine.clock.now())
        if not patch:
            self._note_stored(version)
            return True
        write = runs.patch_run_metadata if metadata_patch else runs.patch_run_status
        try:
            run = await committed(write, state.stored, patch)
        except StaleError:
            if self._stale_in_a_row:  # the first is ordinary: a user has edited the run
                await trio.sleep(min(self._contention.next_seconds(), _LONGEST_CONTENTION_SECONDS))
            self._stale_in_a_row += 1
            await self._rebase()
        except UnavailableError as error:
            await trio.sleep(pace.next_seconds(error))
            await self._rebase()
        else:
            pace.reset()
            self._contention.reset()
            self._stale_in_a_row = 0
            self.writes += 1
            self._written_at = trio.current_time()
            self._state = self._state.with_stored(run)
            if not metadata_patch:
                self._note_stored(version)
                return True  # what has changed meanwhile is collected again
        return False

    async def _rebase(self) -> None:
        """Move the state onto the newest known version.

        Has its own ``Pace``: reads come from a cache and may succeed while no write gets through.
        """
        pace = Pace(self._engine.settings.jitter, self._warn)
        run = await patiently(self._engine.runs.read_run, self._key, pace=pace)
        if run is None or run["metadata"]["uid"] != self._state.stored["metadata"]["uid"]:
            raise GoneError(f"StoryRun {self._key} was deleted")
        self.met_another |= _without_gates(run) != _without_gates(self._state.stored)
        if self._state.is_overtaken_by(run):
            raise OvertakenError(f"StoryRun {self._key} is not in the state that this process stored")
        self._state = self._state.rebased(run)

    def _note_stored(self, version: int) -> None:
        self._stored = max(self._stored, version)
        self._progress.set()
        self._progress = trio.Event()


def _without_gates(run: Mapping[str, Any]) -> dict[str, Any]:
    """The status, without what people write into it."""
    return {key: value for key, value in (run.get("status") or {}).items() if key != "gates"}
