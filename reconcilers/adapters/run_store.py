"""``RunStore`` on an API server: informers that know this process's own writes, writes with preconditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.kube.client import KubeClient
from core.kube.informer import Informer

from core.api.resource import STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.ports import Object, RunKey
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, find


class KubeRunStore:
    """StoryRuns and Stories of a cluster."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self._client = client
        self._world = world

    async def read_run(self, key: RunKey) -> Object | None:
        with port_errors():
            return await find(self._client, self._world.story_runs, STORY_RUN, key.namespace, key.name)

    async def read_story(self, namespace: str, name: str) -> Object | None:
        with port_errors():
            return await find(self._client, self._world.stories, STORY, namespace, name)

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_status(self._client, self._world.story_runs, STORY_RUN, run, patch)

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await patch_metadata(self._client, self._world.story_runs, STORY_RUN, run, patch)


async def patch_step_run(client: KubeClient, world: World, step_run: Object, patch: Mapping[str, Any]) -> Object:
    """Merge into a StepRun's status, with its version as precondition."""
    return await patch_status(client, world.step_runs, STEP_RUN, step_run, patch)


async def patch_status(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    body = {"metadata": _precondition(obj), "status": patch}
    return await _patch(client, informer, resource, obj, body, subresource="status")


async def patch_metadata(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, patch: Mapping[str, Any]
) -> Object:
    body = {"metadata": {**patch, **_precondition(obj)}}
    return await _patch(client, informer, resource, obj, body, subresource=None)


async def _patch(
    client: KubeClient,
    informer: Informer,
    resource: Resource,
    obj: Object,
    body: Mapping[str, Any],
    *,
    subresource: str | None,
) -> Object:
    metadata = obj["metadata"]
    with port_errors():
        stored = await client.patch(
            resource, metadata["name"], body, namespace=metadata.get("namespace"), subresource=subresource
        )
    informer.remember(stored)
    return stored


def _precondition(obj: Object) -> dict[str, str]:
    """A changed version answers 409; the UID keeps a patch off a namesake that was created meanwhile."""
    return {"resourceVersion": obj["metadata"]["resourceVersion"], "uid": obj["metadata"]["uid"]}
