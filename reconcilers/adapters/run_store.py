"""``RunStore`` on an API server: informers that include this process's own writes, and writes with preconditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.api.objects import NamespacedName, Object
from core.api.resource import STORY, STORY_RUN
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.policy.settings import OperatorSettings
from core.telemetry.tracing.run_trace import TraceRules, untraced, with_trace
from reconcilers.adapters.child_runs import ChildRuns
from reconcilers.adapters.story_revisions import StoryRevisions
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import LIVE_RUNS, World, find
from reconcilers.adapters.writes import patch_metadata, patch_status


class KubeRunStore:
    """StoryRuns and Stories of a cluster.

    The step states in a run's status are written in the background: no step waits for them. The run's own phase is not.
    """

    def __init__(
        self,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings] = OperatorSettings,
        rules: Callable[[], TraceRules] = untraced,
    ) -> None:
        self._client = client
        self._background = client.in_background()
        self._world = world
        self._rules = rules
        self._children = ChildRuns(client, world, settings, rules)
        self._revisions = StoryRevisions(client, world)

    async def read_run(self, key: NamespacedName) -> Object | None:
        with port_errors():
            return await find(self._client, self._world.story_runs, STORY_RUN, key.namespace, key.name)

    async def read_run_anew(self, key: NamespacedName) -> Object | None:
        with port_errors():
            try:
                stored = await self._background.get(STORY_RUN, key.name, key.namespace)
            except NotFoundError:
                return None
        self._world.story_runs.remember(stored)
        return stored

    async def read_story(self, namespace: str, name: str) -> Object | None:
        with port_errors():
            return await find(self._client, self._world.stories, STORY, namespace, name)

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        client = self._client if "phase" in patch else self._background
        patch = with_trace(run, patch, self._rules(), run)
        return await patch_status(client, self._world.story_runs, STORY_RUN, run, patch)

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, patch)

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        return await self._children.create(run, manifest)

    async def child_runs(self, run: Object) -> list[Object]:
        return self._children.of(run)

    async def packet_runs(self, run: Object) -> list[Object]:
        return self._children.of_packets(run)

    async def request_cancel(self, run: Object) -> None:
        await self._children.request_cancel(run)

    async def delete_child_run(self, run: Object) -> None:
        await self._children.delete(run)

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        return self._world.story_runs.by_index(LIVE_RUNS, f"{namespace}/{name}")

    async def pin_story(self, story: Object) -> str:
        return await self._revisions.pin(story)

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        return await self._revisions.read(namespace, name)
