"""An object as a listing of its store shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

PAGE_OBJECTS: Final = 1000
"""Most objects of one page of a listing: the bound of S3."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Key, size and age of an object.

    Attributes:
        key: below the root of the store; a safe key (``core.payloads.key``).
        modified_at: when it was last written, by the clock of the store; with a time zone.
    """

    key: str
    size_bytes: int
    modified_at: datetime
