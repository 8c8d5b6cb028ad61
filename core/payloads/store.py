"""Stores of payloads: objects by key; they know nothing about references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from core.payloads.azure_store import AzureLocation, azure_store
from core.payloads.file_store import FileStore
from core.payloads.gcs_store import GcsLocation, gcs_store
from core.payloads.s3_store import S3Location, s3_store
from core.payloads.stored_object import PAGE_OBJECTS, StoredObject

__all__ = [
    "PAGE_OBJECTS",
    "TIMEOUT_SECONDS",
    "AzureLocation",
    "GcsLocation",
    "ObjectReader",
    "S3Location",
    "Store",
    "StoredObject",
    "open_azure_store",
    "open_file_store",
    "open_gcs_store",
    "open_s3_store",
]

TIMEOUT_SECONDS: Final = 30.0
"""Deadline of one read or write, including waits; much shorter than the SDK's, because a run waits for it."""


class ObjectReader(Protocol):
    """Objects below one root, for reading."""

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """The content of the object.

        Raises:
            PayloadError: the object does not exist, ``key`` is unsafe, or the object is larger than ``limit_bytes``;
                this is checked before it is read.
            StoreUnavailableError: no answer in time, or an answer that cannot be used.
            Cancellation: at once; the result of the request is dropped.
        """


class Store(ObjectReader, Protocol):
    """Objects below one root."""

    async def write(self, key: str, content: bytes) -> None:
        """Store the object; readers see it whole or not at all.

        Raises:
            PayloadError: ``key`` is unsafe.
            StoreUnavailableError: no answer in time, or the store refuses it; it may be stored nevertheless.
            Cancellation: at once; the object may be stored nevertheless.
        """

    async def download(self, key: str, target: Path, limit_bytes: int) -> None:
        """Write the content into the file ``target``, in parts, so that memory does not depend on the size.

        Raises:
            PayloadError, StoreUnavailableError: as ``read``; ``target`` may have a part of the content.
            OSError: ``target`` cannot be written.
        """

    async def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store, whatever its size; readers see the copy whole or not at all.

        Raises:
            PayloadError: ``source`` does not exist, or a key is unsafe.
            StoreUnavailableError: no answer in time, or the store refuses it.
        """

    async def page(self, folder: str, *, after: str = "", limit: int = PAGE_OBJECTS) -> Sequence[StoredObject]:
        """Up to ``limit`` objects below ``folder``, at any depth, whose key is greater than ``after``; by key.

        The last key of a page is ``after`` of the next one. An empty page is the last one.
        Objects that are written or deleted meanwhile may be missing or present. Those with unsafe keys are left out.

        Args:
            folder: whole segments, without a slash at the end: ``outputs/team`` has no objects of ``outputs/team-b``.
        Raises:
            PayloadError: ``folder`` is unsafe.
            StoreUnavailableError: no answer in time, or the store refuses it.
            Cancellation: at once; the result of the request is dropped.
        """

    async def delete(self, wanted: Sequence[str]) -> None:
        """Delete the objects with these keys; one that does not exist is deleted already.

        Args:
            wanted: up to ``PAGE_OBJECTS`` keys.
        Raises:
            PayloadError: a key is unsafe, then nothing is deleted; or is that of a folder.
            StoreUnavailableError: no answer in time, or the store refuses it; some objects may be deleted.
            Cancellation: at once; some objects may be deleted.
        """


def open_file_store(root: str, *, makes_root: bool = False, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The files below ``root``. Opening reads nothing.

    ``makes_root``: the first write creates ``root``. Otherwise a missing root is a volume that is not mounted.
    """
    return FileStore(root, timeout_seconds, makes_root)


def open_s3_store(location: S3Location, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The objects of a bucket. Opening imports and reads nothing.

    Keep it as long as the location stays the same: it reuses its connections.

    Raises:
        StoreUnavailableError: the location lacks a bucket or half of its credentials, or its endpoint is not a URL.
    """
    return s3_store(location, timeout_seconds)


def open_gcs_store(location: GcsLocation, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The objects of a bucket of Google Cloud Storage; as ``open_s3_store``.

    Raises:
        StoreUnavailableError: the location lacks a bucket, its endpoint cannot be used, or its Secret has no key of a
            service account.
    """
    return gcs_store(location, timeout_seconds)


def open_azure_store(location: AzureLocation, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The blobs of a container of Azure Blob Storage; as ``open_s3_store``.

    Raises:
        StoreUnavailableError: the location lacks account or container, its endpoint cannot be used, or its Secret has
            no complete credentials.
    """
    return azure_store(location, timeout_seconds)
