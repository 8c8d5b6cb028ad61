"""What a connection tells its owner."""

from __future__ import annotations

from dataclasses import dataclass

from bubu_wire.metadata import Metadata
from bubu_wire.records import Record
from bubu_wire.status import Status


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallStarted(Record):
    """Server: the peer calls ``path`` (``/package.Service/Method``), which is one of the server's methods."""

    call: int
    path: str
    metadata: Metadata
    timeout: float | None
    """Seconds that the caller will wait; None without a deadline."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallAccepted(Record):
    """Client: the server has begun its answer."""

    call: int
    metadata: Metadata


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MessagesReceived(Record):
    """One or more messages, in order. Say ``consumed`` for each when it is done with: that lets the peer send more."""

    call: int
    messages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PeerFinished(Record):
    """Server: the client sends no further message."""

    call: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CallEnded(Record):
    """The call is over and its number means nothing any more.

    Client: always the last event of a call. Server: only if the client, a violated limit or the connection has ended
    the call, never after ``finish``.
    """

    call: int
    status: Status
    metadata: Metadata = ()
    """Trailing metadata."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PingAnswered(Record):
    """The peer has answered ``ping(data)``."""

    data: bytes


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PeerLeaving(Record):
    """The peer (GOAWAY) accepts no further call; those that it has accepted go on, the others have ended."""

    error_code: int
    """Of HTTP/2; 0 for an orderly end."""
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ConnectionEnded(Record):
    """Nothing more will be received. Send what ``data_to_send`` still has, then close."""

    error_code: int
    """Of HTTP/2: what was sent to the peer, or 0 if the transport has ended."""
    reason: str


Event = (
    CallStarted
    | CallAccepted
    | MessagesReceived
    | PeerFinished
    | CallEnded
    | PingAnswered
    | PeerLeaving
    | ConnectionEnded
)
