"""Base 64 and base 32. For a string that cannot be decoded, the result is the error's text, as in the reference.

Well-formed data is decoded by Python's decoders. Other data is examined in the same way as by Go's decoders, to find
the byte that they name in their error. Source: templating contract 10.6.
"""

from __future__ import annotations

import base64
import re
import string
from typing import Final

from core.expressions.template.functions import STRING, FunctionTable
from core.expressions.template.values import from_bytes, to_bytes

FUNCTIONS: Final = FunctionTable()

_BASE64: Final = (string.ascii_letters + string.digits + "+/").encode()
_BASE32: Final = (string.ascii_uppercase + "234567").encode()
_WELL_FORMED_64: Final = re.compile(
    rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
)
_WELL_FORMED_32: Final = re.compile(
    rb"(?:[A-Z2-7]{8})*(?:[A-Z2-7]{2}={6}|[A-Z2-7]{4}={4}|[A-Z2-7]{5}={3}|[A-Z2-7]{7}=)?",
)
_GROUP_32: Final = 8
_NO_WHOLE_BYTES: Final = (1, 3, 6)  # lengths in base 32 that do not end with a whole byte


@FUNCTIONS.add("b64enc", takes=(STRING,))
def _b64enc(text: str) -> str:
    return base64.b64encode(to_bytes(text)).decode()


@FUNCTIONS.add("b64dec", takes=(STRING,))
def _b64dec(text: str) -> str:
    data = to_bytes(text)
    body = data.translate(None, b"\r\n")
    if _WELL_FORMED_64.fullmatch(body):
        return from_bytes(base64.b64decode(body))
    return f"illegal base64 data at input byte {_first_bad_64(data)}"


@FUNCTIONS.add("b32enc", takes=(STRING,), per_character=1)
def _b32enc(text: str) -> str:
    return base64.b32encode(to_bytes(text)).decode()


@FUNCTIONS.add("b32dec", takes=(STRING,))
def _b32dec(text: str) -> str:
    body = to_bytes(text).translate(None, b"\r\n")
    if _WELL_FORMED_32.fullmatch(body):
        return from_bytes(base64.b32decode(body))
    bad = _first_bad_32(body)
    if bad is None:  # the two characters after the padding are not checked
        return from_bytes(base64.b32decode(body[: len(body) // _GROUP_32 * _GROUP_32]))
    return f"illegal base32 data at input byte {bad}"


def _first_bad_64(data: bytes) -> int:
    """The offset that Go's decoder names, for data that it refuses; line breaks count."""
    in_group, at = 0, 0
    while at < len(data):
        char = data[at]
        if char in _BASE64:
            in_group = (in_group + 1) % 4
        elif char not in b"\r\n":
            if char != ord("=") or in_group < 2:
                return at
            return _first_bad_padding_64(data, at + 1, needs_another=in_group == 2)
        at += 1
    return at - in_group


def _first_bad_padding_64(data: bytes, at: int, *, needs_another: bool) -> int:
    at = _behind_line_breaks(data, at)
    if not needs_another:
        return at
    if at == len(data):
        return at
    return at - 1 if data[at] != ord("=") else _behind_line_breaks(data, at + 1)


def _behind_line_breaks(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in b"\r\n":
        at += 1
    return at


def _first_bad_32(body: bytes) -> int | None:
    """The offset that Go's decoder names, for data without line breaks; ``None`` when it stops before it finds one."""
    for start in range(0, len(body), _GROUP_32):
        for index in range(_GROUP_32):
            at = start + index
            if at == len(body):
                return at - index
            rest = len(body) - at - 1
            if body[at] == ord("=") and index >= 2 and rest < _GROUP_32:
                return _first_bad_padding_32(body, at, index)
            if body[at] not in _BASE32:
                return at
    return None


def _first_bad_padding_32(body: bytes, at: int, index: int) -> int | None:
    rest = len(body) - at - 1
    wanted = _GROUP_32 - 1 - index
    if rest < wanted:
        return len(body)
    for position in range(wanted):
        if body[at + 1 + position] != ord("="):
            return at + position
    return at if index in _NO_WHOLE_BYTES else None
