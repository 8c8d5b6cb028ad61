"""Fetches the files and directories of outputs from the operator's object store into a folder."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from cli.object_store import find_stores
from cli.problem import CommandError
from cli.session import Session
from core.api.artifact import ArtifactError, ArtifactReference, artifacts_in
from core.payloads import key as keys
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.store import Store

if not hasattr(tarfile, "data_filter"):  # Python before 3.11.4
    from backports import tarfile  # type: ignore[no-redef]

FILE_TIMEOUT_SECONDS: Final = 3600.0
"""For one file. A person waits for it, and may interrupt."""
_PART_BYTES: Final = 1024 * 1024
_MAX_ENTRIES: Final = 100_000


async def fetch_artifacts(
    session: Session, outputs: Mapping[str, Any], namespace: str, folder: Path
) -> AsyncGenerator[Path, None]:
    """Write each file and directory of ``outputs`` below ``folder``/<name of the output>; yields each.

    Of two with one name and another content, the second gets a part of its digest in front.

    Raises:
        CommandError: an artifact is malformed, belongs to another namespace, is gone or was changed, or cannot be
            written.
    """
    found = {name: list(artifacts_in(output)) for name, output in outputs.items()}
    if not any(found.values()):
        return
    store = (await find_stores(session, timeout_seconds=FILE_TIMEOUT_SECONDS)).of(namespace)
    for output, nodes in found.items():
        fetched: dict[str, str] = {}
        for node in nodes:
            try:
                wanted = ArtifactReference.of(node)
                keys.check_namespace(wanted.key, namespace)
                if fetched.setdefault(wanted.name, wanted.sha256) != wanted.sha256:
                    name = f"{wanted.sha256[:8]}-{wanted.name}"
                else:
                    name = wanted.name
                yield await _fetched(store, wanted, folder / output / name)
            except (ArtifactError, PayloadError, StoreUnavailableError, tarfile.TarError) as error:
                raise CommandError(f"a file in the output of {output!r} cannot be fetched: {error}") from error
            except OSError as error:
                raise CommandError(f"{error.filename or folder}: {error.strerror}") from error


async def _fetched(store: Store, wanted: ArtifactReference, target: Path) -> Path:
    await trio.to_thread.run_sync(lambda: target.parent.mkdir(parents=True, exist_ok=True))
    partial = target.with_name(f".{wanted.sha256[:16]}.partial")
    try:
        await store.download(wanted.key, partial, wanted.size_bytes)
        await trio.to_thread.run_sync(_place, partial, target, wanted)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _place(partial: Path, target: Path, wanted: ArtifactReference) -> None:
    """
    Raises:
        PayloadError: the content is not the one that was saved.
    """
    digest = hashlib.sha256()
    with partial.open("rb") as file:
        while part := file.read(_PART_BYTES):
            digest.update(part)
    if digest.hexdigest() != wanted.sha256:
        raise PayloadError(f"the stored object {wanted.key!r} does not have the content that was saved")
    if wanted.is_directory:
        _extract(partial, target, wanted)
    else:
        partial.replace(target)


def _extract(archive: Path, target: Path, wanted: ArtifactReference) -> None:
    with tarfile.open(archive, mode="r:") as opened:
        entries = total = 0
        for entry in opened:
            entries, total = entries + 1, total + entry.size
            if entries > _MAX_ENTRIES or total > wanted.size_bytes:
                raise PayloadError(f"the archive {wanted.key!r} is larger than its recorded size")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode="r:") as opened:
        opened.extractall(target, filter="data")
