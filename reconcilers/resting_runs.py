"""How long a finished run waits, from the note that is kept beside it: the run itself is not read.

That takes a fifth of the time of reading the run: at the start there may be many thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable

from core.api.objects import Object
from core.engine.ports import Clock
from core.kube.packed import Resting
from core.policy.settings import OperatorSettings
from reconcilers import retention
from reconcilers.adapters.rest_note import RestNote
from reconcilers.adapters.triggers import unanswered
from reconcilers.adapters.world import HELD_BY_REFERENCE, LIVE_STEP_RUNS, RESTORED_FROM_BACKUP, World
from reconcilers.restored import alien_place
from reconcilers.retention import KeepUntil, Windows, windows
from reconcilers.runtime.controller import Key


class RestingRuns:
    """The StoryRuns at rest."""

    def __init__(self, world: World, clock: Clock, settings: Callable[[], OperatorSettings]) -> None:
        self._world = world
        self._clock = clock
        self._settings = settings
        self._last: tuple[Object | None, OperatorSettings, Windows] | None = None
        """Those of the Story of the last run, which is often that of the next one."""

    def keep_until(self, key: Key) -> KeepUntil | None:
        """Until when nothing is to be done for a run; None: it must be read to know that, or is not at rest."""
        found = self._world.story_runs.resting(key)
        if found is None or found.note is None:
            return None
        note = RestNote(*found.note)
        if self._may_be_concerned(key, found, note):
            return None
        kept_for = self._windows_of(self._world.stories.get(key.namespace, note.story))
        act = retention.act_after(note.finished_at, kept_for, self._clock.now(), is_cleaned=note.is_cleaned)
        return act if isinstance(act, KeepUntil) else None

    def _may_be_concerned(self, key: Key, found: Resting, note: RestNote) -> bool:
        """Whether another object may be a reason to do something for the run, or to keep it."""
        story_runs, step_runs = self._world.story_runs, self._world.step_runs
        if step_runs.keys_by_index(LIVE_STEP_RUNS, found.uid):
            return True
        if step_runs.is_found_under(HELD_BY_REFERENCE) and step_runs.keys_by_index(HELD_BY_REFERENCE, str(key)):
            return True
        for kind in (step_runs, story_runs):
            if kind.is_found_under(RESTORED_FROM_BACKUP) and kind.keys_by_index(
                RESTORED_FROM_BACKUP, alien_place(*key)
            ):
                return True
        if note.trigger and unanswered(self._world, key.namespace, note.trigger) is not None:
            return True
        parent = Key(key.namespace, note.parent)
        return bool(note.parent) and parent in story_runs.all_keys() and story_runs.resting(parent) is None

    def _windows_of(self, story: Object | None) -> Windows:
        settings = self._settings()
        if self._last is None or self._last[0] is not story or self._last[1] is not settings:
            self._last = (story, settings, windows(story, settings))
        return self._last[2]
