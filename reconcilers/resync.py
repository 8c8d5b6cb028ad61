"""The only periodic work: now and then every live run is looked at again, as if an event had reported it.

It repairs what must not happen: an event that the watch never delivered, or that reached no task here. Each round
lists all kinds beside their watches, takes in what these have missed, and has every live run that this process owns
reconciled and its steps woken. All of it is counted: ``bobrapet_resync_runs_total`` with anything but
``found="nothing"`` tells of a fault somewhere. Nothing is written by a round that finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Final

import trio

from core.api import keys
from core.api.objects import NamespacedName, Object, controller_of, has_ended, is_being_deleted
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.run.supervisor import Supervisor
from core.kube.errors import KubeError
from core.kube.informer import Change, Informer
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from reconcilers.adapters.world import World, step_run_of_pod
from reconcilers.runtime.controller import Controller, Key

INTERVAL: Final = timedelta(minutes=10)
SETTLING: Final = timedelta(seconds=10)
"""How long the adoption of a run may take after it was enqueued."""
_AT_ONCE: Final = 50
_PAUSE_SECONDS: Final = 0.25
"""The pause after each ``_AT_ONCE`` runs, so that events are handled while ten thousand runs are checked."""

_LOG: Final = get_logger("resync")


class Found(StrEnum):
    """The result of a check of one run."""

    NOTHING = "nothing"
    LOST_EVENT = "lost-event"
    """This process had an outdated version of one of its objects, although the watch had had time to deliver the
    change.
    """
    NOT_ADOPTED = "not-adopted"
    """It is live, and the engine did not know it."""


class Resync:
    """``run()`` repeats until it is cancelled. ``story_runs`` reconciles runs and adopts those that are live."""

    def __init__(
        self,
        world: World,
        supervisor: Supervisor,
        story_runs: Controller,
        *,
        interval: timedelta = INTERVAL,
        ownership: Ownership = WHOLE_CLUSTER,
    ) -> None:
        self._world = world
        self._supervisor = supervisor
        self._story_runs = story_runs
        self._interval = interval
        self._ownership = ownership

    async def run(self) -> None:
        while True:
            await trio.sleep(self._interval.total_seconds())
            await self.look_again()

    async def look_again(self) -> dict[NamespacedName, Found]:
        """One round; returns the result for each live run, and counts it, too."""
        unknown = {key for key in self._live() if not self._supervisor.is_adopted(key)}
        missed = self._runs_of(await self._lost())
        unknown = {key for key in unknown if not self._supervisor.is_adopted(key)}
        keys_of_all = [*self._live()]
        await self._wake(keys_of_all)
        if unknown:
            await trio.sleep(SETTLING.total_seconds())
        found = dict.fromkeys(keys_of_all, Found.NOTHING)
        found |= dict.fromkeys(missed, Found.LOST_EVENT)
        # A run that is still not adopted was refused for a reason that is reported elsewhere: nothing was lost.
        found |= {key: Found.NOT_ADOPTED for key in unknown if self._supervisor.is_adopted(key)}
        for key, what in found.items():
            metrics.count(catalogue.RESYNC_RUNS, found=what)
            if what is not Found.NOTHING:
                _LOG.warning("no event reported this", run=str(key), found=str(what))
        return found

    def _live(self) -> Iterator[NamespacedName]:
        for run in self._world.story_runs.in_motion():
            if not has_ended(run) and not is_being_deleted(run):
                key = NamespacedName(run["metadata"]["namespace"], run["metadata"]["name"])
                if self._ownership.owns(key):
                    yield key

    async def _lost(self) -> list[Change]:
        """The changes that the watches have missed; the informers apply them and call their handlers."""
        changes: list[Change] = []

        async def compare(informer: Informer) -> None:
            try:
                changes.extend(await informer.look_again())
            except KubeError as error:
                _LOG.warning("cannot be compared", resource=informer.resource.title, error=str(error))

        async with trio.open_nursery() as nursery:
            for informer in self._world:
                nursery.start_soon(compare, informer)
        return changes

    async def _wake(self, runs: Iterable[NamespacedName]) -> None:
        """For a run that is already adopted, adoption means a wake-up."""
        for number, key in enumerate(runs, start=1):
            self._story_runs.enqueue(Key(key.namespace, key.name))
            if number % _AT_ONCE == 0:
                await trio.sleep(_PAUSE_SECONDS)

    def _runs_of(self, changes: Iterable[Change]) -> set[NamespacedName]:
        found = {self._run_of(change.object) for change in changes}
        return {key for key in found if key is not None and self._ownership.owns(key)}

    def _run_of(self, obj: Object) -> NamespacedName | None:
        """The run that an object is, or belongs to; None for an object that many runs share."""
        namespace = obj["metadata"].get("namespace") or ""
        if obj.get("kind") == STORY_RUN.kind:
            return NamespacedName(namespace, obj["metadata"]["name"])
        owner = controller_of(obj) or {}
        if owner.get("kind") == STORY_RUN.kind:
            return NamespacedName(namespace, owner["name"])
        if owner.get("kind") == STEP_RUN.kind:
            return self._run_of_step_run(namespace, owner["name"])
        is_pod_of_ours = keys.LABEL_STEP_RUN in (obj["metadata"].get("labels") or {})
        return self._run_of_step_run(namespace, step_run_of_pod(obj)) if is_pod_of_ours else None

    def _run_of_step_run(self, namespace: str, name: str) -> NamespacedName | None:
        step_run = self._world.step_runs.get(namespace, name)
        return self._run_of(step_run) if step_run is not None else None
