"""Removes credentials from messages that leave the container, and cuts them at 8192 bytes.

Source: SDK contract 14, redaction.
"""

from __future__ import annotations

import re
from typing import Final

MAX_MESSAGE_BYTES: Final = 8192
REDACTED: Final = "[REDACTED]"

_SCHEME = re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+)[^\s\"',;]+", re.IGNORECASE)
_KEYS = (
    "x[-_]?api[-_]?key|api[-_]?key|access[-_]?token|refresh[-_]?token|client[-_]?secret|token|password|secret"
    "|authorization"
)
_PAIR = re.compile(
    rf"((?<![A-Za-z0-9])[\"']?(?:{_KEYS})[\"']?\s*[:=]\s*)(?!\s*[\"']?(?:basic|bearer)\s+{re.escape(REDACTED[:4])})"
    r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&}\"']+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` with the values of well-known credential keys replaced by ``[REDACTED]``."""
    return _PAIR.sub(_hide, _SCHEME.sub(rf"\g<1>{REDACTED}", text))


def public_message(text: str) -> str:
    """``text`` with redacted credentials, cut to 8192 bytes at a character boundary, for a status."""
    return cut(redact(text), MAX_MESSAGE_BYTES)


def cut(text: str, limit_bytes: int) -> str:
    """The longest prefix of ``text`` whose UTF-8 form fits into ``limit_bytes``."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit_bytes:
        return text
    return encoded[:limit_bytes].decode(errors="ignore")


def _hide(match: re.Match[str]) -> str:
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{REDACTED}{quote}"
