"""``StepRuns`` on an API server: the records of steps, for every executor.

Names are the lock: the name of a StepRun is derived from run and step, so the first creator wins, and every other
creator finds the existing object, checks its owner, and continues. Source: StepRun contract 7, reliability of writes as
in ``core.engine.ports``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any, Final, TypeVar

import trio

from core.api.objects import (
    Object,
    controller_of,
    has_ended,
    is_controlled_by,
    is_left_by_a_namesake,
    step_path,
    without_data,
)
from core.api.phases import TERMINAL_PHASES
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.errors import NameConflictError, StaleError, UnavailableError
from core.engine.step.manifest import is_edited, why_not_the_work
from core.engine.step.past import may_have_a_past, may_have_begun
from core.engine.step.record import is_overtaken
from core.kube.client import KubeClient
from core.telemetry.tracing.run_trace import TraceRules, untraced, with_trace
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.watched_kind import slim
from reconcilers.adapters.world import OWNER_UID, World
from reconcilers.adapters.writes import confirm, create_or_read, delete, patch_metadata, patch_status

NEW_SECONDS: Final = 0.25
"""So long after the request for a StepRun was sent, no other leader can have started, seen failing and ended its first
attempt: each lets its maker go first.
"""
_NOT_ENDED: Final = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL_PHASES))
_REMEMBERED: Final = 1024
"""Number of StepRuns. Each is started a moment after it was created; a forgotten one costs two more requests, and a
moment.
"""
T = TypeVar("T")


class KubeStepRuns:
    """StepRuns of all runs, through the informer and with preconditions."""

    def __init__(self, client: KubeClient, world: World, rules: Callable[[], TraceRules] = untraced) -> None:
        self._client = client
        self._world = world
        self._rules = rules
        self._new: dict[str, float] = {}
        """By UID, oldest first: when this process sent the request that created a StepRun for the first time, while no
        attempt of it was started.
        """
        self._made: dict[str, None] = {}
        """UIDs of StepRuns that this process has created, oldest first."""

    async def read_step_run(self, run: Object, name: str) -> Object | None:
        step_run = self._world.step_runs.get(run["metadata"]["namespace"], name)
        return step_run if step_run is not None and is_controlled_by(step_run, run["metadata"]["uid"]) else None

    async def step_runs(self, run: Object) -> list[Object]:
        return [without_data(one) for one in self.whole_step_runs(run)]

    def whole_step_runs(self, run: Object) -> Iterator[Object]:
        return self._world.step_runs.each_by_index(OWNER_UID, run["metadata"]["uid"])

    async def create_step_run(self, run: Object, manifest: Object, again: bool = False) -> Object:
        namespace, name, step = manifest["metadata"]["namespace"], manifest["metadata"]["name"], step_path(manifest)
        anew = again or may_have_begun(run, step)
        if anew:
            await confirm(self._client, self._world.story_runs, STORY_RUN, run)
        sent_at = trio.current_time()
        stored, made = await create_or_read(self._client, STEP_RUN, manifest)
        if is_left_by_a_namesake(stored, run):
            raise UnavailableError(f"StepRun {namespace}/{name} of a deleted run is still being removed")
        if not is_controlled_by(stored, run["metadata"]["uid"]):
            raise NameConflictError(f"StepRun {namespace}/{name} exists and does not belong to this run")
        if step_path(stored) != step:
            raise NameConflictError(
                f"StepRun {namespace}/{name} belongs to step {step_path(stored)!r}; "
                f"rename step {step!r} so that their names differ"
            )
        if not made and (why_not_the_work(manifest, stored) is not None or is_edited(stored)):
            self._world.step_runs.remember(stored)
            raise StaleError(f"StepRun {namespace}/{name} exists and differs from what the operator creates")
        if made:
            _remember(self._made, stored["metadata"]["uid"], None)
        if made and not anew and not may_have_a_past(run, self._world.story_runs.get):
            _remember(self._new, stored["metadata"]["uid"], sent_at)
        return self._world.step_runs.remember(stored)

    def take_new(self, step_run: Object) -> bool:
        """Whether this process created it a moment ago, for the first time: then no attempt can have been ended.

        True only once: after the start that asks for it, with any result, the next start is not the first.
        """
        sent_at = self._new.pop(step_run["metadata"]["uid"], -inf)
        known = self._world.step_runs.get(step_run["metadata"]["namespace"], step_run["metadata"]["name"])
        overtaken = known is None or is_overtaken(
            step_run, known
        )  # by another leader, as far as the watch has reported
        return not overtaken and trio.current_time() - sent_at <= NEW_SECONDS

    async def let_its_maker_go_first(self, step_run: Object) -> None:
        """Wait before the first start of a StepRun that another process may have created a moment ago: that one starts
        it within ``NEW_SECONDS`` without a question, and must not be overtaken by an attempt that has ended already.
        """
        if step_run["metadata"]["uid"] in self._made or step_run.get("status"):
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(NEW_SECONDS)

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        rules = self._rules()
        if rules.records:
            owner = controller_of(step_run) or {}
            run = self._world.story_runs.get(step_run["metadata"]["namespace"], str(owner.get("name")))
            known = run if run is not None and run["metadata"]["uid"] == owner.get("uid") else None
            patch = with_trace(step_run, patch, rules, known)
        return await patch_status(self._client, self._world.step_runs, STEP_RUN, step_run, patch)

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_metadata(self._client, self._world.step_runs, STEP_RUN, step_run, patch)

    async def delete_step_run(self, step_run: Object) -> None:
        await delete(self._client, self._world.step_runs, STEP_RUN, step_run)

    async def occupants(self) -> list[Object]:
        with port_errors():
            found = await self._client.list(STEP_RUN, field_selector=_NOT_ENDED, keep=_occupant)
        return [step_run for step_run in found.items if step_run]


def _occupant(step_run: Object) -> Object:
    return {} if has_ended(step_run) else _without_status(step_run)


def _without_status(step_run: Object) -> Object:
    """The fields that show whose slot a StepRun has. At start-up all of them are in memory at once, so reports are left
    out.
    """
    return {key: value for key, value in slim(step_run).items() if key != "status"}


def _remember(known: dict[str, T], uid: str, value: T) -> None:
    """Keep the newest ``_REMEMBERED``."""
    known[uid] = value
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]
