"""Base 64 and base 32. A text that does not decode gives the error's text as the result, as the reference does.

Source: templating contract 10.6.
"""

from __future__ import annotations

import base64
import binascii
import string
from typing import Final

from core.expressions.template.functions import STRING, FunctionTable
from core.expressions.template.values import from_bytes, to_bytes

FUNCTIONS: Final = FunctionTable()

_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/")
_BASE32: Final = frozenset(string.ascii_uppercase + "234567")


@FUNCTIONS.add("b64enc", takes=(STRING,))
def _b64enc(text: str) -> str:
    return base64.b64encode(to_bytes(text)).decode()


@FUNCTIONS.add("b64dec", takes=(STRING,))
def _b64dec(text: str) -> str:
    body = text.replace("\r", "").replace("\n", "")
    try:
        return from_bytes(base64.b64decode(to_bytes(body), validate=True))
    except binascii.Error:
        return f"illegal base64 data at input byte {_first_bad(text, _BASE64, 4)}"


@FUNCTIONS.add("b32enc", takes=(STRING,))
def _b32enc(text: str) -> str:
    return base64.b32encode(to_bytes(text)).decode()


@FUNCTIONS.add("b32dec", takes=(STRING,))
def _b32dec(text: str) -> str:
    body = text.replace("\r", "").replace("\n", "")
    try:
        return from_bytes(base64.b32decode(to_bytes(body)))
    except binascii.Error:
        return f"illegal base32 data at input byte {_first_bad(text, _BASE32, 8)}"


def _first_bad(text: str, alphabet: frozenset[str], group: int) -> int:
    """The byte that does not belong; the beginning of the incomplete group when only the length is wrong."""
    for index, char in enumerate(text):
        if char not in alphabet and char not in "\r\n":
            return len(to_bytes(text[:index]))
    return len(text) // group * group
