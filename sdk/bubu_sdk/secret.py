"""The secrets of an engram: expanded from descriptors, and never shown by accident.

Source: SDK contract 11.3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bubu_sdk import volume
from bubu_sdk.errors import SecretError
from bubu_sdk.redaction import REDACTED

MAX_FILES: Final = 256
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_TOTAL_BYTES: Final = 8 * 1024 * 1024


class Secrets(Mapping[str, str]):
    """A read-only mapping of secret keys to values. Its ``repr`` contains no value."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({self.redacted()!r})"

    def redacted(self) -> dict[str, str]:
        """Every key with ``[REDACTED]`` instead of its value; safe for a log."""
        return dict.fromkeys(self, REDACTED)

    def select(self, *keys: str) -> dict[str, str]:
        """The values of the secrets with these keys; absent keys are left out."""
        return {key: self._values[key] for key in keys if key in self._values}


def expand(descriptors: Mapping[str, str], environ: Mapping[str, str]) -> Secrets:
    """All secrets of ``descriptors`` (logical name → ``env:PREFIX``, ``file:PATH`` or a literal).

    If several logical names give the same key, the first name in alphabetical order wins, except that a literal always
    wins.

    Raises:
        SecretError: a descriptor cannot be expanded. The message contains neither paths nor values.
    """
    values: dict[str, str] = {}
    for logical in sorted(descriptors):
        descriptor = descriptors[logical]
        try:
            if descriptor.startswith("env:"):
                found = _from_environment(descriptor.removeprefix("env:"), environ)
            elif descriptor.startswith("file:"):
                found = _from_files(descriptor.removeprefix("file:"), environ)
            else:
                values[logical] = descriptor
                continue
        except (OSError, ValueError) as error:
            raise SecretError(f"secret expansion failed for {logical!r} (path and cause redacted)") from error
        for key, value in found.items():
            values.setdefault(key, value)
    return Secrets(values)


def _from_environment(prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not prefix:
        raise ValueError("empty prefix")
    return {name[len(prefix) :]: value for name, value in environ.items() if name.startswith(prefix) and name != prefix}


def _from_files(path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Values below ``path``.

    In a mounted Secret, keys are symbolic links through ``..data``. Links that stay inside the mount are followed.
    Names that begin with ``..`` belong to the mount itself and are skipped.
    """
    root = volume.mounted(path, environ)
    if root == Path(path) and root.is_symlink():
        raise ValueError("the path is a symbolic link")
    root = root.resolve() if root != Path(path) else root  # the volumes of a local node are symbolic links
    if root.is_file():
        return {root.name: _read(root, MAX_TOTAL_BYTES)}
    if not root.is_dir():
        raise ValueError("neither a regular file nor a directory")
    inside = root.resolve()
    values: dict[str, str] = {}
    remaining = MAX_TOTAL_BYTES
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".."))
        for name in sorted(names):
            file = Path(directory, name)
            if name.startswith("..") or not file.resolve().is_relative_to(inside) or not file.is_file():
                continue
            if len(values) == MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files")
            value = _read(file, remaining)
            remaining -= len(value.encode())
            values[file.relative_to(root).as_posix()] = value
    return values


def _read(file: Path, remaining: int) -> str:
    limit = min(MAX_FILE_BYTES, remaining)
    with file.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError("larger than allowed")
    return content.decode().rstrip("\r\n")
