"""The port to data in object storage, and what an object there belongs to. Errors as in ``core.engine.errors``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class StoredAs(StrEnum):
    """What an object in storage belongs to: the first segment of its key."""

    INPUTS = "inputs"
    OUTPUTS = "outputs"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Offload:
    """Where the large parts of a value are stored, and what is large. Source: SDK contract 3.1 and 4."""

    stored_as: StoredAs
    namespace: str
    owner: str
    """Name of the run or StepRun that the value belongs to; its objects have it in their keys."""
    total_bytes: int
    """Size of the whole value, as JSON, up to which it stays as it is."""
    inline_bytes: int
    """Size up to which a part of a larger value stays inline; at most ``total_bytes``."""
    depth: int
    """Nesting; deeper parts are stored."""


class Payloads(Protocol):
    """Data in object storage: what steps have put there, and large values that the engine puts there."""

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        """``value`` with each storage reference in it replaced by its data; so are the references inside that data.

        Args:
            namespace: the run's; data of other namespaces is not read.
            field: JSON path of ``value``, for messages.
            depth: how deep values may be nested, references followed.
            below: a prefix of keys; references to other objects stay as they are.
        Raises:
            NoStoreError: the operator has no object store.
            RejectedError: a reference is malformed, or its data may not be read, does not exist or is too large.
            StorageUnavailableError: the store does not answer, or refuses the operator.
        """

    async def read_object(self, key: str, *, namespace: str) -> bytes | None:
        """The content of a small object of the operator's own; None if it does not exist.

        Raises:
            NoStoreError, StorageUnavailableError: as ``fetch``.
            RejectedError: the key is not one of ``namespace``, or the object is too large.
        """

    async def write_object(self, key: str, content: bytes, *, namespace: str) -> None:
        """Replace the object; readers see it whole or not at all. Same errors as ``read_object``."""

    async def copy_object(self, source: str, target: str, *, namespace: str) -> None:
        """Copy an object of any size. Errors as of ``read_object``; ``RejectedError`` also if ``source`` is gone."""

    async def offload(self, value: Any, wanted: Offload, *, field: str) -> Any:
        """``value``, smaller than ``wanted.total_bytes``: storage references replace large parts, which are stored.

        The same value gives the same references, and storing it twice changes nothing. An object exists before this
        returns a reference to it.

        Args:
            field: JSON path of ``value``, for messages.
        Raises:
            NoStoreError: the operator has no object store.
            RejectedError: the value cannot be written as JSON.
            StorageUnavailableError: the store does not answer, or refuses the operator; objects may be stored
                nevertheless.
        """
