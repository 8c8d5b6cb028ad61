"""StoryRuns that steps of a run start: created once, identified by UID, ended with preconditions.

Source: StoryRun contract 11.5, 17.2 and 20.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from core.api.objects import (
    Object,
    controller_of,
    has_ended,
    is_being_deleted,
    is_controlled_by,
    is_left_by_a_namesake,
    step_path,
)
from core.api.resource import STORY_RUN
from core.engine.errors import GoneError, NameConflictError, UnavailableError
from core.engine.run_marks import marked
from core.kube.client import KubeClient
from core.kube.patch import bound_to
from core.policy.settings import OperatorSettings
from core.telemetry.tracing.run_trace import TraceRules, context_for_child, untraced
from kubewire import values_equal
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, PACKET_PARENT, World, engram_key, story_of
from reconcilers.adapters.writes import confirm, create_or_read, delete


class ChildRuns:
    """The children of any run; the methods have the contract of ``RunStore``."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings],
        rules: Callable[[], TraceRules] = untraced,
    ) -> None:
        self._client = client
        self._world = world
        self._settings = settings
        self._rules = rules

    async def create(self, run: Object, manifest: Object) -> Object:
        """See ``RunStore.create_child_run``.

        Raises:
            NameConflictError: the name belongs to another owner, or to a run of another Story or with other inputs.
            GoneError: the parent was deleted.
            UnavailableError: also while a run of that name is being removed.
        """
        if step_path(manifest) in ((run.get("status") or {}).get("stepStates") or {}):
            await confirm(self._client, self._world.story_runs, STORY_RUN, run)
        if context := context_for_child(run, step_path(manifest), self._rules()):
            annotations = {**(manifest["metadata"].get("annotations") or {}), **context}
            manifest = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
        whole = marked(manifest, story_of(manifest, self._world), self._settings())
        stored, _ = await create_or_read(self._client, STORY_RUN, whole)
        if is_left_by_a_namesake(stored, run):
            raise UnavailableError(f"StoryRun {_place(stored)} of a deleted run is still being removed")
        if is_being_deleted(stored):
            raise UnavailableError(f"StoryRun {_place(stored)} of an earlier attempt is still being removed")
        why = why_not_the_child(run, manifest, stored)
        if why is not None:
            raise NameConflictError(why)
        return self._world.story_runs.remember(stored)

    def of(self, run: Object) -> list[Object]:
        return self._world.story_runs.by_index(OWNER_UID, run["metadata"]["uid"])

    def of_packets(self, run: Object) -> list[Object]:
        return self._world.story_runs.by_index(PACKET_PARENT, run["metadata"]["uid"])

    async def request_cancel(self, run: Object) -> None:
        """See ``RunStore.request_cancel``.

        Raises:
            StaleError: it has changed, and the request must be sent again.
            UnavailableError, RejectedError.
        """
        metadata = run["metadata"]
        known = self._world.story_runs.get(metadata["namespace"], metadata["name"])
        newest = known if known is not None and known["metadata"]["uid"] == metadata["uid"] else run
        if known is not newest and known is not None:
            return  # another run of that name: the right one is gone
        if (newest.get("spec") or {}).get("cancelRequested") is True or has_ended(newest):
            return
        patch = bound_to(newest, {"spec": {"cancelRequested": True}})
        with contextlib.suppress(GoneError):
            with port_errors():
                stored = await self._client.patch(STORY_RUN, metadata["name"], patch, namespace=metadata["namespace"])
            self._world.story_runs.remember(stored)

    async def delete(self, run: Object) -> None:
        """See ``RunStore.delete_child_run``."""
        await delete(self._client, self._world.story_runs, STORY_RUN, run)


def why_not_the_child(run: Object, wanted: Object, stored: Object) -> str | None:
    """Why ``stored``, which has the name of ``wanted``, is not the child that ``run`` would create; None when it is."""
    place, parent = _place(stored), _place(run)
    if not is_controlled_by(stored, run["metadata"]["uid"]):
        owner = controller_of(stored)
        whose = f"belongs to {owner.get('kind')} {owner.get('name')}" if owner else "was started by another owner"
        return f"StoryRun {place} exists and {whose}, not to StoryRun {parent}; delete it or rename the step"
    if step_path(stored) != step_path(wanted):
        return (
            f"StoryRun {place} belongs to step {step_path(stored)!r} of StoryRun {parent}; "
            f"rename step {step_path(wanted)!r} so that their names differ"
        )
    want, have = _story(wanted), _story(stored)
    if want != have:
        return f"StoryRun {place} runs Story {have}, but StoryRun {parent} calls Story {want}; delete it"
    if not values_equal(_inputs(wanted), _inputs(stored)):
        return f"StoryRun {place} exists with other inputs than StoryRun {parent} gives it; delete it"
    return None


def _place(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _story(run: Object) -> str:
    """Namespace, name and UID, as written in a message."""
    reference = (run.get("spec") or {}).get("storyRef") or {}
    uid = reference.get("uid")
    key = engram_key(reference, run["metadata"]["namespace"])
    return f"{key} ({uid})" if uid else key


def _inputs(run: Object) -> Object:
    inputs: Object = (run.get("spec") or {}).get("inputs") or {}
    return inputs
