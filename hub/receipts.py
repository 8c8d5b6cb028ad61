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


def read_receipt(message: bytes) -> Receipt | None:
    """The receipt in an encoded ControlRequest of the usual form; None for everything else, which must be decoded."""
    if not message.endswith(_ACTION):
        return None
    try:
        return _read(message, len(message) - len(_ACTION))
    except (IndexError, UnicodeDecodeError):
        return None


def _read(message: bytes, end: int) -> Receipt | None:
    stream_id = partition = sequence = b""
    position = 0
    while position < end:
        size, name_size = message[position + 1], message[position + 3]
        after, begin = position + 2 + size, position + 6 + name_size
        is_pair = message[position] == 0x12 and message[position + 2] == 0x0A and message[begin - 2] == 0x12
        if not is_pair or size >= 0x80 or message[begin - 1] != after - begin:
            return None
        if name_size == 8 and message.startswith(b"sequence", position + 4):
            sequence = message[begin:after]
        elif name_size == 9 and message.startswith(b"stream_id", position + 4):
            stream_id = message[begin:after]
        elif name_size == 9 and message.startswith(b"partition", position + 4):
            partition = message[begin:after]
        position = after
    if position != end or not sequence.isdigit() or len(sequence) > _MAX_DIGITS:
        return None
    return Receipt(stream_id.decode(), partition.decode(), int(sequence))
