"""Secrets in text that have a known form: tokens of known services, keys, passwords in URLs and assignments. Pure.

Texts are untrusted and large, so no pattern takes more time than in proportion to the text.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from core.telemetry.logs import REDACTED, is_secret_key

_HARMLESS: Final = frozenset(
    {"secrets", "secretname", "secretref", "secretkeyref", "imagepullsecrets", "automountserviceaccounttoken"}
)
_NAME: Final = (
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|authorization|credential|private[_-]?key|api[_-]?key"
    r"|(?:access|account|signing|session|encryption|decryption|ssh|master|shared)[_-]?key|cookie"
    r"|connection[_-]?string|dsn|webhook[_-]?url|sas[_-]?url|jwt|bearer)[A-Za-z0-9_.-]{0,64}"
    r"|(?:(?<![A-Za-z])(?:pass|auth|otp|totp|sas)|(?-i:(?<=[a-z0-9])(?:Pass|Auth|Otp|Totp|Sas)))(?![A-Za-z0-9_.-])"
)
"""The name of a secret from the word on that makes it one; what is before the word does not matter."""
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
)
"""The only secret of several lines."""
_BETWEEN: Final = ("", "-", "_")
_WHOLE: Final = re.compile(
    "|".join(
        (
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # JSON Web Tokens
            r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",  # AWS
            r"\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bgithub_pat_[A-Za-z0-9_]{20,}\b",
            r"\bglpat-[A-Za-z0-9_-]{16,}",
            r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}|\bhttps://hooks\.slack\.com/[A-Za-z0-9/_-]+",
            r"\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{16,}",  # Google
            r"\bsk-[A-Za-z0-9_-]{16,}|\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}",  # models and payments
            r"\bhf_[A-Za-z0-9]{16,}\b|\bnpm_[A-Za-z0-9]{20,}\b|\bpypi-[A-Za-z0-9_-]{20,}|\bdckr_pat_[A-Za-z0-9_-]{16,}",
            r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        )
    )
)
"""Replaced as a whole."""
_AFTER: Final = re.compile(
    r"(?i)(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<url>://[^\s/:@\"']{0,200}:)[^\s/@\"']{1,500}(?=@)"
    r"|(?P<query>[?&](?:sig|signature|x-amz-signature|x-amz-security-token|x-amz-credential|x-goog-signature|code|key)=)"
    r"[^&\s\"']+"
)
"""The part in the group stays."""
_ASSIGNED: Final = re.compile(
    rf"(?i)(?P<before>(?P<name>(?:{_NAME}))\\?[\"']?\s{{0,4}}(?::=|=>|=|:)\s{{0,4}})"
    r"(?:(?P<open>\\?[\"'])(?P<quoted>(?:(?!(?P=open)).){0,4000})(?P=open)|(?P<bare>[^\s,;&\"'\\}\])]{1,4000}))"
)
"""``password=…``, ``"token": "…"``, ``API_KEY: …``."""
_HINTS: Final = (
    *(
        "token",
        "secret",
        "pass",
        "auth",
        "otp",
        "jwt",
        "sas",
        "webhook",
        "pwd",
        "authorization",
        "credential",
        "cookie",
        "dsn",
        "eyj",
        "://",
    ),
    *(
        f"{first}{between}key"
        for first in (
            *("private", "api", "access", "account", "signing", "session"),
            *("encryption", "decryption", "ssh", "master", "shared"),
        )
        for between in _BETWEEN
    ),
    *(f"connection{between}string" for between in _BETWEEN),
    *("bearer", "basic", "sig", "code=", "key=", "akia", "asia", "aroa", "aida", "gh", "glpat-", "xox", "aiza"),
    *("ya29.", "sk-", "k_live_", "k_test_", "hf_", "npm_", "pypi-", "dckr_pat_", "sg."),
)
"""In lower case: a line without any of them has no secret of a known form. To look for them is 30 times as fast."""
SHORTEST: Final = 6
"""Shorter values of secrets are not looked for elsewhere: they would be found in ordinary words."""
_MOST_VALUES: Final = 300


def is_secret_name(name: str) -> bool:
    """Whether a value under this name is taken for a secret."""
    plain = name.lower().replace("-", "").replace("_", "")
    return plain not in _HARMLESS and is_secret_key(name)


class SecretValues:
    """Values that were found under the name of a secret: they are secrets wherever they are."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def learn(self, value: str) -> None:
        """Values that look like no secret are left out: short ones, words, templates."""
        text = value.strip()
        if len(text) >= SHORTEST and "{{" not in text and len(self._values) < _MOST_VALUES and not _is_word(text):
            self._values.add(text)

    def hide(self, text: str) -> tuple[str, int]:
        """``text`` without these values, also where they are a part of JSON, and how many there were."""
        count = 0
        for form in sorted({form for value in self._values for form in _forms(value)}, key=len, reverse=True):
            if found := text.count(form):
                count += found
                text = text.replace(form, REDACTED)
        return text, count


def without_secrets(text: str, learn: Callable[[str], None] = lambda _: None) -> tuple[str, int]:
    """``text`` without secrets of a known form, and how many there were; ``learn`` gets values of assignments."""
    count = 0

    def whole(_: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return REDACTED

    def after(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return next(group for group in match.groups() if group is not None) + REDACTED

    def assigned(match: re.Match[str]) -> str:
        nonlocal count
        value = match["quoted"] if match["quoted"] is not None else match["bare"]
        if not _may_be_secret(match["name"], value):
            return match[0]
        count += 1
        learn(value)
        mark = match["open"] or ""
        return f"{match['before']}{mark}{REDACTED}{mark}"

    def line_without(line: str) -> str:
        lowered = line.lower()
        if not any(hint in lowered for hint in _HINTS):
            return line
        return _ASSIGNED.sub(assigned, _AFTER.sub(after, _WHOLE.sub(whole, line)))

    text = _PRIVATE_KEY.sub(whole, text)
    return "\n".join(map(line_without, text.split("\n"))), count


def _may_be_secret(name: str, value: str) -> bool:
    if not value or REDACTED in value or "{{" in value or not is_secret_name(name):
        return False
    if name.lower().endswith("tokens") and value.isdecimal():  # those of language models are counted
        return False
    return value.lower() not in ("true", "false", "null", "none")


def _is_word(text: str) -> bool:
    return text.isalpha() and text.islower() and len(text) < 12


def _forms(value: str) -> Iterable[str]:
    """The value as it is, in a URL, in Base64, and as a part of a JSON string."""
    yield value
    yield quote(value, safe="")
    yield b64encode(value.encode(errors="replace")).decode()
    for ascii_only in (True, False):
        yield json.dumps(value, ensure_ascii=ascii_only)[1:-1]
