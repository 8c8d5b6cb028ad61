"""Headers of calls: metadata as text, ``-bin`` values, and the deadline in ``grpc-timeout``."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from bubu_wire.errors import UsageError

Metadata = tuple[tuple[str, str | bytes], ...]
"""Names in lower case, in the order of the wire, repeated where they repeat. A name in ``-bin`` has bytes."""

_NAME: Final = re.compile(r"[0-9a-z_.\-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECOND: Final = 10**9
_UNITS: Final[Mapping[str, int]] = {
    "n": 1,
    "u": 10**3,
    "m": 10**6,
    "S": _SECOND,
    "M": 60 * _SECOND,
    "H": 3600 * _SECOND,
}
"""Nanoseconds, the smallest first."""
_OURS: Final = frozenset({"te", "content-type", "user-agent", "connection", "host"})


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str]]:
    """The headers of ``metadata``.

    Raises:
        UsageError: a name is reserved or malformed, a value has characters that a header cannot have, or only
            one of name (``-bin``) and value says that it is binary.
    """
    headers = []
    for name, value in metadata:
        if not _NAME.fullmatch(name) or name.startswith("grpc-") or name in _OURS:
            raise UsageError(f"metadata {name!r}: names are a-z, 0-9, '_', '.', '-', and not those of gRPC itself")
        if isinstance(value, bytes) != name.endswith("-bin"):
            raise UsageError(f"metadata {name!r}: values are bytes if, and only if, the name ends in '-bin'")
        if isinstance(value, bytes):
            headers.append((name, base64.b64encode(value).decode("ascii").rstrip("=")))
        elif _VALUE.fullmatch(value) and value == value.strip():
            headers.append((name, value))
        else:
            raise UsageError(f"metadata {name!r}: values are printable ASCII without blanks around; use a '-bin' name")
    return headers


def decode_metadata(headers: Iterable[tuple[str, str]]) -> Metadata:
    """Metadata of received headers, without those of HTTP/2 and gRPC. A binary value that is no base64 is left out."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.startswith((":", "grpc-")) or name in _OURS:
            continue
        if not name.endswith("-bin"):
            found.append((name, value))
            continue
        for part in value.split(","):  # several binary values may be joined
            bare = part.strip().rstrip("=")
            try:
                found.append((name, base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)))
            except (binascii.Error, ValueError):
                continue
    return tuple(found)


def parse_timeout(value: str) -> float | None:
    """Seconds of a ``grpc-timeout``; None if it is malformed."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _UNITS[match[2]] / _SECOND if match and value.isascii() else None


def format_timeout(seconds: float) -> str:
    """The ``grpc-timeout`` of a deadline, rounded up to a unit that fits in eight digits; negative is none left.

    Raises:
        UsageError: the number of seconds is not finite, or longer than eight digits of hours.
    """
    if not -math.inf < seconds < 3600 * 10**8:
        raise UsageError(f"a deadline of {seconds} s cannot be sent; leave it out for a call without one")
    nanoseconds = max(0, math.ceil(round(seconds * _SECOND, 3)))
    for unit, size in _UNITS.items():
        count = -(-nanoseconds // size)
        if count < 10**8:
            return f"{count}{unit}"
    return f"{10**8 - 1}H"
