"""What a connection accepts from its peer, and how much memory it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bubu_wire.errors import UsageError

SMALLEST_WINDOW: Final = 65_535
"""HTTP/2 lets a peer send this much before it has read our settings."""
LARGEST_WINDOW: Final = 2**31 - 1
FRAME_BYTES: Final = 16_384
"""The payload of a frame that we accept: HTTP/2's default, which no peer may refuse."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A budget of ``burst`` frames that regains ``per_second``."""

    burst: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection.

    Received bytes that the application has not consumed are at most ``window_bytes`` for each call, beside one message
    of ``max_message_bytes`` that was begun when nothing waited. The connection's own window never runs out before those
    of ``max_calls`` calls do, so calls that are not read never stop one that is.
    """

    max_calls: int = 32
    """Calls that the peer may have open. A further one is refused (``REFUSED_STREAM``), and the rest goes on."""
    window_bytes: int = SMALLEST_WINDOW
    max_message_bytes: int = 11 * 1024 * 1024
    """Ten MiB of a frame, and its metadata. A larger message ends its call with ``RESOURCE_EXHAUSTED``."""
    max_backlog_bytes: int = 16 * 1024 * 1024
    """Messages of one call that wait to be sent."""
    max_reply_bytes: int = 64 * 1024
    """What the protocol itself has to say (acknowledgements, resets) and the transport has not yet taken."""
    max_header_bytes: int = 16 * 1024
    """A header block, compressed, and its headers, uncompressed with 32 bytes for each."""
    max_continuations: int = 4
    pings: Rate = Rate(100, 10)
    """Regained in full whenever we send a message, because grpc-go measures with pings while it receives."""
    settings: Rate = Rate(20, 1)
    resets: Rate = Rate(200, 20)
    """Calls that the peer has reset, has made us reset, or has opened beyond ``max_calls``."""
    empty_frames: Rate = Rate(100, 10)
    """DATA frames that carry nothing."""
    other_frames: Rate = Rate(2_000, 200)
    """Window updates, priorities and unknown frames; four are regained for each DATA frame that we send."""

    def __post_init__(self) -> None:
        if not SMALLEST_WINDOW <= self.window_bytes <= LARGEST_WINDOW:
            raise UsageError(f"Limits.window_bytes must be between {SMALLEST_WINDOW} and {LARGEST_WINDOW}")
        if self.max_calls < 1 or self.connection_window_bytes > LARGEST_WINDOW:
            raise UsageError(
                f"Limits.max_calls must be at least 1, and 2 * (max_calls + 1) windows at most {LARGEST_WINDOW}"
            )

    @property
    def connection_window_bytes(self) -> int:
        """Twice what the calls can hold, because up to half of a window is consumed before the peer learns it.

        This is no bound of memory: the windows of the calls are.
        """
        return 2 * (self.max_calls + 1) * self.window_bytes


DEFAULT_LIMITS: Final = Limits()
