"""Lists the files below an open folder in the order of their keys; no symbolic link is followed."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import Final

from core.payloads import key as keys
from core.payloads.stored_object import StoredObject

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
_MAX_DEPTH: Final = 32
"""Folders inside each other, each with an open descriptor. Keys of this system have fewer than 8."""


def files_below(descriptor: int, folder: str, after: str, limit: int) -> list[StoredObject]:
    """Up to ``limit`` regular files whose key is greater than ``after``, in the order of their keys.

    Only the folders that may have such files are read.

    Args:
        descriptor: of the open folder; it stays open.
        folder: its key.
    Raises:
        OSError: a folder cannot be read.
    """
    found: list[StoredObject] = []
    _collect(found, descriptor, f"{folder}/", after, limit, _MAX_DEPTH)
    return found


def _collect(found: list[StoredObject], descriptor: int, prefix: str, after: str, limit: int, depth: int) -> None:
    for name, is_folder in _names(descriptor):
        if len(found) >= limit:
            return
        key = prefix + name
        if not keys.is_safe(key):  # other programs may have written it
            continue
        if not is_folder:
            if key > after and (listed := _listed(descriptor, name, key)) is not None:
                found.append(listed)
        elif depth and (after < f"{key}/" or after.startswith(f"{key}/")):
            try:
                inner = os.open(name, FOLDER_FLAGS, dir_fd=descriptor)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it has gone since
            try:
                _collect(found, inner, f"{key}/", after, limit, depth - 1)
            finally:
                os.close(inner)


def _names(descriptor: int) -> list[tuple[str, bool]]:
    """The name of each entry, and whether it is a folder; in the order of keys, which have a slash after a folder."""
    with os.scandir(descriptor) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    return sorted(found, key=lambda each: f"{each[0]}/" if each[1] else each[0])


def _listed(descriptor: int, name: str, key: str) -> StoredObject | None:
    """None: it is not a regular file, or has gone since."""
    try:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
