"""``core.engine.ports.Payloads`` on the object store of the operator's current configuration.

Reads and writes have separate turns, so that a namespace with many large values delays no other namespace, and writes
do not wait for reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import trio

from bubu_contract.canonical import NotJsonError
from core.api.resource import SECRET
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.engine.payload_port import Offload
from core.fairness.turns import Turns
from core.kube.client import KubeClient
from core.kube.errors import KubeError, NotFoundError
from core.payloads import key as keys
from core.payloads import threads
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, PlannedObject, plan
from core.payloads.errors import ObjectMissingError, PayloadError, StoreUnavailableError, object_too_large
from core.payloads.hydrate import HydrationBounds, hydrate
from core.payloads.several import for_several
from core.payloads.store import Store
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from reconcilers.adapters import payload_store

_Answer = TypeVar("_Answer")

MOST_AT_ONCE: Final = 2
"""Values that are loaded concurrently, and values that are stored: each takes up to 16 MiB as text, and several times
that as data.
"""
OBJECT_BYTES: Final = 4 * 1024 * 1024
"""Size of one stored object: decoding more would block all other work for too long."""
PATIENCE_SECONDS: Final = 25.0
"""For all data that one value refers to, including the wait for its turn; soon after, the waiting step reports the
reason.
"""


class ObjectStores(Protocol):
    """The object store of the operator's current configuration, for whole objects."""

    async def use(self, namespace: str, action: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        """The answer of ``action``, with the store that has the objects of ``namespace``.

        Raises:
            NoStoreError: the operator has no object store.
            RejectedError: ``action`` raised a PayloadError.
            StorageUnavailableError: the store does not answer, or refuses the operator; another call may succeed.
        """


class StoredPayloads:
    """Opens the store at the first read, and again when the configuration has changed.

    After a failure it is opened again, too: its credentials may have been replaced.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: Callable[[], OperatorSettings],
        operator_namespace: str,
        volume_claims: Path | None = None,
    ) -> None:
        """``volume_claims``: in an embedded cluster, the folder with the volumes of claims, as NAMESPACE/CLAIM; the
        operator reads the volume of each namespace there, without a mount.
        """
        self._volume_claims = volume_claims
        self._client = client
        self._settings = settings
        self._operator_namespace = operator_namespace
        self._read_turns = Turns(MOST_AT_ONCE, 1, at_once_alone=MOST_AT_ONCE)
        self._write_turns = Turns(MOST_AT_ONCE, 1, at_once_alone=MOST_AT_ONCE)
        self._opened: tuple[StorageSettings, Store] | None = None

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        """See ``core.engine.ports.Payloads``."""
        bounds = HydrationBounds(depth=depth, object_bytes=OBJECT_BYTES)
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                async with self._read_turns.turn(namespace):
                    store = await self._store(namespace)
                    return await hydrate(value, store, namespace=namespace, field=field, bounds=bounds, below=below)
        except PayloadError as error:
            raise RejectedError(str(error)) from error
        except StoreUnavailableError as error:
            self._opened = None
            raise StorageUnavailableError(str(error)) from error
        text = f"the data that {field} refers to could not be read within {PATIENCE_SECONDS:.0f} s"
        raise StorageUnavailableError(text)

    async def read_object(self, key: str, *, namespace: str) -> bytes | None:
        """See ``core.engine.ports.Payloads``."""

        async def read(store: Store) -> bytes | None:
            keys.check_namespace(key, namespace)
            try:
                return await store.read(key, OBJECT_BYTES)
            except ObjectMissingError:
                return None

        return await self.use(namespace, read)

    async def write_object(self, key: str, content: bytes, *, namespace: str) -> None:
        """See ``core.engine.ports.Payloads``."""

        async def write(store: Store) -> None:
            keys.check_namespace(key, namespace)
            if len(content) > OBJECT_BYTES:
                raise object_too_large(key, OBJECT_BYTES)
            await store.write(key, content)

        await self.use(namespace, write)

    async def copy_object(self, source: str, target: str, *, namespace: str) -> None:
        """See ``core.engine.ports.Payloads``."""

        async def copy(store: Store) -> None:
            for key in (source, target):
                keys.check_namespace(key, namespace)
            await store.copy(source, target)

        await self.use(namespace, copy)

    async def use(self, namespace: str, action: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        """See ``ObjectStores``."""
        try:
            return await action(await self._store(namespace))
        except PayloadError as error:
            raise RejectedError(str(error)) from error
        except StoreUnavailableError as error:
            self._opened = None
            raise StorageUnavailableError(str(error)) from error

    async def offload(self, value: Any, wanted: Offload, *, field: str) -> Any:
        """See ``core.engine.ports.Payloads``."""
        if self._settings().storage.provider is StorageProvider.NONE:
            raise NoStoreError("the operator has no object store; name one with controller.storage.provider")
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                async with self._write_turns.turn(wanted.namespace):
                    place = ObjectPlace(Folder(wanted.stored_as.value), wanted.namespace, wanted.owner)
                    bounds = OffloadBounds(wanted.total_bytes, wanted.inline_bytes, wanted.depth)
                    planned = await threads.compute(plan, value, place, bounds)
                    await self._write(planned.objects, await self._store(wanted.namespace))
                    return planned.remaining
        except (PayloadError, NotJsonError) as error:
            raise RejectedError(f"{field}: {error}") from error
        except StoreUnavailableError as error:
            self._opened = None
            raise StorageUnavailableError(f"{field} is too large to stay inline, and {error}") from error
        text = f"{field} is too large to stay inline, and could not be stored within {PATIENCE_SECONDS:.0f} s"
        raise StorageUnavailableError(text)

    async def _write(self, objects: Sequence[PlannedObject], store: Store) -> None:
        async def write(each: PlannedObject) -> None:
            await store.write(each.key, each.content)

        await for_several(objects, write, at_once=threads.PER_STORE, failures=(StoreUnavailableError,))

    async def _store(self, namespace: str) -> Store:
        wanted = self._settings().storage
        if payload_store.is_volume(wanted) and self._volume_claims is not None:
            return payload_store.open_volume(wanted, self._volume_claims, namespace)
        if self._opened is None or self._opened[0] != wanted:
            credentials = await self._credentials(wanted) if payload_store.secret_of(wanted) else {}
            self._opened = (wanted, payload_store.open_store(wanted, credentials))
        return self._opened[1]

    async def _credentials(self, wanted: StorageSettings) -> dict[str, str]:
        """The credentials in the Secret of the store, in the operator's namespace."""
        name = payload_store.secret_of(wanted)
        place = f"{self._operator_namespace}/{name}"
        try:
            secret = await self._client.get(SECRET, name, self._operator_namespace)
        except NotFoundError as error:
            raise StorageUnavailableError(f"storage Secret {place} does not exist; create it") from error
        except KubeError as error:
            raise StorageUnavailableError(f"storage Secret {place} cannot be read: {error}") from error
        return payload_store.credentials_in(secret, wanted, place)
