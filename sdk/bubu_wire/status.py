"""How calls end: gRPC's status codes, their text in headers, and what HTTP has instead of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class StatusCode(IntEnum):
    """The codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended. ``message`` is for people."""

    code: StatusCode
    message: str = ""


OK: Final = Status(StatusCode.OK)
_PLAIN: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")

_FROM_HTTP: Final[Mapping[str, StatusCode]] = {
    "400": StatusCode.INTERNAL,
    "401": StatusCode.UNAUTHENTICATED,
    "403": StatusCode.PERMISSION_DENIED,
    "404": StatusCode.UNIMPLEMENTED,
    "429": StatusCode.UNAVAILABLE,
    "502": StatusCode.UNAVAILABLE,
    "503": StatusCode.UNAVAILABLE,
    "504": StatusCode.UNAVAILABLE,
}
_FROM_RESET: Final[Mapping[int, StatusCode]] = {
    7: StatusCode.UNAVAILABLE,  # REFUSED_STREAM
    8: StatusCode.CANCELLED,  # CANCEL
    11: StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


def encode_status_message(text: str) -> str:
    """The value of ``grpc-message``: UTF-8, with everything but printable ASCII, and ``%`` itself, as ``%XX``."""
    return _PLAIN.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "replace")).decode("ascii")


def decode_status_message(value: str) -> str:
    """The text of a ``grpc-message``. Nothing is an error: what is not ``%XX`` stays, bad UTF-8 is replaced."""
    raw = _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), value.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "replace")


def parse_status_code(value: str) -> StatusCode:
    """An unknown or malformed code is UNKNOWN, as gRPC wants it."""
    if not (value.isascii() and value.isdigit() and len(value) <= 3):
        return StatusCode.UNKNOWN
    number = int(value)
    return StatusCode(number) if number <= max(StatusCode) else StatusCode.UNKNOWN


def status_of_http(status: str) -> StatusCode:
    """What an answer that is not gRPC's means, for example that of a proxy."""
    return _FROM_HTTP.get(status, StatusCode.UNKNOWN)


def status_of_reset(error_code: int) -> StatusCode:
    """What a RST_STREAM means for the call that it ends."""
    return _FROM_RESET.get(error_code, StatusCode.INTERNAL)
