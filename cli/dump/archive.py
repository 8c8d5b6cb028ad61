"""Writes a dump as one file that only its owner can read: whole, or not at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cli.problem import CommandError


def refuse_target(target: Path) -> None:
    """Before anything is collected.

    Raises:
        CommandError: the file exists, or its folder does not.
    """
    if target.exists():
        raise CommandError(f"{target} exists", remedy="name another file with --file")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"there is no folder {target.absolute().parent}", remedy="name another file with --file")


def write_archive(target: Path, folder: str, files: Mapping[str, bytes], at: datetime) -> None:
    """Write a ``.tar.gz`` whose files are below ``folder``.

    Raises:
        CommandError: the file exists, or cannot be written.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for path, content in files.items():
                archive.addfile(_entry(f"{folder}/{path}", len(content), at), io.BytesIO(content))
        os.link(partial, target)  # fails if another process has created the file meanwhile
    except FileExistsError:
        raise CommandError(f"{target} exists", remedy="name another file with --file") from None
    except OSError as error:
        raise CommandError(
            f"{target} cannot be written: {error.strerror or error}", remedy="name another file with --file"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _entry(path: str, size: int, at: datetime) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(at.timestamp())
    return entry
