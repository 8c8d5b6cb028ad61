"""What a port may answer instead of a result.

    PortError
    ├── StaleError         retry   the object moved on since it was read: read again, decide again
    ├── UnavailableError   retry   no answer, or "not now"; the write may or may not have happened
    │   └── ObstacleError          somebody must mend something, then the same call succeeds; carries reason
    │       ├── DeniedError        a right is lacking
    │       └── StorageUnavailableError  the object store does not answer, or not to us
    ├── GoneError          -       the object no longer exists, or a namesake with another UID took its place
    └── RejectedError      user    the API server refused it and will refuse it again; carries reason and message
        ├── NameConflictError      an object of that name exists and belongs to somebody else
        ├── MissingReferenceError  what the step refers to is missing or may not be used from here
        └── NoStoreError           the operator has no object store to read from

Adapters translate every error of their client into the most exact of these; nothing else may cross a port except
``trio.Cancelled`` and bugs.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from core.api.phases import Reason


class Obstacle(NamedTuple):
    """What somebody must mend before something can go on."""

    reason: Reason
    message: str


class PortError(Exception):
    """Base of everything a port raises on purpose."""


class StaleError(PortError):
    """The write was computed from an older version of the object. Nothing was written."""


class UnavailableError(PortError):
    """The outcome of the call is unknown: read again before deciding. ``retry_after_seconds`` is the server's wish."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ObstacleError(UnavailableError):
    """What the engine waits for somebody to mend, and therefore tells. ``reason`` is that of the run's conditions."""

    reason: ClassVar[Reason]


class DeniedError(ObstacleError):
    """The operator lacks a right; the message names it. Nothing was done, and nothing about the object is wrong."""

    reason = Reason.PERMISSION_DENIED


class StorageUnavailableError(ObstacleError):
    """Data of a step cannot be fetched now; the message names the store and what it answered."""

    reason = Reason.STORAGE_UNAVAILABLE


class GoneError(PortError):
    """The object no longer exists, or it is another one (different UID)."""


class RejectedError(PortError):
    """A definite refusal. ``reason`` is written to the step or run that asked for it."""

    def __init__(self, message: str, *, reason: Reason = Reason.INVALID_CONFIGURATION) -> None:
        super().__init__(message)
        self.reason = reason


class NameConflictError(RejectedError):
    """An object with the wanted name exists but is not controlled by this run: it is neither adopted nor touched."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.NAME_CONFLICT)


class MissingReferenceError(RejectedError):
    """A referenced Engram, template, Story or Secret is missing, or this namespace may not refer to it."""

    def __init__(self, message: str, *, reason: Reason = Reason.REFERENCE_NOT_FOUND) -> None:
        super().__init__(message, reason=reason)


class NoStoreError(RejectedError):
    """Data of a step is in object storage, of which the operator has none."""
