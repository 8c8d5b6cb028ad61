"""References to data in another place: the keys that say so, the keys of stored objects, and the part that is selected.

Source: SDK contract 1, 3.1, 3.2, 5.1, 5.2.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, TypeAlias

STORAGE_REFERENCE: Final = "$bubuStorageRef"
"""The key of the stored object; with it, an object is a reference."""
STORAGE_PATH: Final = "$bubuStoragePath"
"""The path of the selected part."""
STORAGE_CONTENT_TYPE: Final = "$bubuStorageContentType"
"""``application/json``; ``text/plain`` for a string."""
STORAGE_SCHEMA: Final = "$bubuStorageSchema"
STORAGE_SCHEMA_VERSION: Final = "$bubuStorageSchemaVersion"
STORAGE_KEYS: Final = (
    STORAGE_REFERENCE,
    STORAGE_PATH,
    STORAGE_CONTENT_TYPE,
    STORAGE_SCHEMA,
    STORAGE_SCHEMA_VERSION,
)
"""All keys that a storage reference may have."""
CONFIG_MAP_REFERENCE: Final = "$bubuConfigMapRef"
SECRET_REFERENCE: Final = "$bubuSecretRef"  # noqa: S105 - the name of a key

SHARED: Final = "_shared"
"""In place of a namespace in the key of a stored object: every namespace may read it. No namespace has such a name."""
MAX_KEY_BYTES: Final = 1024
"""The longest key of S3."""
_MAX_SEGMENT_BYTES: Final = 255
"""The longest name of a file."""
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators, and halves of surrogate pairs, which are not valid text."""
_ENCODED: Final = {"%": "%25", "/": "%2F", "\\": "%5C", ".": "%2E"}

DIGEST_MARK: Final = ".sha256-"
"""Before the digest in the key of an object whose content decides its key."""
_DIGEST: Final = re.compile(r"\.sha256-([0-9a-f]{64})\.[a-z]{1,8}$")

MAX_TOKENS: Final = 128
"""Most parts of a sub-path: more than the allowed nesting of a value."""
_SUBSCRIPTS: Final = re.compile(r"(\[([0-9]{1,9}|\*)\])+")
_SUBSCRIPT: Final = re.compile(r"\[([0-9]{1,9}|\*)\]")
_MAX_SHOWN: Final = 160

Token: TypeAlias = str | int | None
"""A part of a sub-path: a field, an index, or ``None`` for ``[*]``."""


class SubPathError(ValueError):
    """A sub-path is malformed; says what must be there."""


def is_of_namespace(key: str, namespace: str) -> bool:
    """Whether the key of a stored object is ``<one segment>/<namespace>/…`` or ``<one segment>/_shared/…``.

    References come from users' data, and one bucket may serve many namespaces.
    """
    parts = key.replace("\\", "/").split("/")
    return len(parts) >= 3 and parts[1] in (namespace, SHARED) and {"", ".", ".."}.isdisjoint(parts)


def key_problem(key: str) -> str:
    """Why no store may open ``key``, as the end of a sentence about it; empty if it is safe.

    Keys are never cleaned: a key that is not clean is refused.
    """
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


def key_segment(part: str | int) -> str:
    """A field or index as it may stand in a key; characters that would change the meaning are percent-encoded."""
    if isinstance(part, int):
        return str(part)
    safe = "".join(_ENCODED.get(letter, letter) for letter in part)
    return _UNSAFE.sub(lambda found: f"%u{ord(found[0]):04X}", safe)


def digest_of(content: bytes) -> str:
    """The SHA-256 of a stored object, in hexadecimal, as keys have it behind ``DIGEST_MARK``."""
    return hashlib.sha256(content).hexdigest()


def has_digest(key: str) -> bool:
    """Whether the content of the object decides its key."""
    return _DIGEST.search(key) is not None


def is_intact(key: str, content: bytes) -> bool:
    """Whether ``content`` has the digest in ``key``; also true if the key has none."""
    found = _DIGEST.search(key)
    return found is None or found[1] == digest_of(content)


def tokens_of(sub_path: str) -> tuple[Token, ...]:
    """The parts of ``items[0].tags[*].name``; empty for a blank path, which selects the whole object.

    Raises:
        SubPathError: it is malformed, or has more parts than a value can have levels.
    """
    tokens: list[Token] = []
    for segment in sub_path.strip().split("."):
        field, bracket, rest = segment.partition("[")
        if field.strip():
            tokens.append(field.strip())
        if not bracket:
            continue
        subscripts = f"[{rest}".strip()
        if not _SUBSCRIPTS.fullmatch(subscripts):
            raise SubPathError(f"storage sub-path {shown(sub_path)}: {shown(subscripts)} must be [n] or [*]")
        tokens += [None if item == "*" else int(item) for item in _SUBSCRIPT.findall(subscripts)]
    if len(tokens) > MAX_TOKENS:
        raise SubPathError(f"storage sub-path {shown(sub_path)} has more than {MAX_TOKENS} parts")
    return tuple(tokens)


def shown(text: str) -> str:
    """A key or a sub-path as quoted in an error: escaped, and shortened when it is long."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…")
