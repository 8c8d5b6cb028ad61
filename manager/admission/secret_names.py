"""Whether the Secrets exist that an object under review names.

The operator neither lists nor watches Secrets, because a permission for that covers all data of all namespaces. So it
asks about each by name, with the permission ``get`` that it has for the Secrets of steps anyway, and only for metadata.
Nothing of an answer is kept or shown but that there is one. A user who may not read a Secret learns nothing either:
policy ``bobrapet-reads`` refuses an object that names it, before admission is asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

import trio

from core.api.objects import NamespacedName
from core.api.resource import SECRET, Resource
from core.kube.errors import KubeError, NotFoundError
from kubewire import Object
from reconcilers.adapters.world import is_object_name

ANSWER_SECONDS: Final = 0.5
"""Longest time for all Secrets of one object, out of the four seconds that a review has."""
AT_ONCE: Final = 8
"""Requests at the same time, over all reviews."""


class MetadataReader(Protocol):
    """The part of a client that is needed here."""

    async def get_metadata(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Raises NotFoundError, or another KubeError."""


class SecretNames:
    """Asks the API server."""

    def __init__(self, reader: MetadataReader) -> None:
        self._reader = reader
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def missing(self, wanted: Collection[NamespacedName]) -> Collection[NamespacedName]:
        """Those that do not exist. Those about which nothing is known in time count as existing."""
        found: list[NamespacedName] = []
        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                for key in wanted:
                    nursery.start_soon(self._ask, key, found)
        return found

    async def _ask(self, key: NamespacedName, missing: list[NamespacedName]) -> None:
        if not (is_object_name(key.name) and is_object_name(key.namespace)):
            missing.append(key)  # no Secret can have this name
            return
        try:
            async with self._limiter:
                await self._reader.get_metadata(SECRET, key.name, key.namespace)
        except NotFoundError:
            missing.append(key)
        except KubeError:
            return
