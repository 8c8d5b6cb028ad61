"""A directory whose files change all at once, with the layout that a kubelet uses for Secrets and ConfigMaps.

The files are in a dated directory. ``..data`` is a link to it, and each visible name is a link through ``..data``.
Replacing that one link replaces all files, so a reader never sees half of an update.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from localcluster.node.volumes import File

_CURRENT = "..data"


def write_files(directory: Path, files: Mapping[str, File], version: str) -> None:
    """Make ``directory`` show exactly ``files``; ``version`` must be new for every call. Blocks on the disk.

    Raises:
        OSError: the disk refuses. Readers still see the old files, and the failed write leaves no data on disk.
    """
    directory.mkdir(parents=True, exist_ok=True)
    current = directory / _CURRENT
    previous = current.readlink() if current.is_symlink() else None
    payload = directory / f"..{version}"
    try:
        _write_payload(payload, files)
    except OSError:
        shutil.rmtree(payload, ignore_errors=True)
        raise
    fresh = directory / "..data_tmp"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(payload.name)
    fresh.replace(current)
    _link_names(directory, {Path(path).parts[0] for path in files})
    if previous is not None:
        shutil.rmtree(directory / previous, ignore_errors=True)


def _write_payload(payload: Path, files: Mapping[str, File]) -> None:
    payload.mkdir(mode=0o755)
    for path, file in files.items():
        target = payload / path
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content)
            os.fchmod(descriptor, file.mode)


def _link_names(directory: Path, names: set[str]) -> None:
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path(_CURRENT) / name)
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
