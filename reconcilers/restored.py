"""StoryRuns that a backup has brought back: their objects belong to them again, and they end or continue.

``core.engine.run.restored`` decides. Each write may be repeated: StepRuns and child runs first, then the run itself.
Until its own status has been written, the engine does not get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from bubu_contract.identity import label_value
from core.api.objects import Object, controller_of, has_ended, is_being_deleted
from core.api.phases import Reason
from core.api.resource import STEP_RUN, STORY_RUN, Resource
from core.engine.ports import Clock, EventSink, EventType
from core.engine.run import restored
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer
from core.policy.settings import OperatorSettings, RestoredRuns
from core.workloads.restored import former_uid, is_alien, is_restored_run
from reconcilers.adapters.world import OWNER_UID, RESTORED_FROM_BACKUP, World
from reconcilers.adapters.writes import patch_metadata, patch_status
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Outcome

_AT_ONCE: Final = After(timedelta())
_UNKNOWN: Final = "what happened after the backup is unknown"


class RestoredRunKeeper:
    """Takes restored StoryRuns over."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
        events: EventSink | None,
    ) -> None:
        self._client = client
        self._world = world
        self._clock = clock
        self._settings = settings
        self._events = events

    def concerns(self, run: Object) -> bool:
        """Whether ``take_over`` has something to do; cheap."""
        if not has_ended(run):
            return is_restored_run(run) or self._has_aliens(run)
        return self._has_aliens(run) or bool(former_uid(run) and any(self._of_former_self(run)))

    async def take_over(self, run: Object) -> Outcome | None:
        """One step of it, or all; None: the run is as any other, and the caller continues.

        Raises:
            PortError: as ``patch_status``.
        """
        if not self.concerns(run):
            return None
        adopted = await self._adopt_children(run)
        if has_ended(run):
            return _AT_ONCE if adopted else None
        if not is_restored_run(run) and not adopted:
            return None  # what has its name is not its own; the steps report that
        await self._settle(run)
        return _AT_ONCE

    async def _settle(self, run: Object) -> None:
        """End the run, or let it continue."""
        now = self._clock.now()
        step_runs = self._world.step_runs.by_index(OWNER_UID, run["metadata"]["uid"])
        impossible = restored.why_not_resumable(run, step_runs)
        if impossible or self._settings().runs.restored is RestoredRuns.END:
            patch = restored.ended_status(run, impossible or _UNKNOWN, now)
            stored = await patch_status(self._client, self._world.story_runs, STORY_RUN, run, patch)
            self._emit(stored, EventType.WARNING, str(stored["status"].get("message")))
            return
        run = await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, restored.resumed_metadata(now))
        run = await patch_status(self._client, self._world.story_runs, STORY_RUN, run, restored.resumed_status(run))
        self._emit(run, EventType.NORMAL, "The run was restored from a backup and continues from what is recorded")

    def _emit(self, run: Object, type_: EventType, text: str) -> None:
        if self._events is not None:
            self._events.emit(run, type_, Reason.RESTORED, text)

    async def _adopt_children(self, run: Object) -> bool:
        """Make StepRuns and child runs of the former self of the run its own; True if there were any."""
        now, adopted = self._clock.now(), False
        for resource, informer, found in self._candidates(run):
            for child in restored.own_children(run, found):
                patch = restored.adoption_patch(run, child, now, is_step_run=resource is STEP_RUN)
                await patch_metadata(self._client, informer, resource, child, patch)
                adopted = True
        return adopted

    def _candidates(self, run: Object) -> Iterator[tuple[Resource, Informer, list[Object]]]:
        former, place = former_uid(run), alien_place(run["metadata"]["namespace"], run["metadata"]["name"])
        for resource, informer in ((STEP_RUN, self._world.step_runs), (STORY_RUN, self._world.story_runs)):
            found = informer.by_index(RESTORED_FROM_BACKUP, place)
            if former:
                found += [child for child in informer.by_index(OWNER_UID, former) if not is_alien(child)]
            yield resource, informer, [child for child in found if not is_being_deleted(child)]

    def _of_former_self(self, run: Object) -> Iterator[Object]:
        for informer in (self._world.step_runs, self._world.story_runs):
            yield from informer.by_index(OWNER_UID, former_uid(run))

    def _has_aliens(self, run: Object) -> bool:
        place = alien_place(run["metadata"]["namespace"], run["metadata"]["name"])
        return any(
            any(informer.keys_by_index(RESTORED_FROM_BACKUP, place))
            for informer in (self._world.step_runs, self._world.story_runs)
        )


def alien_place(namespace: str, run_name: str) -> str:
    """The key of a run in the index ``RESTORED_FROM_BACKUP``."""
    return f"{namespace}/{label_value(run_name)}"


def run_of_alien(change: Change) -> Key | None:
    """The run whose former self has created a StepRun that has just appeared; None for other changes."""
    step_run = change.new
    if change.old is not None or step_run is None or not is_alien(step_run) or controller_of(step_run) is not None:
        return None
    name = ((step_run.get("spec") or {}).get("storyRunRef") or {}).get("name")
    return Key(step_run["metadata"]["namespace"], name) if isinstance(name, str) and name else None
