"""The entries of the output cache as a user sees them, and which of them to clear. Pure. Source: SDK contract 8."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.payloads.referred import keys_referred_to
from core.payloads.stored_object import StoredObject
from core.workloads.output_cache import CacheEntryError, read_entry, segment_of_version

_ENTRY: Final = re.compile(r"cache/([^/]+)/([^/]+)/([^/]+)/([0-9a-f]{64})\.json")
_PART: Final = re.compile(r"cache/([^/]+)/([^/]+)/(?:files/)?[^/]+\.sha256-[0-9a-f]{64}\.[a-z]{1,8}")


@dataclass(frozen=True, slots=True)
class CachedEntry:
    """An entry.

    Attributes:
        version: as the key has it: ``latest`` without one, unusual characters as ``%XX``.
        digest: what executions are compared by.
        stored_at: when it was made; of an entry that does not say so, when the object was written.
        expires_at: None: never.
        referred: keys of the stored objects that it refers to.
        problem: why the operator ignores it; empty if it does not.
    """

    found: StoredObject
    namespace: str
    engram: str
    version: str
    digest: str
    stored_at: datetime
    expires_at: datetime | None = None
    story_run: str = ""
    step_run: str = ""
    referred: frozenset[str] = frozenset()
    problem: str = ""

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class CacheSelection:
    """Conditions for entries, all of which must be met; without a condition, all entries."""

    engram: str = ""
    version: str = ""
    digest: str = ""
    """The beginning is enough."""
    expired: bool = False

    def takes(self, entry: CachedEntry, now: datetime) -> bool:
        return (
            self.engram in ("", entry.engram)
            and (not self.version or entry.version in (self.version, segment_of_version(self.version)))
            and entry.digest.startswith(self.digest)
            and (not self.expired or entry.is_expired(now))
        )


def is_entry(found: StoredObject) -> bool:
    """Whether the object is an entry, by its key."""
    return _ENTRY.fullmatch(found.key) is not None


def is_part(found: StoredObject) -> bool:
    """Whether the object has data to which entries refer."""
    return _PART.fullmatch(found.key) is not None


def entry_of(found: StoredObject, content: bytes | None) -> CachedEntry:
    """
    Args:
        found: an object for which ``is_entry`` is true.
        content: None: it is too large for the operator to read.
    """
    match = _ENTRY.fullmatch(found.key)
    assert match is not None, "the caller has checked it"
    namespace, engram, version, digest = match.groups()
    if content is None:
        problem = "it is too large"
        return CachedEntry(found, namespace, engram, version, digest, found.modified_at, problem=problem)
    try:
        entry = read_entry(content)
    except CacheEntryError as error:
        return CachedEntry(found, namespace, engram, version, digest, found.modified_at, problem=str(error))
    ttl = timedelta(seconds=entry.ttl_seconds) if entry.ttl_seconds > 0 else None
    stored_at = entry.created_at or found.modified_at
    expires_at = None if ttl is None else entry.created_at + ttl if entry.created_at else found.modified_at
    return CachedEntry(
        found,
        namespace,
        engram,
        version,
        digest,
        stored_at,
        expires_at,
        entry.story_run,
        entry.step_run,
        keys_referred_to(entry.output),
    )
