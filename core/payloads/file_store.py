"""Objects as files below a mounted folder.

Everyone who mounts the volume can write any file there. So no symbolic link below the root is followed: each folder is
opened inside the one before it. And only regular files are read.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from core.payloads import key as keys
from core.payloads import threads
from core.payloads.errors import PayloadError, StoreUnavailableError, object_missing, object_too_large, shown

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""O_NONBLOCK: without it, opening a named pipe would wait for its writer."""
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL})


class FileStore:
    """The files below one folder."""

    def __init__(self, root: str, timeout_seconds: float, makes_root: bool) -> None:
        self._root = root
        self._makes_root = makes_root
        self._timeout_seconds = timeout_seconds
        self._name = f"the payload folder {root!r}"

    async def read(self, key: str, limit_bytes: int) -> bytes:
        """See ``Store.read``."""
        keys.segments(key)
        return await threads.answer_in_time(self._name, self._timeout_seconds, self._read, key, limit_bytes)

    def _read(self, key: str, limit_bytes: int) -> bytes:
        try:
            descriptor = self._opened(key)
            try:
                return _content(descriptor, key, limit_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be read: {error.strerror}") from error

    async def write(self, key: str, content: bytes) -> None:
        """See ``Store.write``."""
        keys.segments(key)
        await threads.answer_in_time(self._name, self._timeout_seconds, self._write, key, content)

    def _write(self, key: str, content: bytes) -> None:
        try:
            folder, name = self._made_folders(key)
            try:
                _replace(folder, name, content)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be written: {error.strerror}") from error

    def _made_folders(self, key: str) -> tuple[int, str]:
        """The descriptor of the folder that ``key`` names, which is created if it is missing, and the file's name."""
        *folders, name = keys.segments(key)
        if self._makes_root:
            Path(self._root).mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = self._opened_root()
        for folder in folders:
            try:
                with suppress(FileExistsError):
                    os.mkdir(folder, _FOLDER_MODE, dir_fd=descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            descriptor = _opened_inside(descriptor, folder, _FLAGS | os.O_DIRECTORY)
        return descriptor, name

    def _opened(self, key: str) -> int:
        """The descriptor of the file that ``key`` names.

        Raises:
            PayloadError: there is no such file, or a part of its path is not a folder.
            OSError: the file system or its permissions prevent it.
        """
        *folders, name = keys.segments(key)
        descriptor = self._opened_root()
        try:
            for folder in folders:
                descriptor = _opened_inside(descriptor, folder, _FLAGS | os.O_DIRECTORY)
            return _opened_inside(descriptor, name, _FLAGS)
        except FileNotFoundError as error:
            raise object_missing(key) from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _no_regular_file(key) from error
            raise

    def _opened_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError as error:
            raise StoreUnavailableError(
                f"{self._name} cannot be opened: {error.strerror}; mount the volume of the payloads there"
            ) from error


def _opened_inside(folder: int, name: str, flags: int) -> int:
    """The descriptor of ``name``; that of ``folder`` is closed."""
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, content: bytes) -> None:
    """Write the file ``name`` inside ``folder``; it appears whole, and only once it is on the disk."""
    temporary = f".bubu-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, _CREATE_FLAGS, _FILE_MODE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _content(descriptor: int, key: str, limit_bytes: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise _no_regular_file(key)
    if status.st_size > limit_bytes:
        raise object_too_large(key, limit_bytes)
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        content = file.read(limit_bytes + 1)  # it may grow during the read
    if len(content) > limit_bytes:
        raise object_too_large(key, limit_bytes)
    return content


def _no_regular_file(key: str) -> PayloadError:
    return PayloadError(
        f"the stored object {shown(key)} must be a regular file below regular folders; symbolic links are not followed"
    )
