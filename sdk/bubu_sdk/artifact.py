"""What stands for a file or directory in inputs and outputs: an object with its key, name, size and digest. Pure.

It is plain data for everything but this SDK: expressions pass it on, and other SDKs do not try to read the file as
JSON, as they would with a storage reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk import reference
from bubu_sdk.errors import InputError, Object

ARTIFACT: Final = "$bubuArtifact"
FILE: Final = "file"
DIRECTORY: Final = "directory"

_KEYS: Final = frozenset({ARTIFACT, "name", "kind", "contentType", "sizeBytes", "sha256"})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Artifact:
    """A file or directory in the object store. Return it as part of the output, or pass it on."""

    key: str
    name: str
    """The name of the file or directory; without a folder."""
    size_bytes: int
    """Of a directory: of the archive that is stored."""
    sha256: str
    content_type: str = "application/octet-stream"
    kind: str = FILE
    """``file`` or ``directory``."""

    def to_json(self) -> Object:
        """The object in an output."""
        return {
            ARTIFACT: self.key,
            "name": self.name,
            "kind": self.kind,
            "contentType": self.content_type,
            "sizeBytes": self.size_bytes,
            "sha256": self.sha256,
        }


def is_artifact(node: Any) -> bool:
    """Whether ``node`` is meant to be an artifact; ``parse`` says whether it is a valid one."""
    return isinstance(node, Artifact) or (isinstance(node, Mapping) and isinstance(node.get(ARTIFACT), str))


def parse(node: Any, path: str, namespace: str) -> Artifact:
    """The artifact in ``node``.

    Args:
        path: of the value, for messages.
        namespace: that of this process; only its objects are read.
    Raises:
        InputError: it is malformed, or belongs to another namespace.
    """
    if isinstance(node, Artifact):
        reference.own_key(node.key, namespace, path)
        return node
    if not is_artifact(node):
        raise InputError(f"{path}: must be an artifact, as ctx.artifacts.save returns it")
    unknown = node.keys() - _KEYS
    if unknown:
        raise InputError(f"{path}: an artifact has no {', '.join(sorted(map(repr, unknown)))}")
    key, name, kind = node[ARTIFACT], node.get("name"), node.get("kind", FILE)
    size, digest = node.get("sizeBytes"), node.get("sha256")
    reference.own_key(key, namespace, path)
    if not is_plain_name(name):
        raise InputError(f"{path}.name: must be the name of a file, without a folder; it is {name!r}")
    if kind not in (FILE, DIRECTORY):
        raise InputError(f"{path}.kind: must be {FILE!r} or {DIRECTORY!r}; it is {kind!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InputError(f"{path}.sizeBytes: must be a number of bytes; it is {size!r}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise InputError(f"{path}.sha256: must be a SHA-256 in hexadecimal")
    content_type = node.get("contentType", "application/octet-stream")
    if not isinstance(content_type, str):
        raise InputError(f"{path}.contentType: must be a string")
    return Artifact(key, name, size, digest, content_type, kind)


def is_plain_name(name: Any) -> bool:
    """Whether ``name`` names something inside a folder, on every system."""
    return (
        isinstance(name, str)
        and 0 < len(name.encode(errors="replace")) <= 200
        and name not in (".", "..")
        and not any(letter in "/\\:" or ord(letter) < 32 or ord(letter) == 127 for letter in name)
    )
