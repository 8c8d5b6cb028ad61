"""What the containers of a run need before any of them starts: ensured once while this process holds the run.

For a new run, this is done at its start. A resumed run had it before; it is checked again before the next Job, not
sooner: after a restart with thousands of waiting runs, the operator has nothing to ask for any of them. It is done
again when an Engram is applied for which a step has waited.
Source: StoryRun contract 6.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from core.api.objects import Object
from core.api.phases import Phase
from core.engine.calls import Pace, patiently
from core.engine.engine_context import EngineContext


class RunAccess:
    """``ensure`` succeeds once per run, and once more after ``renew``; after a failure, the next call tries again."""

    def __init__(self, engine: EngineContext, run: Object, story: Object, pace: Callable[[], Pace]) -> None:
        self._engine = engine
        self._run = run
        self._story = story
        self._pace = pace
        self._ensured = False
        self._turn = trio.Lock()

    def renew(self) -> None:
        """The next ``ensure`` does its work again: a definition has appeared, whose containers may need more."""
        self._ensured = False

    async def ensure(self) -> None:
        """Return once everything is there. While it cannot be created, wait, and show that in the status of the run.

        Raises:
            RejectedError: it can never be created.
        """
        if self._ensured:
            return
        async with self._turn:
            if not self._ensured:
                await patiently(self._engine.executors.prepare_run, self._run, self._story, pace=self._pace())
                self._ensured = True


def has_step_at_work(step_runs: Iterable[Object]) -> bool:
    """Whether a container of the run may still run."""
    return any(not _has_ended(step_run) for step_run in step_runs)


def _has_ended(step_run: Object) -> bool:
    phase = (step_run.get("status") or {}).get("phase")
    return phase in set(Phase) and Phase(phase).terminal
