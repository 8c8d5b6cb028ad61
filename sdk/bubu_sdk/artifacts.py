"""Files and directories of a step in the object store: ``ctx.artifacts``.

Files are copied in parts, so their size does not matter for memory. The key of an artifact has the SHA-256 of its
content, and what is fetched is compared with it. A directory is stored as a tar archive without owners and times, so
equal directories are equal artifacts.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bubu_contract import references
from bubu_sdk import artifact, hosting, reference
from bubu_sdk.artifact import DIRECTORY, FILE, Artifact
from bubu_sdk.errors import InputError, OutputError, StorageError
from bubu_sdk.storage import Store

if not hasattr(tarfile, "data_filter"):  # Python before 3.11.4
    from backports import tarfile  # type: ignore[no-redef]

MAX_ENTRIES: Final = 100_000
"""Files and folders in a directory."""
_PART_BYTES: Final = 1024 * 1024
_TYPES: Final = mimetypes.MimeTypes()
"""Those of Python alone, so that a name has the same type on every machine."""
for _type, _ending in (  # IANA media types that Python 3.11 does not know; later versions know some of them
    ("text/markdown", ".md"),
    ("application/yaml", ".yaml"),
    ("application/yaml", ".yml"),
    ("application/vnd.apache.parquet", ".parquet"),
):
    _TYPES.add_type(_type, _ending)
_TAR: Final = "application/x-tar"
_ATTEMPTS: Final = 3
_REMEDY: Final = "mount an emptyDir there (execution.volumes), or set TMPDIR to a folder that can be written"


@dataclass(frozen=True)
class ArtifactPlace:
    """Where the artifacts of a step are: ``<prefix>/<namespace>/<step run>/files/…``."""

    prefix: str
    namespace: str
    step_run: str

    def key(self, name: str, digest: str) -> str:
        """
        Raises:
            StorageError: this process has no StepRun.
        """
        if not self.namespace.strip() or not self.step_run.strip():
            text = "cannot save an artifact: BUBU_STEPRUN_NAMESPACE and BUBU_STEPRUN_NAME must be set"
            raise StorageError(text, retryable=False)
        stem, ending = os.path.splitext(name)  # noqa: PTH122 - the name of the object, not a path here
        ending = ending if ending[1:].isalnum() and ending.isascii() and len(ending) <= 9 else ""
        safe = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in stem)[:80] or "file"
        return reference.checked_key(
            f"{self.prefix}/{self.namespace}/{self.step_run}/files/{safe}{references.DIGEST_MARK}{digest}"
            f"{ending.lower() or '.bin'}"
        )


class Artifacts:
    """Saves files of this step, and fetches those of others. Blocking; thread-safe."""

    def __init__(self, store: Store | None, place: ArtifactPlace) -> None:
        self._store = store
        self._place = place
        self._folder: Path | None = None

    def save(self, path: str | os.PathLike[str], *, name: str = "", content_type: str = "") -> Artifact:
        """Store a file or directory; return the artifact in the output, so that other steps can fetch it.

        Symbolic links inside a directory are stored as links, and must stay inside it.

        Args:
            name: default: that of the file or directory.
            content_type: default: by the ending of the name.
        Raises:
            OutputError: it does not exist, is no file or directory, or has a name or an entry that is not allowed.
            StorageError: no store is configured, or it failed.
        """
        source, store = Path(path), self._opened("save an artifact")
        name = name or source.resolve().name
        if not artifact.is_plain_name(name):
            raise OutputError(f"the name {name!r} of an artifact must be that of a file, without a folder")
        if source.is_dir():
            with _archive(source) as (archive, size, digest):
                kept = Artifact(self._place.key(name, digest), name, size, digest, _TAR, DIRECTORY)
                _tried(lambda: store.upload(kept.key, _rewound(archive), size, _TAR))
            return kept
        try:
            with source.open("rb") as file:
                size, digest = _measured(file)
                guessed = content_type or _TYPES.guess_type(name)[0] or "application/octet-stream"
                kept = Artifact(self._place.key(name, digest), name, size, digest, guessed, FILE)
                _tried(lambda: store.upload(kept.key, _rewound(file), size, guessed))
        except OSError as error:
            raise OutputError(f"{str(source)!r} cannot be saved: {error.strerror}") from error
        return kept

    def fetch(self, wanted: Artifact | Any, into: str | os.PathLike[str] | None = None) -> Path:
        """The file or directory on this machine, with its name.

        Args:
            wanted: an artifact, or its object in the inputs.
            into: the folder that gets it; default: a new temporary folder.
        Raises:
            InputError: it is no artifact, belongs to another namespace, or its archive has an entry that is not
                allowed.
            StorageError: no store is configured, or it failed; the object is gone, or has another content.
        """
        found = artifact.parse(wanted, "the artifact", self._place.namespace)
        store = self._opened(f"fetch {found.name!r}")
        try:
            folder = Path(into) if into is not None else self._temporary_folder()
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / found.name
            with tempfile.TemporaryFile(dir=folder) as archive:
                if found.kind == FILE:
                    partial = folder / f".{found.sha256[:16]}.partial"
                    try:
                        with partial.open("w+b") as file:
                            _fetched(store, found, file)
                        partial.replace(target)
                    finally:
                        partial.unlink(missing_ok=True)
                else:
                    _fetched(store, found, archive)
                    _extract(archive, target, found)
        except OSError as error:
            text = f"{found.name!r} cannot be written to {str(into or tempfile.gettempdir())!r}: {error.strerror}"
            raise StorageError(f"{text}; {_REMEDY}", retryable=False) from error
        return target

    @contextmanager
    def open(self, wanted: Artifact | Any) -> Iterator[IO[bytes]]:
        """A file of another step, for reading; errors as for ``fetch``."""
        with self.fetch(wanted).open("rb") as file:
            yield file

    def _opened(self, what: str) -> Store:
        if self._store is None:
            text = f"cannot {what}: no storage is configured; give the Story a storage policy"
            raise StorageError(text, retryable=False)
        return self._store

    def _temporary_folder(self) -> Path:
        """A folder for one artifact: two may have one name."""
        return Path(tempfile.mkdtemp(prefix="bubu-artifact-"))


class AsyncArtifacts:
    """``Artifacts`` for ``async def`` functions."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def save(self, path: str | os.PathLike[str], *, name: str = "", content_type: str = "") -> Artifact:
        """See ``Artifacts.save``."""
        saved: Artifact = await hosting.in_thread(
            lambda: self._artifacts.save(path, name=name, content_type=content_type)
        )
        return saved

    async def fetch(self, wanted: Artifact | Any, into: str | os.PathLike[str] | None = None) -> Path:
        """See ``Artifacts.fetch``."""
        fetched: Path = await hosting.in_thread(lambda: self._artifacts.fetch(wanted, into))
        return fetched


def _measured(file: IO[bytes]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while part := file.read(_PART_BYTES):
        size += len(part)
        digest.update(part)
    return size, digest.hexdigest()


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _tried(call: Callable[[], None]) -> None:
    """A store that is busy, or a connection that breaks, is tried again at once: it has retried with pauses itself."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            call()
        except StorageError as error:
            if attempt == _ATTEMPTS or not error.retryable:
                raise
        else:
            return


class _MeasuredWrites:
    """A file that counts and hashes what is written, which saves reading it again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size_bytes = 0
        self.digest = hashlib.sha256()

    def write(self, part: bytes, /) -> int:
        self.size_bytes += len(part)
        self.digest.update(part)
        return self._file.write(part)


def _fetched(store: Store, wanted: Artifact, file: IO[bytes]) -> None:
    def once() -> None:
        file.seek(0)
        file.truncate()
        measured = _MeasuredWrites(file)
        store.download(wanted.key, measured, wanted.size_bytes)
        if (measured.size_bytes, measured.digest.hexdigest()) != (wanted.size_bytes, wanted.sha256):
            raise StorageError(
                f"the artifact {wanted.key!r} does not have the content that was stored; run the step again that saved "
                "it",
                retryable=False,
            )

    _tried(once)


@contextmanager
def _archive(folder: Path) -> Iterator[tuple[IO[bytes], int, str]]:
    """A tar archive of ``folder``, its size and digest.

    Raises:
        OutputError: an entry is no file, folder or inner link; or there are too many.
    """
    try:
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for entry in _entries(folder):
                    archive.add(entry, entry.relative_to(folder).as_posix(), recursive=False, filter=_anonymous)
            size, digest = _measured(_rewound(file))
            yield file, size, digest
    except OSError as error:
        raise OutputError(f"{str(folder)!r} cannot be saved: {error.strerror}; {_REMEDY}") from error


def _entries(folder: Path) -> list[Path]:
    found = []
    for entry in sorted(folder.rglob("*")):
        if entry.is_symlink():
            if not entry.resolve().is_relative_to(folder.resolve()):
                raise OutputError(f"{str(entry)!r} is a link that leaves the directory")
        elif not (entry.is_file() or entry.is_dir()):
            raise OutputError(f"{str(entry)!r} is neither a file nor a directory")
        found.append(entry)
        if len(found) > MAX_ENTRIES:
            raise OutputError(f"{str(folder)!r} has more than {MAX_ENTRIES:,} entries; save an archive of it")
    return found


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _extract(archive: IO[bytes], target: Path, wanted: Artifact) -> None:
    """
    Raises:
        InputError: an entry would leave ``target``, or the files are larger than their archive.
    """
    try:
        with tarfile.open(fileobj=_rewound(archive), mode="r:") as opened:
            entries, total = 0, 0
            for entry in opened:
                entries, total = entries + 1, total + entry.size
                if entries > MAX_ENTRIES or total > wanted.size_bytes:
                    raise InputError(f"the artifact {wanted.key!r} is larger than it says")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=_rewound(archive), mode="r:") as opened:
            opened.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"the artifact {wanted.key!r} is not a directory that can be used: {error}") from error
