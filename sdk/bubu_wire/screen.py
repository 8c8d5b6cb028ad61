"""Cuts the byte stream into HTTP/2 frames, and stops a peer that misuses them before h2 spends memory or time on it.

h2 holds a frame of up to 16 MiB before it looks at the announced length, and answers pings, settings and resets
without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bubu_wire.limits import FRAME_BYTES, Limits, Rate

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

PROTOCOL_ERROR: Final = 0x1
FRAME_SIZE_ERROR: Final = 0x6
ENHANCE_YOUR_CALM: Final = 0xB


class Frame(NamedTuple):
    """A complete frame of at most ``FRAME_BYTES``."""

    type: int
    flags: int
    stream: int
    data: bytes
    """With its header of nine bytes."""


class Violation(NamedTuple):
    """Why the connection has to end."""

    error_code: int
    reason: str


@dataclass(slots=True)
class Budget:
    """What is left of a ``Rate``."""

    rate: Rate
    left: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        self.left = self.rate.burst

    def spend(self, now: float) -> bool:
        """Whether one more is allowed at ``now``, in seconds of a clock that never goes back."""
        if self.at is not None and now > self.at:
            self.left = min(float(self.rate.burst), self.left + (now - self.at) * self.rate.per_second)
        self.at = now
        self.left -= 1
        return self.left >= 0

    def regain(self, count: int) -> None:
        self.left = min(float(self.rate.burst), self.left + count)


class Screen:
    """Frames of one direction of one connection. It holds less than one frame."""

    def __init__(self, limits: Limits, *, preface: bool) -> None:
        self._limits = limits
        self._held = bytearray()
        self._preface_left = PREFACE if preface else b""
        self._pings = Budget(limits.pings)
        self._settings = Budget(limits.settings)
        self._resets = Budget(limits.resets)
        self._empty = Budget(limits.empty_frames)
        self._others = Budget(limits.other_frames)
        self._awaited_answers = 0
        self._block_stream = 0
        self._block_bytes = 0
        self._continuations = 0

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def frames(self, data: bytes, now: float) -> Iterator[Frame | Violation]:
        """The frames that ``data`` completes; after a violation nothing."""
        if self._held:
            self._held += data
            data = bytes(self._held)
            self._held.clear()
        position, end = 0, len(data)
        if self._preface_left:
            position = min(end, len(self._preface_left))
            if data[:position] != self._preface_left[:position]:
                yield Violation(PROTOCOL_ERROR, "the peer does not speak HTTP/2: it did not send the preface")
                return
            self._preface_left = self._preface_left[position:]
        while end - position >= HEADER_BYTES:
            length = int.from_bytes(data[position : position + 3], "big")
            if length > FRAME_BYTES:
                yield Violation(FRAME_SIZE_ERROR, f"a frame of {length} bytes; {FRAME_BYTES} are allowed")
                return
            after = position + HEADER_BYTES + length
            if after > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9], "big") & 0x7FFF_FFFF
            frame = Frame(kind, flags, stream, data[position:after])
            violation = self._judge(frame, length, now)
            if violation is not None:
                yield violation
                return
            yield frame
            position = after
        if position < end:
            self._held += data[position:]

    def in_header_block(self) -> bool:
        return self._block_stream != 0

    def spend_reset(self, now: float) -> Violation | None:
        """Counts a call that the peer wasted."""
        if self._resets.spend(now):
            return None
        return Violation(ENHANCE_YOUR_CALM, "too many calls were reset or refused")

    def sent_ping(self) -> None:
        self._awaited_answers += 1

    def sent_data(self, frames: int) -> None:
        """The peer has reason to answer DATA with window updates, and to measure with pings."""
        self._pings.regain(self._limits.pings.burst)
        self._others.regain(4 * frames)

    def _judge(self, frame: Frame, length: int, now: float) -> Violation | None:
        kind = frame.type
        if kind in (HEADERS, CONTINUATION, PUSH_PROMISE):
            return self._judge_block(frame, length)
        if kind == DATA:
            empty = length <= (frame.data[HEADER_BYTES] + 1 if frame.flags & PADDED and length else 0)
            if empty and not frame.flags & END_STREAM and not self._empty.spend(now):
                return Violation(ENHANCE_YOUR_CALM, "too many DATA frames without data")
        elif kind == PING:
            if frame.flags & ACK and self._awaited_answers:
                self._awaited_answers -= 1
            elif not self._pings.spend(now):
                return Violation(ENHANCE_YOUR_CALM, "too many pings")
        elif kind == SETTINGS:
            if not self._settings.spend(now):
                return Violation(ENHANCE_YOUR_CALM, "too many changes of settings")
        elif kind == RST_STREAM:
            return self.spend_reset(now)
        elif kind != GOAWAY and not self._others.spend(now):
            return Violation(ENHANCE_YOUR_CALM, "too many window updates, priorities or unknown frames")
        return None

    def _judge_block(self, frame: Frame, length: int) -> Violation | None:
        if frame.type == CONTINUATION and self._block_stream:
            self._continuations += 1
            self._block_bytes += length
        else:
            self._continuations, self._block_bytes = 0, length
        self._block_stream = 0 if frame.flags & END_HEADERS else frame.stream
        if self._continuations > self._limits.max_continuations or self._block_bytes > self._limits.max_header_bytes:
            return Violation(ENHANCE_YOUR_CALM, f"a header block larger than {self._limits.max_header_bytes} bytes")
        return None
