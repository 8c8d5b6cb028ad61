"""Objects as files below a mounted folder.

Everyone who mounts the volume can write any file there. So no symbolic link below the root is followed: each folder is
opened inside the one before it. And only regular files are read.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bubu_contract.references import shown
from core.payloads import key as keys
from core.payloads.errors import PayloadError, StoreUnavailableError, object_missing, object_too_large
from core.payloads.file_listing import files_below
from core.payloads.stored_object import StoredObject
from core.payloads.threaded_store import ThreadedStore

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""O_NONBLOCK: without it, opening a named pipe would wait for its writer."""
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PART_BYTES: Final = 1024 * 1024
_ANY_SIZE: Final = sys.maxsize
_FOLDER_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_WRITE_ATTEMPTS: Final = 3
"""A deletion may remove an empty folder between its creation and that of the file in it."""
_KEPT_FOLDERS: Final = 2
"""``outputs/<namespace>``: many writers share these folders, so they stay when they are empty."""
_NO_FILE: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL})


class FileStore(ThreadedStore):
    """The files below one folder."""

    def __init__(self, root: str, timeout_seconds: float, makes_root: bool) -> None:
        super().__init__(f"the payload folder {root!r}", timeout_seconds)
        self._root = root
        self._makes_root = makes_root

    def _read(self, key: str, limit_bytes: int) -> bytes:
        try:
            descriptor = self._opened(key)
            try:
                return _content(descriptor, key, limit_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be read: {error.strerror}") from error

    def _write(self, key: str, content: bytes) -> None:
        for _ in range(_WRITE_ATTEMPTS - 1):
            with suppress(FileNotFoundError):
                self._write_once(key, content)
                return
        try:
            self._write_once(key, content)
        except FileNotFoundError as error:
            raise StoreUnavailableError(f"{self._name} cannot be written: {error.strerror}") from error

    def _write_once(self, key: str, content: bytes) -> None:
        """
        Raises:
            FileNotFoundError: the folder was removed meanwhile.
        """
        try:
            folder, name = self._made_folders(key)
            try:
                _replace(folder, name, [content])
            finally:
                os.close(folder)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be written: {error.strerror}") from error

    def _copy(self, source: str, target: str) -> None:
        folder, name = self._made_folders(target)
        try:
            _replace(folder, name, self._parts(source, _ANY_SIZE))
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be written: {error.strerror}") from error
        finally:
            os.close(folder)

    def _parts(self, key: str, limit_bytes: int) -> Iterator[bytes]:
        try:
            descriptor = self._opened(key)
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _no_regular_file(key)
            size = 0
            while part := file.read(_PART_BYTES):
                size += len(part)
                if size > limit_bytes:
                    raise object_too_large(key, limit_bytes)
                yield part

    def _page(self, folder: str, after: str, limit: int) -> list[StoredObject]:
        if self._makes_root and not Path(self._root).exists():
            return []
        descriptors: list[int] = []
        try:
            if not self._open_folders(keys.segments(folder), descriptors):
                return []
            return files_below(descriptors[-1], folder, after, limit)
        except OSError as error:
            raise StoreUnavailableError(f"{self._name} cannot be listed: {error.strerror}") from error
        finally:
            _close(descriptors)

    def _delete(self, wanted: Sequence[str]) -> None:
        if self._makes_root and not Path(self._root).exists():
            return
        for key in wanted:
            descriptors: list[int] = []
            try:
                *folders, name = keys.segments(key)
                if self._open_folders(folders, descriptors):
                    _remove(name, descriptors[-1], key)
                    _remove_empty(folders, descriptors)
            except OSError as error:
                text = f"{self._name} does not let {shown(key)} be deleted: {error.strerror}"
                raise StoreUnavailableError(text) from error
            finally:
                _close(descriptors)

    def _open_folders(self, folders: Sequence[str], descriptors: list[int]) -> bool:
        """Open the root and each folder inside the one before, into ``descriptors``; False: there is no such folder."""
        descriptors.append(self._opened_root())
        for folder in folders:
            try:
                descriptors.append(os.open(folder, _FLAGS | os.O_DIRECTORY, dir_fd=descriptors[-1]))
            except OSError as error:
                if isinstance(error, FileNotFoundError) or error.errno in _NO_FILE:
                    return False
                raise
        return True

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
        if self._makes_root and not Path(self._root).exists():
            raise object_missing(key)
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


def _replace(folder: int, name: str, parts: Iterable[bytes]) -> None:
    """Write the file ``name`` inside ``folder``; it appears whole, and only once it is on the disk."""
    temporary = f".bubu-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, _CREATE_FLAGS, _FILE_MODE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
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


def _remove(name: str, folder: int, key: str) -> None:
    """Remove the file; a symbolic link is removed itself.

    Raises:
        PayloadError: it is a folder.
    """
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.EPERM) and _is_folder(name, folder):
            raise _no_regular_file(key) from error
        raise


def _is_folder(name: str, folder: int) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _remove_empty(folders: Sequence[str], descriptors: Sequence[int]) -> None:
    """Remove the last of ``folders``, and those that are empty then; each has its parent in ``descriptors``."""
    for position in range(len(folders) - 1, _KEPT_FOLDERS - 1, -1):
        try:
            os.rmdir(folders[position], dir_fd=descriptors[position])
        except OSError:  # it is not empty, or not ours to remove: it does no harm
            return


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _no_regular_file(key: str) -> PayloadError:
    return PayloadError(
        f"the stored object {shown(key)} must be a regular file below regular folders; symbolic links are not followed"
    )
