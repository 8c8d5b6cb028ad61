"""One server per data directory: a lock that the kernel always releases when its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK_FILE: Final = "lock"


class DataDirectoryInUseError(Exception):
    """Another process serves this data directory; the text names it and the remedy."""


@contextmanager
def holding(data_dir: Path) -> Iterator[None]:
    """Hold the lock of ``data_dir``, which must exist, until the block ends.

    Raises:
        DataDirectoryInUseError: another process holds it.
    """
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _read(descriptor) or "unknown"
            raise DataDirectoryInUseError(
                f"{data_dir}: in use by process {owner}; stop it (kill {owner}) or choose another data directory"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def owner_of(data_dir: Path) -> int | None:
    """The process that serves ``data_dir`` now; None when no process does."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = _read(descriptor)
        return int(text) if text.isdecimal() else None
    else:
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()
