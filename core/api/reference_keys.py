"""Keys of objects that stand for data kept elsewhere. Source: SDK contract 1."""

from __future__ import annotations

from typing import Final

STORAGE_REFERENCE: Final = "$bubuStorageRef"
"""The key of a stored object; it makes its object a reference."""
STORAGE_PATH: Final = "$bubuStoragePath"
"""Which part of it is meant."""
STORAGE_KEYS: Final = (
    STORAGE_REFERENCE,
    STORAGE_PATH,
    "$bubuStorageContentType",
    "$bubuStorageSchema",
    "$bubuStorageSchemaVersion",
)
"""All that a storage reference may have."""
CONFIG_MAP_REFERENCE: Final = "$bubuConfigMapRef"
SECRET_REFERENCE: Final = "$bubuSecretRef"  # noqa: S105 - the name of a key
