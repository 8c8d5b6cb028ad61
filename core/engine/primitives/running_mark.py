"""The record of ``Running`` in a StepRun, and of what is shown of a stream: some time after the start.

So steps that wait for their start go first, and a step that ends meanwhile needs only one write.
"""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from core.api.objects import Object
from core.engine.calls import committed
from core.engine.context.step_context import StepContext
from core.engine.ports import AttemptRecord, LiveStream, Observation
from core.engine.step import record
from core.engine.streams.record import live_patch

TELL_AGAIN_SECONDS: Final = 5.0
"""After this time, a process records again how a stream is, if another leader has recorded something else."""


class RunningMark:
    """What one process has to record of the attempts of one step."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._due_at = -inf
        self._told: LiveStream | None = None
        """What this process has recorded last of a stream."""

    def started(self, step_run: Object) -> None:
        """This process has started an attempt."""
        engine = self._context.engine
        after = engine.settings.seconds_to_announce(live=not engine.executors.traits_of(step_run).ends_by_itself)
        self._told, self._due_at = None, trio.current_time() + after

    async def record_when_due(self, step_run: Object, seen: Observation) -> None:
        """Record what was seen after the pause. A wake-up during the pause ends it without a record."""
        again = seen.live is not None and seen.live == self._told  # another leader has seen it otherwise
        with trio.move_on_at(self._due_at + (TELL_AGAIN_SECONDS if again else 0.0)):
            await self._context.wakeup.wait()
            return
        if seen.live is None and self._context.engine.starts.waiting:  # steps that wait for their start go first
            self._due_at = trio.current_time() + self._context.engine.settings.seconds_to_announce(live=False)
            return
        if seen.live is not None:
            self._told, self._due_at = seen.live, trio.current_time()
        await self.record(step_run, record.attempt_seen(seen), seen)

    async def record(self, step_run: Object, attempt: AttemptRecord, seen: Observation | None = None) -> None:
        engine, now = self._context.engine, self._context.now()
        if seen is not None and seen.live is not None:
            patch = live_patch(seen, now)
        else:
            patch = record.running_patch(step_run, now, attempt, engine.executors.traits_of(step_run).word)
        await committed(engine.step_runs.patch_step_run_status, step_run, patch)
