"""Files and folders that only their owner can read: keys, tokens, kubeconfigs, all data of a cluster."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PRIVATE_UMASK: Final = 0o077
"""The umask of a process whose files no other user may read."""
_OF_OTHERS: Final = 0o077


class OpenFolderError(Exception):
    """Other users can enter the folder, and we may not close it; the text names it and the remedy."""


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that only the owner can read it. The file is replaced in one step, or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def make_private_folder(folder: Path, marks: Sequence[str]) -> None:
    """Create ``folder`` so that only its owner can enter it; close an existing folder to other users.

    Args:
        marks: names of files that show that we created the folder earlier.
    Raises:
        OpenFolderError: it exists, other users can enter it, and it is sticky (such as /tmp) or holds other things.
        OSError: it cannot be created, or belongs to another user.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = folder.stat().st_mode
    if not mode & _OF_OTHERS:
        return
    entries = [*folder.iterdir()]
    is_ours = not entries or any((folder / mark).exists() for mark in marks)
    if mode & stat.S_ISVTX or not is_ours:
        raise OpenFolderError(
            f"other users can enter {folder} (mode {stat.S_IMODE(mode):04o}), and it has other files or the "
            f"sticky bit; choose a separate folder, or close it: chmod 700 {folder}"
        )
    folder.chmod(0o700)
    for entry in entries:
        if not entry.is_symlink():
            entry.chmod(stat.S_IMODE(entry.stat().st_mode) & ~_OF_OTHERS)
