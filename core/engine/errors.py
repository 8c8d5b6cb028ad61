"""What a port may raise instead of returning a result.

    PortError
    ├── StaleError         retry   the object has changed since it was read: read again, decide again
    ├── UnavailableError   retry   no answer, or "not now"; the write may or may not have happened
    │   ├── ThrottledError         too many at once; the same call succeeds when its turn has come
    │   └── ObstacleError          a person must fix something, then the same call succeeds; carries reason
    │       ├── DeniedError        a permission is missing
    │       ├── StorageUnavailableError  the object store does not answer, or refuses the operator
    │       └── HubUnknownError    the access to the hub of streams is not known yet
    ├── NoRoomError        wake-up no worker has room: nothing was started; the executor wakes the run when one has
    ├── GoneError          -       the object no longer exists, or another object with that name has replaced it
    ├── ResultLostError    -       an attempt has succeeded, but what it has left behind cannot be read any more
    ├── AwaitedError       wait    a definition that a step refers to is not there yet; carries reason and time limit
    └── RejectedError      user    the API server refused it and will refuse it again; carries reason and message
        ├── NameConflictError      an object of that name exists and belongs to another owner
        ├── MissingReferenceError  what the step refers to is missing or may never be used from here
        └── NoStoreError           the operator has no object store to read from

Adapters translate every error of their client into the most specific of these. Only ``trio.Cancelled`` and bugs may
cross a port beside them.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from core.api.phases import Reason, StepReason
from core.policy.timing import TimeoutChoice


class Obstacle(NamedTuple):
    """What a person must fix before the run or step can continue."""

    reason: Reason
    message: str


class Definition(NamedTuple):
    """An object that a step may wait for; an empty ``name``: any object of the kind in the namespace."""

    kind: str
    namespace: str
    name: str


class PortError(Exception):
    """Base of everything that a port raises on purpose."""


class StaleError(PortError):
    """The write was computed from an older version of the object. Nothing was written."""


class UnavailableError(PortError):
    """The outcome of the call is unknown: read again before deciding.

    ``retry_after_seconds`` is the pause that the server asks for.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ObstacleError(UnavailableError):
    """The engine waits until a person has fixed something, and reports it. ``reason`` is for the run's conditions."""

    reason: ClassVar[Reason]


class DeniedError(ObstacleError):
    """The operator lacks a permission; the message names it. Nothing was done, and the object itself is correct."""

    reason = Reason.PERMISSION_DENIED


class StorageUnavailableError(ObstacleError):
    """Data of a step cannot be fetched now; the message names the store and what it answered."""

    reason = Reason.STORAGE_UNAVAILABLE


class HubUnknownError(ObstacleError):
    """A realtime step cannot get the address of the hub or its own identity; the message names what is missing."""

    reason = Reason.AWAITING_TRANSPORT


class ThrottledError(UnavailableError):
    """Too many writes of this kind at once: nothing was done, and the same call may succeed when its turn has come."""


class NoRoomError(PortError):
    """No worker has room for the attempt, which was not started. The executor wakes the run when one may have; until
    then the engine does not ask again. The message says for which workers the step waits.
    """


class GoneError(PortError):
    """The object no longer exists, or another object (with another UID) has its name."""


class ResultLostError(PortError):
    """The result of an attempt without an SDK is gone, for example with its Pod."""


class AwaitedError(PortError):
    """A definition that a step refers to does not exist, or does not fit yet: a person may apply it at any time.

    Args:
        reason: for the state of the step, which waits.
        limit: the step's timeout as far as the present definitions tell it: the step waits that long.
        definitions: a change of one of these may end the wait.
    """

    def __init__(
        self, message: str, *, reason: StepReason, limit: TimeoutChoice, definitions: frozenset[Definition]
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.limit = limit
        self.definitions = definitions


class RejectedError(PortError):
    """A definite refusal. The engine writes ``reason`` to the step or run that made the call.

    ``fields`` are the paths of the refused fields, if the server names them.
    """

    def __init__(
        self, message: str, *, reason: Reason = Reason.INVALID_CONFIGURATION, fields: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.fields = fields


class NameConflictError(RejectedError):
    """An object with the wanted name exists, but this run does not control it: the engine does not adopt or edit it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.NAME_CONFLICT)


class MissingReferenceError(RejectedError):
    """A referenced Story or Secret is missing, or this namespace may not refer to the Engram. A missing Engram or
    template is an ``AwaitedError``, unless its name can belong to no object.
    """

    def __init__(self, message: str, *, reason: Reason = Reason.REFERENCE_NOT_FOUND) -> None:
        super().__init__(message, reason=reason)


class NoStoreError(RejectedError):
    """Data of a step is in object storage, but the operator has no object store."""
