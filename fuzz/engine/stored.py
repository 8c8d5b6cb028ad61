"""The object storage of the model: a few values from steps, which never change, what the engine and clients store, and
the requests for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import orjson

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError, UnavailableError
from core.engine.payload_port import Offload
from core.expressions.paths import is_reference
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan
from core.payloads.errors import PayloadError, object_missing
from core.payloads.store import Store
from core.payloads.stored_object import StoredObject
from fuzz.engine.cluster import Cluster
from fuzz.engine.process import Process

_Answer = TypeVar("_Answer")

STORED: Final[dict[str, Any]] = {
    "outputs/default/yes": True,
    "outputs/default/no": False,
    "outputs/default/two": 2,
    "outputs/default/record": {"n": 2, "flag": True, "deep": {STORAGE_REFERENCE: "outputs/default/list"}},
    "outputs/default/list": [1, {STORAGE_REFERENCE: "outputs/default/two"}],
}

ABSENT: Final = "outputs/default/gone"
"""The key of an object to which containers refer, although nobody has stored it."""


def stored(name: str, path: str = "") -> dict[str, str]:
    """A reference to one of the values."""
    return {STORAGE_REFERENCE: f"outputs/default/{name}"} | ({STORAGE_PATH: path} if path else {})


class ModelPayloads:
    """One process's view of the store; its requests have the same faults as those to the API server.

    ``Cluster.stored`` has what the engine and clients have stored, by key.
    """

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        kept = self._cluster.stored
        try:
            return await self._process.call(self._cluster, lambda: value_of(value, namespace, field, kept, below))
        except UnavailableError as error:
            raise StorageUnavailableError(f"the store does not answer: {error}") from error

    async def read_object(self, key: str, *, namespace: str) -> bytes | None:
        kept = self._cluster.stored
        return await self._request(lambda: kept.get(key))

    async def write_object(self, key: str, content: bytes, *, namespace: str) -> None:
        await self._request(partial(self._cluster.store, key, content))

    async def copy_object(self, source: str, target: str, *, namespace: str) -> None:
        content = await self.read_object(source, namespace=namespace)
        if content is None:
            raise RejectedError(f"the store has no object {source!r}")
        await self.write_object(target, content, namespace=namespace)

    async def _request(self, apply: Callable[[], _Answer]) -> _Answer:
        if not self._cluster.has_store:
            raise NoStoreError("the operator has no object store")
        try:
            return await self._process.call(self._cluster, apply)
        except UnavailableError as error:
            raise StorageUnavailableError(f"the store does not answer: {error}") from error

    async def use(self, namespace: str, action: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        if not self._cluster.has_store:
            raise NoStoreError("the operator has no object store")
        try:
            return await action(cast(Store, ModelStore(self._cluster, self._process)))
        except PayloadError as error:
            raise RejectedError(str(error)) from error
        except UnavailableError as error:
            raise StorageUnavailableError(f"the store does not answer: {error}") from error

    async def offload(self, value: Any, wanted: Offload, *, field: str) -> Any:
        if not self._cluster.has_store:
            raise NoStoreError("the operator has no object store")
        place = ObjectPlace(Folder(wanted.stored_as.value), wanted.namespace, wanted.owner)
        planned = plan(value, place, OffloadBounds(wanted.total_bytes, wanted.inline_bytes, wanted.depth))
        try:
            for each in planned.objects:
                await self._process.call(self._cluster, partial(self._cluster.store, each.key, each.content))
        except UnavailableError as error:
            raise StorageUnavailableError(f"the store does not answer: {error}") from error
        return planned.remaining


@dataclass(frozen=True)
class ModelStore:
    """The requests of one process that list, read and delete objects."""

    cluster: Cluster
    process: Process

    async def page(self, folder: str, *, after: str = "", limit: int = 2) -> list[StoredObject]:
        """Pages are small, so that there are several."""
        stored = self.cluster.stored
        keys = await self._call(lambda: sorted(key for key in stored if key.startswith(f"{folder}/") and key > after))
        return [StoredObject(key, 1, datetime.min.replace(tzinfo=UTC)) for key in keys[:limit]]

    async def read(self, key: str, limit_bytes: int) -> bytes:
        content = await self._call(lambda: self.cluster.stored.get(key))
        if content is None:
            raise object_missing(key)
        return content

    async def delete(self, wanted: Sequence[str]) -> None:
        await self._call(partial(self.cluster.discard, wanted))

    async def _call(self, apply: Callable[[], _Answer]) -> _Answer:
        return await self.process.call(self.cluster, apply)


def value_of(
    value: Any, namespace: str, field: str, kept: Mapping[str, bytes] = MappingProxyType({}), below: str = ""
) -> Any:
    """``kept``: stored objects beside ``STORED``, by key."""
    if isinstance(value, list):
        return [value_of(item, namespace, field, kept, below) for item in value]
    if not isinstance(value, dict):
        return value
    if not is_reference(value):
        return {key: value_of(item, namespace, field, kept, below) for key, item in value.items()}
    key = value[STORAGE_REFERENCE]
    if not key.startswith(below):
        return value
    if key not in {*STORED, *kept} or key.split("/")[1] != namespace:
        raise RejectedError(f"{field}: the store has no object {key!r}")
    stored_value = STORED[key] if key in STORED else orjson.loads(kept[key])["data"]
    found = value_of(stored_value, namespace, field, kept, below)
    for part in filter(None, value.get(STORAGE_PATH, "").split(".")):
        if not isinstance(found, dict) or part not in found:
            raise RejectedError(f"{field}: {key!r} has no {part!r}")
        found = found[part]
    return found
