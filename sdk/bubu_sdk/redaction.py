"""Removes credentials from messages that leave the container, and cuts them at 8192 bytes.

Two things are credentials: what follows a well-known name such as ``password=``, and the secrets that this process has
read. The second are known to the whole process, because a log handler and an error record see text, and not the step
that it comes from. Source: SDK contract 14, redaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 8192
REDACTED: Final = "[REDACTED]"
MIN_SECRET_LENGTH: Final = 4
"""Characters of the shortest secret that is searched for; a shorter one is a part of ordinary words."""
_MIN_LINE_LENGTH: Final = 16
"""Characters of the shortest line of a secret with several lines, such as a key in PEM form."""

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
_KEY = re.compile(_KEYS, re.IGNORECASE)
_known: tuple[str, ...] = ()
"""Secrets of this process and their forms in text, the longest first; replaced as a whole, never changed."""


def know(secrets: Iterable[str]) -> None:
    """From now on, hide these values as well."""
    global _known
    forms = {form for value in secrets for form in _forms(value)}
    _known = tuple(sorted({*_known, *forms}, key=lambda form: (-len(form), form)))


@contextmanager
def scope() -> Iterator[None]:
    """At the end of the block, forget the secrets that became known in it. A process has one; tests have many."""
    global _known
    before = _known
    try:
        yield
    finally:
        _known = before


def redact(text: str) -> str:
    """``text`` with known secrets and the values of well-known credential keys replaced by ``[REDACTED]``."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return _PAIR.sub(_hide, _SCHEME.sub(rf"\g<1>{REDACTED}", text))


def hidden(value: Any) -> Any:
    """``value`` as plain data, redacted in all its texts; a text below the name of a credential is hidden as a whole.

    Other objects are replaced by their ``repr``.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _hidden_field(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(repr(value))


def is_harmless(value: Any) -> bool:
    """Whether ``hidden`` has nothing to hide in a plain JSON value."""
    return bool(hidden(value) == value)


def public_message(text: str) -> str:
    """``text`` with redacted credentials, cut to 8192 bytes at a character boundary, for a status."""
    return cut(redact(text), MAX_MESSAGE_BYTES)


def cut(text: str, limit_bytes: int) -> str:
    """The longest prefix of ``text`` whose UTF-8 form fits into ``limit_bytes``."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit_bytes:
        return text
    return encoded[:limit_bytes].decode(errors="ignore")


def _forms(secret: str) -> Iterator[str]:
    """The secret as it may appear in a text: itself, in a ``repr``, and each of its longer lines."""
    secret = secret.strip()
    if len(secret) < MIN_SECRET_LENGTH:
        return
    yield secret
    yield repr(secret)[1:-1]
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= _MIN_LINE_LENGTH)


def _hidden_field(key: str, value: Any) -> Any:
    return REDACTED if isinstance(value, str) and value and _KEY.fullmatch(key) else hidden(value)


def _hide(match: re.Match[str]) -> str:
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{REDACTED}{quote}"
