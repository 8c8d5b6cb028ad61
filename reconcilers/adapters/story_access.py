"""Ensures the account of a Story's containers, and what binds rights to it.

They are watched, so a run whose account is as it must be costs no request. They are many runs' at once: only one caller
writes at a time, and what another process has created meanwhile is taken over if it is a Story's. Source: StepRun
contract 16.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.resource import SERVICE_ACCOUNT, Resource
from core.engine.errors import DeniedError, GoneError, NameConflictError, PortError, RejectedError, UnavailableError
from core.engine.ports import EventSink, EventType
from core.kube.client import KubeClient
from core.kube.patch import bound_to
from core.workloads.story_runner import StoryRunner, story_of_runner
from reconcilers.adapters.owned_access import difference, with_remedy
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import create_or_read

_LABELS: Final = (keys.LABEL_APP_MANAGED_BY, keys.LABEL_RUNNER_OF_STORY)


class StoryAccess:
    """Keeps accounts as ``StoryRunner`` wants them."""

    def __init__(self, client: KubeClient, world: World, events: EventSink) -> None:
        self._client = client
        self._world = world
        self._events = events
        self._turns: dict[tuple[str, str], trio.Lock] = {}

    def is_there(self, wanted: StoryRunner) -> bool:
        """Whether everything is as it must be, as far as the watches have delivered it."""
        account = self._known(SERVICE_ACCOUNT, wanted.account())
        if account is None or not _is_right(account, wanted.account()):
            return False
        rights = wanted.rights(str(account["metadata"]["uid"]))
        return all(_is_right(self._known(resource, manifest), manifest) for resource, manifest in rights)

    async def ensure(self, run: Object, wanted: StoryRunner) -> None:
        """Return when the account exists and has its rights. Events about corrections are those of ``run``.

        Raises:
            NameConflictError: an object of the name belongs to somebody else, or binds another role.
            UnavailableError: also while one of the objects is being removed.
            DeniedError: a template requests permissions that the operator does not have; the message names rule and
                remedy.
            RejectedError.
        """
        if self.is_there(wanted):
            return
        async with self._turn(wanted):
            try:
                account = await self._ensured(run, SERVICE_ACCOUNT, wanted.account())
                for resource, manifest in wanted.rights(str(account["metadata"]["uid"])):
                    await self._ensured(run, resource, manifest)
            except DeniedError as error:
                raise DeniedError(with_remedy(str(error))) from error

    async def _ensured(self, run: Object, resource: Resource, manifest: Object) -> Object:
        stored = self._known(resource, manifest)
        if stored is None:
            stored, is_new = await self._create(resource, manifest)
            if is_new:
                return self._world.informer(resource).remember(stored)
        place = f"{resource.kind} {manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
        if is_being_deleted(stored):
            raise UnavailableError(f"{place} is being removed")
        if story_of_runner(stored) != story_of_runner(manifest):
            raise NameConflictError(f"{place} exists and does not belong to the Story; delete it")
        if stored.get("roleRef") != manifest.get("roleRef"):
            raise NameConflictError(f"{place} binds another role, which cannot be changed; delete it")
        if patch := _changes(stored, manifest):
            stored = await self._patch(resource, stored, patch)
            text = f"{resource.kind} {manifest['metadata']['name']} updated"
            self._events.emit(run, EventType.NORMAL, f"{resource.kind}Updated", text)
        return self._world.informer(resource).remember(stored)

    async def _create(self, resource: Resource, manifest: Object) -> tuple[Object, bool]:
        try:
            return await create_or_read(self._client, resource, manifest)
        except GoneError as error:  # the namespace is being deleted, or the Role of a binding has gone
            raise UnavailableError(str(error)) from error

    async def _patch(self, resource: Resource, stored: Object, patch: dict[str, Any]) -> Object:
        metadata = stored["metadata"]
        try:
            with port_errors():
                return await self._client.patch(
                    resource, metadata["name"], bound_to(stored, patch), namespace=metadata["namespace"]
                )
        except (RejectedError, DeniedError, UnavailableError):
            raise
        except PortError as error:  # it changed or was deleted meanwhile, which the watch will tell
            raise UnavailableError(str(error)) from error

    def _known(self, resource: Resource, manifest: Object) -> Object | None:
        metadata = manifest["metadata"]
        return self._world.informer(resource).get(metadata["namespace"], metadata["name"])

    def _turn(self, wanted: StoryRunner) -> trio.Lock:
        place = (wanted.namespace, wanted.name)
        lock = self._turns.get(place)
        if lock is None:
            self._turns = {other: held for other, held in self._turns.items() if held.locked()}
            lock = self._turns[place] = trio.Lock()
        return lock


def _is_right(stored: Object | None, manifest: Object) -> bool:
    if stored is None or is_being_deleted(stored):
        return False
    return stored.get("roleRef") == manifest.get("roleRef") and not _changes(stored, manifest)


def _changes(stored: Object, manifest: Object) -> dict[str, Any]:
    """The merge patch that changes rights, owner, labels and annotations to the wanted state; empty when they are
    equal. Labels and annotations of others stay. An account that was about to be deleted is needed again.
    """
    patch = difference(stored, manifest)
    have, want = stored["metadata"], manifest["metadata"]
    labels = {key: want["labels"][key] for key in _LABELS if (have.get("labels") or {}).get(key) != want["labels"][key]}
    more: dict[str, Any] = {"labels": labels} if labels else {}
    if keys.ANNOTATION_RUNNER_RETIRED in (have.get("annotations") or {}):
        annotations = patch.get("metadata", {}).get("annotations", {})
        more["annotations"] = {**annotations, keys.ANNOTATION_RUNNER_RETIRED: None}
    if (have.get("ownerReferences") or []) != (want.get("ownerReferences") or []):
        more["ownerReferences"] = want.get("ownerReferences") or None
    if more:
        patch["metadata"] = {**patch.get("metadata", {}), **more}
    return patch
