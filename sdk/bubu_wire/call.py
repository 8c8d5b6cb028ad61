"""What a connection remembers of one call, and when received bytes may be replaced by new ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bubu_wire.framing import PREFIX_BYTES, Deframer

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Inflow:
    """Counts received bytes until the application has consumed their messages.

    The bytes of an incomplete message are given back while nothing else waits, for a message may be larger than the
    window. So there is at most one window beside one message.
    """

    waiting: deque[int] = field(default_factory=deque)
    """For each delivered message the bytes that the peer may not yet replace."""
    begun: int = 0
    """Bytes of the incomplete message that the peer may not yet replace."""
    advanced: int = 0
    """Bytes of the incomplete message that the peer may replace already."""

    def received(self, size: int, messages: list[bytes]) -> int:
        """``size`` bytes have completed ``messages`` and begun another; returns the bytes to give back now."""
        total = self.begun + size
        if messages:
            charges = [PREFIX_BYTES + len(message) for message in messages]
            charges[0] -= self.advanced
            self.advanced = 0
            self.waiting.extend(charges)
            total -= sum(charges)
        self.begun = total
        return self._advance()

    def consumed(self, count: int) -> int:
        """The first ``count`` waiting messages are done with; returns the bytes to give back now."""
        if count >= len(self.waiting):
            given = sum(self.waiting)
            self.waiting.clear()
        else:
            given = sum(self.waiting.popleft() for _ in range(count))
        return given + self._advance()

    def withheld(self) -> int:
        return sum(self.waiting) + self.begun

    def _advance(self) -> int:
        if self.waiting:
            return 0
        given, self.begun = self.begun, 0
        self.advanced += given
        return given


@dataclass(slots=True)
class Call:
    """One HTTP/2 stream. A muted call has no events: the application knows nothing of it, or is done with it."""

    number: int
    deframer: Deframer
    inflow: Inflow = field(default_factory=Inflow)
    queue: bytearray = field(default_factory=bytearray)
    """Framed messages that wait for the peer's window."""
    to_credit: int = 0
    """Consumed bytes that were not yet reported to the peer: a window update for each message would cost too much."""
    is_paused: bool = False
    """The window is not renewed, not even for the rest of a message."""
    muted: bool = False
    dropped: int = 0
    """Bytes that a muted call has received; given back when it is forgotten."""
    headers: Headers | None = None
    """Server: the headers of the answer, until they are sent."""
    trailers: Headers | None = None
    """Server: what ends the answer, when the queue is empty."""
    finishing: bool = False
    """We send nothing after the queue."""
    broken: bool = False
    """Server: ended by us because of what the peer sent; the application gets a ``CallEnded``."""
    finished: bool = False
    """We have ended our side."""
    is_plain: bool = False
    """The peer has begun, without a content length: its DATA frames need no judgement but that of the windows."""
    peer_finished: bool = False
