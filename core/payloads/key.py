"""Keys of stored objects: checks that they are safe to open, and that they belong to a namespace. Pure.

Keys are never cleaned: a key that is not clean is refused. Source: SDK contract 3.1, 3.2, 5.1.
"""

from __future__ import annotations

import re
from typing import Final

from core.api.reference_keys import SHARED, is_of_namespace
from core.payloads.errors import PayloadError, shown

MAX_KEY_BYTES: Final = 1024
"""The longest key of S3."""
_MAX_SEGMENT_BYTES: Final = 255
"""The longest name of a file."""

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators, and halves of surrogate pairs, which are not valid text."""


def segments(key: str) -> tuple[str, ...]:
    """The parts of ``key`` between its slashes: at least one; none is ``..`` or similar.

    Raises:
        PayloadError: ``key`` is empty, absolute or too long, or has a segment that is not a plain name.
    """
    problem = _problem(key)
    if problem:
        raise PayloadError(f"invalid storage reference {shown(key)}: it {problem}")
    return tuple(key.split("/"))


def is_safe(key: str) -> bool:
    """Whether ``segments`` accepts the key."""
    return not _problem(key)


def check_namespace(key: str, namespace: str) -> None:
    """Refuse a key that belongs to another namespace; what is shared belongs to all.

    References come from users' data, and one bucket may serve many namespaces.

    Raises:
        PayloadError: ``key`` is unsafe, or neither ``<one segment>/<namespace>/…`` nor ``<one segment>/_shared/…``.
    """
    segments(key)
    if not is_of_namespace(key, namespace):
        raise PayloadError(
            f"the stored object {shown(key)} does not belong to namespace {namespace!r}, and only objects of the run's "
            f"own namespace are read: their keys start with 'outputs/{namespace}/' or 'inputs/{namespace}/'; "
            f"copy the data into this namespace, or, for all namespaces, below 'outputs/{SHARED}/'"
        )


def _problem(key: str) -> str:
    if not key:
        return "is empty"
    if _UNSAFE.search(key):
        return "has a control character"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if key.startswith(("/", "\\")) or ".." in key.replace("\\", "/").split("/"):
        return "must be relative, without '..'"
    parts = key.split("/")
    if "" in parts or "." in parts:
        return "has an empty segment or '.'"
    if max(len(part.encode()) for part in parts) > _MAX_SEGMENT_BYTES:
        return f"has a segment of more than {_MAX_SEGMENT_BYTES} bytes"
    return ""
