"""Stores of payloads: objects by key, nothing about references."""

from __future__ import annotations

from typing import Final, Protocol

from core.payloads.file_store import FileStore
from core.payloads.s3_store import S3Location, S3Store

__all__ = ["TIMEOUT_SECONDS", "S3Location", "Store", "open_file_store", "open_s3_store"]

TIMEOUT_SECONDS: Final = 30.0
"""One read, all told; much less than the SDK's, because a run waits for it."""


class Store(Protocol):
    """Objects below one root, to be read."""

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """The object's bytes.

        Raises:
            PayloadError: there is none, ``key`` is unsafe, or it is larger than ``limit_bytes``; that is found out
                before it is read.
            StoreUnavailableError: no answer in time, or none that can be used.
        Cancellation: at once; what was asked for is dropped.
        """


def open_file_store(root: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The files below ``root``. Nothing is read yet."""
    return FileStore(root, timeout_seconds)


def open_s3_store(location: S3Location, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The objects of a bucket. Nothing is imported or read yet.

    Keep it as long as the location stays the same: it keeps its connections.

    Raises:
        StoreUnavailableError: the location lacks a bucket or half of its credentials, or its endpoint is no URL.
    """
    return S3Store(location, timeout_seconds)
