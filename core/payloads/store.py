"""Stores of payloads: objects by key; they know nothing about references."""

from __future__ import annotations

from typing import Final, Protocol

from core.payloads.file_store import FileStore
from core.payloads.s3_store import S3Location, S3Store

__all__ = ["TIMEOUT_SECONDS", "S3Location", "Store", "open_file_store", "open_s3_store"]

TIMEOUT_SECONDS: Final = 30.0
"""Deadline of one read, including waits; much shorter than the SDK's, because a run waits for it."""


class Store(Protocol):
    """Objects below one root, for reading."""

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """The content of the object.

        Raises:
            PayloadError: the object does not exist, ``key`` is unsafe, or the object is larger than ``limit_bytes``;
                this is checked before it is read.
            StoreUnavailableError: no answer in time, or an answer that cannot be used.
            Cancellation: at once; the result of the request is dropped.
        """


def open_file_store(root: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The files below ``root``. Opening reads nothing."""
    return FileStore(root, timeout_seconds)


def open_s3_store(location: S3Location, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The objects of a bucket. Opening imports and reads nothing.

    Keep it as long as the location stays the same: it reuses its connections.

    Raises:
        StoreUnavailableError: the location lacks a bucket or half of its credentials, or its endpoint is not a URL.
    """
    return S3Store(location, timeout_seconds)
