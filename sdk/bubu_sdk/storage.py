"""The interface of a payload store, which maps keys to objects and knows nothing about references; and the file store.

``bubu_sdk.stores`` opens the configured store. Source: SDK contract 2, 3.2, 6.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, Final, Protocol

from bubu_sdk import reference
from bubu_sdk.errors import StorageError

MAX_OBJECT_BYTES: Final = 64 * 1024 * 1024
"""The limit for one hydrated object. The reference has no limit, so that one reference could exhaust the memory."""


_PART_BYTES: Final = 1024 * 1024


class ObjectMissingError(StorageError):
    """*user*: the store has no object under this key."""

    default_retryable = False


class Readable(Protocol):
    """What can be read in parts."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """What can be written in parts."""

    def write(self, part: bytes, /) -> int: ...


class Store(Protocol):
    """Objects under one root. Blocking; thread-safe."""

    def read(self, key: str) -> bytes:
        """The bytes of the object.

        Raises:
            ObjectMissingError: the object does not exist.
            StorageError: the object is larger than 64 MiB, or the store failed.
        """

    def write(self, key: str, content: bytes, content_type: str) -> None:
        """Replace the object at ``key``; readers see the old or the new object, never a mixture."""

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        """Like ``write``, for a file of any size; in parts, so memory is bounded."""

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        """Write the object into ``target``, in parts.

        Raises:
            ObjectMissingError: the object does not exist.
            StorageError: it is larger than ``size_bytes``, or the store failed.
        """


def copy_parts(source: Readable, target: Writable, key: str, size_bytes: int) -> None:
    """Copy ``source`` to ``target``.

    Raises:
        StorageError: there are more than ``size_bytes``.
    """
    copied = 0
    while part := source.read(_PART_BYTES):
        copied += len(part)
        if copied > size_bytes:
            raise StorageError(f"stored object {key!r} is larger than {size_bytes} bytes", retryable=False)
        target.write(part)


class FileStore:
    """Stores objects as files in a mounted directory (``BUBU_STORAGE_PROVIDER=file``)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes:
        file = self._file(key)
        try:
            if file.stat().st_size > MAX_OBJECT_BYTES:
                raise StorageError(f"stored object {key!r} is larger than {MAX_OBJECT_BYTES} bytes", retryable=False)
            return file.read_bytes()
        except FileNotFoundError as error:
            raise ObjectMissingError(f"stored object {key!r} not found") from error
        except OSError as error:
            raise StorageError(f"stored object {key!r} cannot be read: {error.strerror}") from error

    def write(self, key: str, content: bytes, content_type: str) -> None:
        self.upload(key, io.BytesIO(content), len(content), content_type)

    def download(self, key: str, target: Writable, size_bytes: int) -> None:
        try:
            with self._file(key).open("rb") as file:
                copy_parts(file, target, key, size_bytes)
        except FileNotFoundError as error:
            raise ObjectMissingError(f"stored object {key!r} not found") from error
        except OSError as error:
            raise StorageError(f"stored object {key!r} cannot be read: {error.strerror}") from error

    def upload(self, key: str, source: IO[bytes], size_bytes: int, content_type: str) -> None:
        del content_type  # a file cannot store it, and readers of this provider do not need it
        file = self._file(key)
        import tempfile  # imported here, because reading does not need it

        try:
            self._make_folders(file.parent)
            descriptor, temporary = tempfile.mkstemp(prefix=".bubu-", dir=file.parent)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    copy_parts(source, stream, key, size_bytes)
                    stream.flush()
                    os.fchmod(stream.fileno(), 0o640)
                    os.fsync(stream.fileno())
                Path(temporary).replace(file)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(f"stored object {key!r} cannot be written: {error.strerror}") from error

    def _make_folders(self, folder: Path) -> None:
        for missing in reversed([one for one in (folder, *folder.parents) if one.is_relative_to(self._root)]):
            missing.mkdir(
                mode=0o750, parents=True, exist_ok=True
            )  # the permissions of the root's parents are not ours to restrict

    def _file(self, key: str) -> Path:
        return self._root / reference.checked_key(key)
