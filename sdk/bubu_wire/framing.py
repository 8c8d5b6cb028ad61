"""gRPC's message framing: a flag, a length of four bytes, and the message."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from bubu_wire.status import Status, StatusCode

PREFIX_BYTES: Final = 5
_prefix: Final = struct.Struct(">BI").unpack_from


@dataclass(slots=True)
class Deframer:
    """Finds the messages in the data of one call. It holds at most one incomplete message."""

    max_message_bytes: int
    held: bytearray = field(default_factory=bytearray)
    """The beginning of a message."""

    def feed(self, data: bytes) -> tuple[list[bytes], Status | None]:
        """The messages that ``data`` completes, and what is wrong with the bytes after them, if anything.

        After an error the rest is dropped; the caller ends the call.
        """
        if self.held:
            self.held += data
            if len(self.held) >= PREFIX_BYTES and self._missing() > 0 and self._error(self.held, 0) is None:
                return [], None
            data = bytes(self.held)
            self.held.clear()
        messages: list[bytes] = []
        position, end, most = 0, len(data), self.max_message_bytes
        while end - position >= PREFIX_BYTES:
            begin = position + PREFIX_BYTES
            flag, length = _prefix(data, position)
            if (flag or length > most) and (error := self._error(data, position)):
                return messages, error
            after = begin + length
            if after > end:
                break
            messages.append(data[begin:after])
            position = after
        if position < end:
            self.held += data[position:]
        return messages, None

    def _missing(self) -> int:
        return PREFIX_BYTES + int.from_bytes(self.held[1:PREFIX_BYTES], "big") - len(self.held)

    def _error(self, data: bytes | bytearray, position: int) -> Status | None:
        if (flag := data[position]) == 1:
            return Status(StatusCode.UNIMPLEMENTED, "compressed messages are not supported; use identity")
        if flag:
            return Status(StatusCode.INTERNAL, f"a message begins with the flag {flag}; 0 is the only one known")
        length = int.from_bytes(data[position + 1 : position + PREFIX_BYTES], "big")
        if length > self.max_message_bytes:
            text = f"a message of {length} bytes is larger than the {self.max_message_bytes} that are accepted"
            return Status(StatusCode.RESOURCE_EXHAUSTED, text)
        return None
