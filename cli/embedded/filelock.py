"""Advisory file locks, which the kernel releases when their process ends in any way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """An open lock file. A second one for the same file counts as another holder.

    As a context manager it releases its lock and closes the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def try_exclusive(self) -> bool:
        """Try to get an exclusive lock; returns whether it is held now. A shared lock is converted."""
        return self._try(fcntl.LOCK_EX)

    def wait_exclusive(self) -> None:
        """Wait until the lock is held exclusively; only for locks that others hold for an instant."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Try to get a shared lock; returns whether it is held now."""
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def write(self, text: str) -> None:
        """Write a text for processes that find the lock held."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(path: Path) -> FileLock:
    """The lock of ``path``, not held yet; a missing file is created.

    Raises:
        OSError: the file cannot be opened or created.
    """
    return FileLock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_held(path: Path) -> bool:
    """Whether a process holds ``path`` exclusively."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False
