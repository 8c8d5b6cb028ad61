"""Pins Stories for the runs that start with them, and reads them again when such a run is resumed.

A Story that was pinned before costs no request; a resumed run costs none either, as long as its Story is unchanged. Two
processes that pin the same Story at once create one object (core.api.pinned_story).
"""

from __future__ import annotations

from typing import Any, Final

import trio

from core.api.objects import Object, is_being_deleted
from core.api.pinned_story import (
    TooDeepError,
    holds_what_its_name_says,
    kept_story,
    revision_manifest,
    revision_name,
)
from core.api.resource import CONTROLLER_REVISION
from core.engine.errors import NameConflictError, RejectedError, UnavailableError
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, NotFoundError
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, is_object_name

_Place = tuple[str, str]

_NAMES_KEPT: Final = 4096
_STORIES_KEPT: Final = 256
"""Number of Stories that were read and are cached; all runs that started with one share it."""


class StoryRevisions:
    """Pins Stories, and returns pinned ones."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self._client = client
        self._world = world
        self._names: dict[str, tuple[str, str]] = {}
        """UID of a Story → version, and the name of its revision: hashing a large Story again would be costly."""
        self._kept: dict[_Place, Object] = {}
        self._turns: dict[_Place, trio.Lock] = {}

    async def pin(self, story: Object) -> str:
        """See ``RunStore.pin_story``.

        Raises:
            NameConflictError: another object has the name.
            DeniedError, UnavailableError, RejectedError.
        """
        try:
            place = (str(story["metadata"]["namespace"]), self._name_of(story))
        except TooDeepError as error:
            raise RejectedError(str(error)) from error
        if not self._is_pinned(place):
            async with self._turn(place):
                if not self._is_pinned(place):
                    self._world.story_revisions.remember(await self._create(kept_story(story)))
        return place[1]

    async def read(self, namespace: str, name: str) -> Object | None:
        """See ``RunStore.read_pinned_story``. The returned object is shared: do not change it.

        Raises:
            NameConflictError: its content does not match its name.
            DeniedError, UnavailableError.
        """
        place = (namespace, name)
        kept = self._unchanged(place) or self._kept.get(place)
        if kept is None and is_object_name(name):
            async with self._turn(place):
                kept = self._kept.get(place) or await self._read(place)
        return kept

    def _name_of(self, story: Object) -> str:
        """The name of the revision for ``story``, whether it exists or not."""
        uid, version = str(story["metadata"].get("uid")), str(story["metadata"].get("resourceVersion"))
        known = self._names.get(uid)
        if known is None or known[0] != version:
            known = (version, revision_name(kept_story(story)))
            _remember(self._names, uid, known, _NAMES_KEPT)
        return known[1]

    def _is_pinned(self, place: _Place) -> bool:
        known = self._world.story_revisions.get(*place)
        if known is None or is_being_deleted(known):
            return False
        if not known.get("data"):
            raise _conflict(place)
        return True

    def _unchanged(self, place: _Place) -> Object | None:
        """The Story, if it still equals the content of the revision."""
        namespace, name = place
        story = self._world.stories.get(namespace, name.rpartition("-")[0])
        try:
            return kept_story(story) if story is not None and self._name_of(story) == name else None
        except TooDeepError:
            return None

    async def _create(self, kept: Object) -> Object:
        """The revision, created now or by another process at the same moment."""
        manifest = revision_manifest(kept)
        place = (str(manifest["metadata"]["namespace"]), str(manifest["metadata"]["name"]))
        with port_errors():
            try:
                return await self._client.create(CONTROLLER_REVISION, manifest)
            except AlreadyExistsError:
                stored = await self._stored(place)
            except NotFoundError as error:  # the namespace is being deleted, and the Story with it
                raise UnavailableError(str(error)) from error
        if stored is None or is_being_deleted(stored):
            raise UnavailableError(f"ControllerRevision {place[0]}/{place[1]} is being removed")
        if not holds_what_its_name_says(stored):
            raise _conflict(place)
        return stored

    async def _read(self, place: _Place) -> Object | None:
        with port_errors():
            stored = await self._stored(place)
        if stored is None:
            return None
        if not holds_what_its_name_says(stored):
            raise _conflict(place)
        kept: Object = stored["data"]
        _remember(self._kept, place, kept, _STORIES_KEPT)
        return kept

    async def _stored(self, place: _Place) -> Object | None:
        namespace, name = place
        try:
            return await self._client.get(CONTROLLER_REVISION, name, namespace)
        except NotFoundError:
            return None

    def _turn(self, place: _Place) -> trio.Lock:
        """Many runs start with the same Story at once: one sends the request, the others wait for its answer."""
        lock = self._turns.get(place)
        if lock is None:
            self._turns = {other: held for other, held in self._turns.items() if held.locked()}
            lock = self._turns[place] = trio.Lock()
        return lock


def _remember(memory: dict[Any, Any], key: object, value: object, most: int) -> None:
    """Add it as the newest entry; the oldest is removed when there are too many."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > most:
        del memory[next(iter(memory))]


def _conflict(place: _Place) -> NameConflictError:
    return NameConflictError(
        f"ControllerRevision {place[0]}/{place[1]} does not contain the Story that its name identifies; delete it"
    )
