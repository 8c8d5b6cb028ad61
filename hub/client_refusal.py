"""Why a client is turned away, or its connection closed, by a closed set of reasons. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bubu_wire.status import Status
from hub.topology import Place


class ClientRefusal(StrEnum):
    """Why the hub does not serve a client. The names are labels of metrics and words of statuses."""

    CONNECTIONS = "connections"
    """The hub has as many connections as it takes."""
    STRANGERS = "strangers"
    """It was the oldest of too many connections without an admitted token."""
    TLS = "tls"
    """No TLS handshake: plaintext, an older version, or a certificate that the client does not trust."""
    HTTP2 = "http2"
    """The client breaks the rules of HTTP/2, or does not speak it."""
    FRAME_SIZE = "frame_size"
    FLOOD = "flood"
    """More frames, header bytes, resets or pings than are allowed."""
    MESSAGE = "message"
    """A message is larger than allowed, incomplete, or compressed."""
    NO_CALL = "no_call"
    """Neither Data nor Control was opened in time."""
    NO_CONTROL = "no_control"
    """Data was opened, and no Control was admitted in time."""
    NO_DATA = "no_data"
    """Control was admitted, and Data was not opened in time."""
    SECOND_CALL = "second_call"
    """The connection has such a call already."""
    PROTOCOL = "protocol"
    """The header with the version of the protocol is missing or wrong."""
    MALFORMED_TOKEN = "malformed_token"  # noqa: S105 - a reason
    """There is none, or it does not have the form of one."""
    UNKNOWN_BINDING = "unknown_binding"
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - a reason
    STALE_GENERATION = "stale_generation"
    NOT_SERVED = "not_served"
    """The run is not served yet, or not any more at this moment: the client tries again."""
    RETURNING = "returning"
    """A source has connected again, and the operator has not said yet whether the step has finished."""
    UNSERVABLE = "unservable"
    """The run or the step cannot be served, or has ended."""
    LEFTOVERS = "leftovers"
    """Too many packets of former sessions of the step wait."""
    UNREAD = "unread"
    """The client does not read what it gets."""
    HUB_STOPPING = "hub_stopping"


PASSING: Final = frozenset(
    {ClientRefusal.UNKNOWN_BINDING, ClientRefusal.NOT_SERVED, ClientRefusal.RETURNING, ClientRefusal.HUB_STOPPING}
)
"""Usual for a moment when a run, a hub or a connection begins or ends."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A client that is not served, or no longer."""

    reason: ClientRefusal
    status: Status
    """What the client is told. Never with anything that the client has sent."""
    place: Place | None = None
    """The step that it is, or says that it is; None if that is no step that the hub serves."""
