"""An object store in memory, with small pages; counts its listings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import trio

from core.payloads import key as keys
from core.payloads.errors import StoreUnavailableError, object_missing, object_too_large
from core.payloads.stored_object import StoredObject

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Objects by key. ``written_at`` has the age of those that are not old; ``outage`` is the answer, if it is set.

    Each answer takes ``seconds``.
    """

    def __init__(self, objects: Mapping[str, bytes] | Sequence[str] = (), *, page_objects: int = 2) -> None:
        self.objects = dict(objects) if isinstance(objects, Mapping) else dict.fromkeys(objects, b"{}")
        self.written_at: dict[str, datetime] = {}
        self.pages: list[tuple[str, str]] = []
        self.deletions: list[list[str]] = []
        self.read_keys: list[str] = []
        self.outage = ""
        self.seconds = 0.0
        self._page_objects = page_objects

    async def page(self, folder: str, *, after: str = "", limit: int = 1000) -> Sequence[StoredObject]:
        await self._answer()
        keys.segments(folder)
        self.pages.append((folder, after))
        found = sorted(key for key in self.objects if key.startswith(f"{folder}/") and key > after)
        return [self._listed(key) for key in found[: min(limit, self._page_objects)]]

    async def read(self, key: str, limit_bytes: int) -> bytes:
        await self._answer()
        self.read_keys.append(key)
        if key not in self.objects:
            raise object_missing(key)
        if len(self.objects[key]) > limit_bytes:
            raise object_too_large(key, limit_bytes)
        return self.objects[key]

    async def delete(self, wanted: Sequence[str]) -> None:
        await self._answer()
        self.deletions.append([*wanted])
        for key in wanted:
            self.objects.pop(key, None)

    async def _answer(self) -> None:
        if self.seconds:
            await trio.sleep(self.seconds)
        if self.outage:
            raise StoreUnavailableError(self.outage)

    def _listed(self, key: str) -> StoredObject:
        return StoredObject(key, len(self.objects[key]), self.written_at.get(key, LONG_AGO))
