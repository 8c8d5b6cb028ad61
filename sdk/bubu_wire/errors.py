"""What this package raises. A misbehaving peer raises nothing: it becomes an event."""

from __future__ import annotations


class WireError(Exception):
    """Base of all errors of this package."""


class UsageError(WireError):
    """The caller asked for something that this connection or call cannot do now; nothing was sent."""


class UnknownCallError(UsageError):
    """The call has ended, or never existed. A call may end at any time by the peer, so callers must expect this."""


class BacklogError(UsageError):
    """The peer does not read: the messages that wait for it have reached ``Limits.max_backlog_bytes``."""


class CallsExhaustedError(UsageError):
    """No further call can be opened on this connection: the peer's limit is reached, or the connection is ending."""


class MessageError(WireError):
    """Bytes are no message of ``transport.v1``, or a message is outside its bounds. The text names the field."""
