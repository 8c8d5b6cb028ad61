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
_MOST_KNOWN: Final = 128
_LARGEST_KNOWN: Final = 512
_SEQUENCE: Final = b"\x08sequence\x12"


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
    """Reads the receipts of one client.

    Those of one client are the same but for the digits of the number (and the order of their pairs, which Go mixes). So
    the text around the digits is remembered, once it is proven that nothing in it depends on them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], tuple[str, str]] = {}
        """Stream and partition, by what stands before and behind the digits."""

    def read(self, encoded: bytes) -> Receipt | None:
        """The receipt in an encoded ControlRequest of the usual form; None for everything else: decode that."""
        begin = encoded.find(_SEQUENCE) + len(_SEQUENCE) + 1
        if begin <= len(_SEQUENCE) or begin > len(encoded):
            return None
        end = begin + encoded[begin - 1]
        digits = encoded[begin:end]
        if not digits.isdigit() or len(digits) > _MAX_DIGITS:
            return None
        around = encoded[:begin], encoded[end:]
        found = self._known.get(around)
        if found is None:
            found = _proven(*around, digits)
            if found is None:
                return None
            if len(self._known) < _MOST_KNOWN and len(encoded) <= _LARGEST_KNOWN:
                self._known[around] = found
        return Receipt(*found, int(digits))


def _proven(before: bytes, behind: bytes, digits: bytes) -> tuple[str, str] | None:
    """Stream and partition of the receipt with these digits, if they are the same with any others of that length."""
    found = _read(before + digits + behind)
    other = b"7" * len(digits) if digits != b"7" * len(digits) else b"8" * len(digits)
    expected = _read(before + other + behind)
    if found is None or expected is None or found[:2] != expected[:2]:
        return None
    is_number = (found.sequence, expected.sequence) == (int(digits), int(other))
    return found[:2] if is_number else None


def _read(encoded: bytes) -> Receipt | None:
    """The receipt in an encoded message that has nothing but metadata and the action; None for others."""
    if not encoded.endswith(_ACTION):
        return None
    metadata: dict[str, str] = {}
    position, end = 0, len(encoded) - len(_ACTION)
    while position < end:
        begin = position + 2
        if encoded[position] != 0x12 or encoded[begin - 1] >= 0x80:
            return None
        position = begin + encoded[begin - 1]
        name, value = _pair(encoded[begin:position])
        if not name:
            return None
        metadata[name] = value
    return receipt_of(metadata) if position == end else None


def _pair(pair: bytes) -> tuple[str, str]:
    """Name and value of an entry of the metadata; an empty name if it is not of the usual form."""
    behind = 2 + pair[1] if len(pair) > 1 else 0
    if len(pair) < behind + 2 or pair[0] != 0x0A or pair[behind] != 0x12 or pair[behind + 1] != len(pair) - behind - 2:
        return "", ""
    try:
        return pair[2:behind].decode(), pair[behind + 2 :].decode()
    except UnicodeDecodeError:
        return "", ""
