"""Keys of the objects that the operator writes.

The name of an object ends with the SHA-256 of its content, so equal content has one key, a second write changes
nothing, and a reader can check what it has read. (The reference's keys have no digest, its attempts overwrite each
other, and nothing is checked.) Any reader may follow such a key: the name has no meaning for it. Pure.
Source: SDK contract 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bubu_contract.references import DIGEST_MARK, STORAGE_REFERENCE, digest_of, has_digest, key_segment
from core.api.artifact import ARTIFACT
from core.payloads import key as keys

_FILES: Final = "files"
"""The folder of files that a step has saved: they are no JSON, and may be of any size."""
_MAX_STEM_BYTES: Final = 150
"""With the digest and the ending, a name has fewer than the 255 bytes that a file system allows."""
_REFERS: Final = ".refs"
"""In the name of an object with references inside. Without it, the content need not be read to know what it refers to:
a name that ends so by chance costs one read.
"""
_MARKS: Final = (STORAGE_REFERENCE.encode(), ARTIFACT.encode())


class Folder(StrEnum):
    """The first segment of a key."""

    INPUTS = "inputs"
    OUTPUTS = "outputs"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where the objects of one value are stored: ``<folder>/<namespace>/<owner>/…``."""

    folder: Folder
    namespace: str
    owner: str
    """Name of the run, StepRun or Engram."""


def content_key(place: ObjectPlace, path: Sequence[str | int], content: bytes) -> str:
    """``inputs/<namespace>/<owner>/items.0.body.sha256-<digest>.json``; ``….refs.sha256-…`` with references inside.

    Args:
        path: from the root of the value; characters that would change the meaning of the path are percent-encoded.
    Raises:
        PayloadError: the placement has a name that is not safe.
    """
    stem = ".".join(key_segment(part) for part in path) or "output"
    encoded = stem.encode(errors="replace")
    if len(encoded) > _MAX_STEM_BYTES:
        stem = encoded[:_MAX_STEM_BYTES].decode(errors="ignore")
    refers = _REFERS if any(mark in content for mark in _MARKS) else ""
    file = f"{stem}{refers}{DIGEST_MARK}{digest_of(content)}.json"
    key = f"{place.folder}/{place.namespace}/{place.owner}/{file}"
    keys.check_namespace(key, place.namespace)
    return key


def may_refer(key: str) -> bool:
    """Whether an object with this key may have references inside.

    False: a file that a step has saved, or a value without references. Without a digest in its key, it was written by
    another SDK, and may have some.
    """
    if key.split("/")[3:4] == [_FILES]:
        return False
    return not has_digest(key) or f"{_REFERS}{DIGEST_MARK}" in key
