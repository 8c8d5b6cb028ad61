"""Keys of objects that refer to data in another place. Source: SDK contract 1."""

from __future__ import annotations

from typing import Final

STORAGE_REFERENCE: Final = "$bubuStorageRef"
"""The key of the stored object; with it, an object is a reference."""
STORAGE_PATH: Final = "$bubuStoragePath"
"""The path of the selected part."""
STORAGE_CONTENT_TYPE: Final = "$bubuStorageContentType"
"""``application/json``; ``text/plain`` for a string."""
STORAGE_KEYS: Final = (
    STORAGE_REFERENCE,
    STORAGE_PATH,
    STORAGE_CONTENT_TYPE,
    "$bubuStorageSchema",
    "$bubuStorageSchemaVersion",
)
"""All keys that a storage reference may have."""
CONFIG_MAP_REFERENCE: Final = "$bubuConfigMapRef"
SECRET_REFERENCE: Final = "$bubuSecretRef"  # noqa: S105 - the name of a key


SHARED: Final = "_shared"
"""In place of a namespace in the key of a stored object: every namespace may read it. No namespace has such a name."""


def is_of_namespace(key: str, namespace: str) -> bool:
    """Whether the key of a stored object is ``<one segment>/<namespace>/…`` or ``<one segment>/_shared/…``.

    References come from users' data, and one bucket may serve many namespaces.
    """
    parts = key.replace("\\", "/").split("/")
    return len(parts) >= 3 and parts[1] in (namespace, SHARED) and {"", ".", ".."}.isdisjoint(parts)
