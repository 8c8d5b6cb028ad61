"""Files and directories in object storage, as inputs and outputs show them: ``{"$bubuArtifact": key, …}``. Pure.

The SDK saves and fetches them. Everything else passes them on as plain data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ARTIFACT: Final = "$bubuArtifact"
DIRECTORY: Final = "directory"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNSAFE_IN_NAMES: Final = re.compile(r"[/\\:\x00-\x1f\x7f]")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class ArtifactError(ValueError):
    """An object with ``$bubuArtifact`` is not a usable artifact; the message says why."""


@dataclass(frozen=True, slots=True)
class ArtifactReference:
    """A file or directory."""

    key: str
    name: str
    size_bytes: int
    sha256: str
    content_type: str
    is_directory: bool

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> ArtifactReference:
        """
        Raises:
            ArtifactError: a field is missing or malformed.
        """
        key, name, size, digest = (node.get(field) for field in (ARTIFACT, "name", "sizeBytes", "sha256"))
        if not isinstance(key, str):
            raise ArtifactError(f"{ARTIFACT} must be the key of an object")
        is_name = isinstance(name, str) and 0 < len(name.encode(errors="replace")) <= 200 and name not in (".", "..")
        if not isinstance(name, str) or not is_name or _UNSAFE_IN_NAMES.search(name):
            raise ArtifactError("name must be the name of a file, without a folder")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ArtifactError("sizeBytes must be a number of bytes")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ArtifactError("sha256 must be a SHA-256 in hexadecimal")
        return cls(key, name, size, digest, str(node.get("contentType") or ""), node.get("kind") == DIRECTORY)

    @property
    def summary(self) -> str:
        """For people: ``model.pt (3.2 MiB, image/png)``."""
        kind = "directory" if self.is_directory else self.content_type
        return f"{self.name} ({', '.join(filter(None, (size_text(self.size_bytes), kind)))})"


def is_artifact(value: Any) -> bool:
    """Whether ``value`` is meant to be an artifact."""
    return isinstance(value, Mapping) and isinstance(value.get(ARTIFACT), str)


def artifacts_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every artifact inside ``value``, as it is written."""
    pending = [value]
    while pending:
        each = pending.pop()
        if is_artifact(each):
            yield each
        elif isinstance(each, Mapping):
            pending += reversed(list(each.values()))
        elif isinstance(each, list):
            pending += reversed(each)


def with_artifacts(value: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """A copy of ``value`` with the result of ``change`` instead of each artifact."""
    if is_artifact(value):
        return change(value)
    if isinstance(value, Mapping):
        return {key: with_artifacts(child, change) for key, child in value.items()}
    return [with_artifacts(child, change) for child in value] if isinstance(value, list) else value


def for_people(value: Any) -> Any:
    """``value`` with a line of text instead of each artifact."""

    def text(node: Mapping[str, Any]) -> Any:
        try:
            return ArtifactReference.of(node).summary
        except ArtifactError:
            return dict(node)

    return with_artifacts(value, text)


def size_text(size_bytes: int) -> str:
    """``900 B``, ``3.2 MiB``."""
    size = float(size_bytes)
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"
