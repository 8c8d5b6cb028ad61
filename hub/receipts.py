"""Receipts: with the directive ``downstream.delivered`` an engram says that it is done with a packet.

There is one for each packet, so the usual form is read without the general decoder. Pure.
Source: streaming contract 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

RECEIPT_ACTION: Final = "downstream.delivered"

_ACTION: Final = b"\x22" + bytes((len(RECEIPT_ACTION),)) + RECEIPT_ACTION.encode()
_MAX_DIGITS: Final = 20
_MOST_KNOWN: Final = 64


class Receipt(NamedTuple):
    """Which packet is done."""

    stream_id: str
    partition: str
    sequence: int


def receipt_of(metadata: Mapping[str, str]) -> Receipt | None:
    """The receipt in the metadata of such a directive; None if it names no number."""
    sequence = metadata.get("sequence", "")
    if not (sequence.isascii() and sequence.isdigit() and len(sequence) <= _MAX_DIGITS):
        return None
    return Receipt(metadata.get("stream_id", ""), metadata.get("partition", ""), int(sequence))


class ReceiptReader:
    """Reads the receipts of one client. It remembers the pairs that each of them repeats."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, str]] = {}

    def read(self, message: bytes) -> Receipt | None:
        """The receipt in an encoded ControlRequest of the usual form; None for everything else: decode that."""
        if not message.endswith(_ACTION):
            return None
        stream_id = partition = sequence = ""
        position, end = 0, len(message) - len(_ACTION)
        while position < end:
            begin = position + 2
            position = begin + message[begin - 1]
            pair = message[begin:position]
            name, value = self._known.get(pair) or _pair(pair)
            if not name or message[begin - 2] != 0x12 or message[begin - 1] >= 0x80:
                return None
            if name == "sequence":
                sequence = value
                continue
            if name == "stream_id":
                stream_id = value
            elif name == "partition":
                partition = value
            if len(self._known) < _MOST_KNOWN:
                self._known[pair] = name, value
        if position != end or not (sequence.isascii() and sequence.isdigit() and len(sequence) <= _MAX_DIGITS):
            return None
        return Receipt(stream_id, partition, int(sequence))


def _pair(pair: bytes) -> tuple[str, str]:
    """Name and value of an entry of the metadata; an empty name if it is not of the usual form."""
    behind = 2 + pair[1] if len(pair) > 1 else 0
    if len(pair) < behind + 2 or pair[0] != 0x0A or pair[behind] != 0x12 or pair[behind + 1] != len(pair) - behind - 2:
        return "", ""
    try:
        return pair[2:behind].decode(), pair[behind + 2 :].decode()
    except UnicodeDecodeError:
        return "", ""
