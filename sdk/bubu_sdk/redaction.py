"""Removes credentials from messages that leave the container, and cuts them at 8192 bytes.

Two things are credentials: what follows a well-known name such as ``password=``, and the secrets that this process has
read. The second are known to the whole process, because a log handler and an error record see text, and not the step
that it comes from. Source: SDK contract 14, redaction.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 8192
REDACTED: Final = "[REDACTED]"
MIN_SECRET_LENGTH: Final = 4
"""Characters of the shortest secret that is searched for; a shorter one is a part of ordinary words."""
_MIN_VARIABLE_LENGTH: Final = 8
"""Characters of the shortest value of a variable that is searched for because of the name of the variable."""
_MIN_LINE_LENGTH: Final = 16
"""Characters of the shortest line of a secret with several lines, such as a key in PEM form."""

_SCHEME = re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+)[^\s\"',;]+", re.IGNORECASE)
_KEYS = (
    "x[-_]?api[-_]?key|api[-_]?key|access[-_]?token|refresh[-_]?token|client[-_]?secret|token|password|secret"
    "|authorization|passwd|passphrase|pass|pwd|auth|jwt|bearer|otp|totp|sas|credentials?|cookie|dsn"
    "|(?:webhook|sas)[-_]?url|connection[-_]?string"
    "|(?:access|account|encryption|decryption|master|private|session|shared|signing|ssh)[-_]?key"
)
_NEW_WORD = r"(?-i:(?<=[a-z0-9])(?=[A-Z]))"
"""Where the last word of a name such as ``dbPassword`` begins."""
_PAIR = re.compile(
    rf"((?:(?<![A-Za-z0-9])[\"']?|{_NEW_WORD})(?:{_KEYS})[\"']?\s*[:=]\s*)(?!\s*[\"']?(?:basic|bearer)\s+{re.escape(REDACTED[:4])})"
    r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&}\"']+)",
    re.IGNORECASE,
)
_KEY = re.compile(rf"(?:(?<![A-Za-z0-9])|{_NEW_WORD})(?:{_KEYS})\Z", re.IGNORECASE)
_known: tuple[str, ...] = ()
"""Secrets of this process and their forms in text, the longest first; replaced as a whole, never changed."""
_known_bytes: tuple[bytes, ...] = ()
"""The same in UTF-8, for what is printed."""


def know(secrets: Iterable[str]) -> None:
    """From now on, hide these values as well."""
    global _known, _known_bytes
    forms = {form for value in secrets for form in _forms(value)}
    _known = tuple(sorted({*_known, *forms}, key=lambda form: (-len(form), form)))
    _known_bytes = tuple(form.encode(errors="surrogateescape") for form in _known)


def credentials_of(environ: Mapping[str, str]) -> Iterator[str]:
    """The values of variables that are named like credentials, such as ``AWS_SECRET_ACCESS_KEY``.

    Not ordinary words, which settings have, and not paths, which name a secret and are none.
    """
    for name, value in environ.items():
        text = value.strip()
        if len(text) >= _MIN_VARIABLE_LENGTH and not text.isalpha() and not text.startswith("/") and _KEY.search(name):
            yield text


@contextmanager
def scope() -> Iterator[None]:
    """At the end of the block, forget the secrets that became known in it. A process has one; tests have many."""
    global _known, _known_bytes
    before = _known, _known_bytes
    try:
        yield
    finally:
        _known, _known_bytes = before


def redact(text: str) -> str:
    """``text`` with known secrets and the values of well-known credential keys replaced by ``[REDACTED]``."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return _PAIR.sub(_hide, _SCHEME.sub(rf"\g<1>{REDACTED}", text))


class Masking:
    """Known secrets in what is printed, in any number of parts. What may be the beginning of a secret waits for more.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, content: bytes) -> bytes:
        """What can be written now."""
        if not _known_bytes:
            rest, self._rest = self._rest, b""
            return rest + content
        text = self._rest + content
        begin = _start_of_rest(text)
        self._rest = text[begin:]
        return _masked(text[:begin])

    def end(self) -> bytes:
        """What has waited: no more follows."""
        rest, self._rest = self._rest, b""
        return _masked(rest)


class _MaskedOutput(io.RawIOBase):
    """The bytes of stdout or stderr, masked on their way out."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self._masking = Masking()
        self._lock = threading.RLock()  # a signal handler may print while its thread prints
        os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._output.fileno())

    def isatty(self) -> bool:
        return bool(self._output.isatty())

    def write(self, content: Any) -> int:
        given = bytes(content)
        with self._lock:
            self._output.write(self._masking.feed(given))
        return len(given)

    def flush(self) -> None:
        """What may be the beginning of a secret stays: programs also flush in the middle of a line."""
        if not self.closed:
            self._output.flush()

    def end(self) -> None:
        with self._lock:
            self._output.write(self._masking.end())
            self._output.flush()

    def close(self) -> None:
        if not self.closed:
            self.end()
        super().close()


def mask_prints() -> None:
    """From now on, hide known secrets in what this process prints.

    The streams stay the same objects, because handlers of loggers have them. A stream that the program has replaced,
    and what is written to the descriptors themselves, stay as they are.
    """
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is not io.TextIOWrapper or isinstance(stream.buffer, _MaskedOutput):
            continue
        stream.flush()
        stream.__init__(  # type: ignore[misc]
            _MaskedOutput(stream.buffer),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )


def end_prints() -> None:
    """Write what was printed and has waited: the process ends."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        output = getattr(stream, "buffer", None)
        if isinstance(output, _MaskedOutput):
            output.end()


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


def _masked(text: bytes) -> bytes:
    for secret in _known_bytes:
        if secret in text:
            text = text.replace(secret, REDACTED.encode())
    return text


def _start_of_rest(text: bytes) -> int:
    """Where that begins which may become a secret; no secret that is complete is divided there."""
    begin = min(_start_of_secret(text, form) for form in _known_bytes)
    while begin < len(text):
        found = (text.find(form, max(0, begin - len(form) + 1), begin + len(form) - 1) for form in _known_bytes)
        before = min((at for at in found if 0 <= at < begin), default=begin)
        if before == begin:
            break
        begin = before
    return begin


def _start_of_secret(text: bytes, secret: bytes) -> int:
    """Where the end of ``text`` may be the beginning of ``secret``; the length of ``text`` if it is none."""
    at = text.find(secret[:1], max(0, len(text) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(text[at:]):
            return at
        at = text.find(secret[:1], at + 1)
    return len(text)


def _hidden_field(key: str, value: Any) -> Any:
    return REDACTED if isinstance(value, str) and value and _KEY.search(key) else hidden(value)


def _hide(match: re.Match[str]) -> str:
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{REDACTED}{quote}"
