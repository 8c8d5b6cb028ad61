"""Advisory locks on files, that the kernel takes back from a process however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """An open lock file. A second one of the same file counts as another holder.

    As a context manager it gives back what it holds and closes the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)

    def try_exclusive(self) -> bool:
        """Whether it is held now, by this one alone; a shared hold is exchanged for it."""
        return self._try(fcntl.LOCK_EX)

    def wait_exclusive(self) -> None:
        """Return once it is held by this one alone; for what others hold for an instant only."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Whether it is held now, perhaps together with others."""
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def write(self, text: str) -> None:
        """Leave a word for those who find it held."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(path: Path) -> FileLock:
    """The lock of ``path``, not held yet; the file is made when it is missing.

    Raises:
        OSError: the file cannot be opened or made.
    """
    return FileLock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_held(path: Path) -> bool:
    """Whether somebody holds ``path`` alone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False
