"""What all stores have in common: keys are checked first, and the blocking work is done in threads, in time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.payloads import key as keys
from core.payloads import threads
from core.payloads.stored_object import PAGE_OBJECTS, StoredObject


class ThreadedStore(ABC):
    """Implements ``core.payloads.store.Store`` by blocking methods, which get only safe keys.

    The errors of those methods are those of ``Store``.
    """

    _deleted_at_once = PAGE_OBJECTS
    """Objects of one deletion within the deadline."""

    def __init__(self, name: str, timeout_seconds: float) -> None:
        """``name``: for messages; stores of one name share their threads."""
        self._name = name
        self._timeout_seconds = timeout_seconds

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """See ``Store.read``."""
        keys.segments(key)
        return await threads.answer_in_time(self._name, self._timeout_seconds, self._read, key, limit_bytes)

    async def write(self, key: str, content: bytes) -> None:
        """See ``Store.write``."""
        keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._write, key, content)

    async def download(self, key: str, target: Path, limit_bytes: int) -> None:
        """See ``Store.download``."""
        keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._download, key, target, limit_bytes)

    async def copy(self, source: str, target: str) -> None:
        """See ``Store.copy``."""
        for key in (source, target):
            keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._copy, source, target)

    async def page(self, folder: str, *, after: str = "", limit: int = PAGE_OBJECTS) -> Sequence[StoredObject]:
        """See ``Store.page``."""
        keys.segments(folder)
        return await threads.answer_in_time(self._name, self._timeout_seconds, self._page, folder, after, limit)

    async def delete(self, wanted: Sequence[str]) -> None:
        """See ``Store.delete``."""
        for key in wanted:
            keys.segments(key)
        for start in range(0, len(wanted), self._deleted_at_once):
            part = tuple(wanted[start : start + self._deleted_at_once])
            await threads.answer_in_time(self._name, self._timeout_seconds, self._delete, part)

    def _download(self, key: str, target: Path, limit_bytes: int) -> None:
        with target.open("wb") as file:
            for part in self._parts(key, limit_bytes):
                file.write(part)

    @abstractmethod
    def _read(self, key: str, limit_bytes: int) -> bytes: ...

    @abstractmethod
    def _parts(self, key: str, limit_bytes: int) -> Iterator[bytes]:
        """The content of the object, in parts; errors as of ``read``."""

    @abstractmethod
    def _write(self, key: str, content: bytes) -> None: ...

    @abstractmethod
    def _copy(self, source: str, target: str) -> None: ...

    @abstractmethod
    def _page(self, folder: str, after: str, limit: int) -> list[StoredObject]: ...

    @abstractmethod
    def _delete(self, wanted: Sequence[str]) -> None: ...
