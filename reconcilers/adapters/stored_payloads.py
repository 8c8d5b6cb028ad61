"""``core.engine.ports.Payloads`` on the object store that the operator's configuration names at the moment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from core.api.resource import SECRET
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.kube.client import KubeClient
from core.kube.errors import KubeError, NotFoundError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import Bounds, hydrate
from core.payloads.store import S3Location, Store, open_file_store, open_s3_store
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings

MOST_AT_ONCE: Final = 2
"""Values that are being fetched: each takes up to 16 MiB as text, and several times that as data."""
OBJECT_BYTES: Final = 4 * 1024 * 1024
"""Of one stored object: decoding more would hold up everybody else."""
PATIENCE_SECONDS: Final = 25.0
"""For all that one value refers to, its turn included: whoever waits for it says why soon after."""
_CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class StoredPayloads:
    """Opens the store when something is first read from it, and anew when the configuration has changed.

    After a failure it is opened anew, too: its credentials may have been replaced.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: Callable[[], OperatorSettings],
        operator_namespace: str,
        volume_claims: Path | None = None,
    ) -> None:
        """``volume_claims``: of an embedded cluster, what is on the volumes of claims, as NAMESPACE/CLAIM; there the
        operator reads in the volume of each namespace, without having it mounted.
        """
        self._volume_claims = volume_claims
        self._client = client
        self._settings = settings
        self._operator_namespace = operator_namespace
        self._turns = trio.CapacityLimiter(MOST_AT_ONCE)
        self._opened: tuple[StorageSettings, Store] | None = None

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int) -> Any:
        """See ``core.engine.ports.Payloads``."""
        bounds = Bounds(depth=depth, object_bytes=OBJECT_BYTES)
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                async with self._turns:
                    store = await self._store(namespace)
                    return await hydrate(value, store, namespace=namespace, field=field, bounds=bounds)
        except PayloadError as error:
            raise RejectedError(str(error)) from error
        except StoreUnavailableError as error:
            self._opened = None
            raise StorageUnavailableError(str(error)) from error
        raise StorageUnavailableError(f"what {field} refers to could not be read within {PATIENCE_SECONDS:.0f} s")

    async def _store(self, namespace: str) -> Store:
        wanted = self._settings().storage
        if wanted.provider is StorageProvider.FILE and self._volume_claims is not None:
            return open_file_store(str(self._volume_claims / namespace / wanted.file_volume_claim_name))
        if self._opened is None or self._opened[0] != wanted:
            self._opened = (wanted, await self._open(wanted))
        return self._opened[1]

    async def _open(self, wanted: StorageSettings) -> Store:
        if wanted.provider is StorageProvider.NONE:
            raise NoStoreError("the operator has no object store; name one with controller.storage.provider")
        if wanted.provider is StorageProvider.FILE:
            return open_file_store(wanted.file_path)
        location = S3Location(
            bucket=wanted.s3_bucket,
            region=wanted.s3_region,
            endpoint=wanted.s3_endpoint,
            path_style=wanted.s3_use_path_style,
            credentials=await self._credentials(wanted.s3_auth_secret_name),
        )
        return open_s3_store(location)

    async def _credentials(self, name: str) -> dict[str, str]:
        """Of the Secret ``name`` beside the operator; none without a name: those of the operator's own environment."""
        if not name:
            return {}
        place = f"{self._operator_namespace}/{name}"
        try:
            secret = await self._client.get(SECRET, name, self._operator_namespace)
        except NotFoundError as error:
            raise StorageUnavailableError(f"storage Secret {place} does not exist; create it") from error
        except KubeError as error:
            raise StorageUnavailableError(f"storage Secret {place} cannot be read: {error}") from error
        data = secret.get("data") or {}
        try:
            return {key: base64.b64decode(data[key], validate=True).decode() for key in _CREDENTIALS if key in data}
        except (binascii.Error, UnicodeDecodeError, TypeError):
            raise StorageUnavailableError(f"storage Secret {place} holds something that is no text") from None
