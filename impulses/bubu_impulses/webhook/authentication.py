"""Who may send events: requests signed with HMAC-SHA256, or with a bearer token. Pure.

Every comparison takes the same time whatever is wrong, and all secrets are tried, so that one can be replaced without a
gap. An event is signed over its body; in a GET request the target (``/triggers/name``) stands where the body stands in
an event, because a signature over nothing would be the same for all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bubu_impulses.webhook.messages import Request

_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID: Final = re.compile(r"[!-\-/-~]+", re.ASCII)
"""Visible letters but the full stop, which separates the id from what follows it: else one signature would be that of
several requests."""
_BEFORE_BASE64: Final = "whsec_"
_DIGITS: Final = 32
"""Of a digest in a key, which is a part of names that people read: 128 bits, to which nobody finds another body."""


class Scheme(StrEnum):
    """How a request shows that it comes from a trusted sender."""

    HMAC = "hmac"
    SLACK = "slack"
    STRIPE = "stripe"
    STANDARD = "standard"
    BEARER = "bearer"
    NONE = "none"


@dataclass(frozen=True)
class Facts:
    """All that is known about a scheme. Names of headers are as the sender documents them."""

    header: str
    """Where the signature or the token is, unless the configuration says it."""
    prefix: str
    """What stands before it, unless the configuration says it."""
    secret_key: str
    """Key of the Secret, unless the configuration says it."""
    signed: str | None = None
    """What is signed before the body, with ``{timestamp}`` and ``{id}``; ``None``: nothing is signed."""
    separator: str = ""
    """Between the parts of the header; each part with the prefix is a signature, and one that is right is enough."""
    timestamp_header: str = ""
    timestamp_prefix: str = ""
    """The timestamp is the part of the header with this prefix."""
    id_header: str = ""
    """The id of the event, the same whenever it is sent."""
    is_base64: bool = False
    """The signature is not hexadecimal, and a secret may be ``whsec_`` and Base64."""
    challenge: str = ""
    """``type`` of a body whose ``challenge`` the sender wants back before it sends events."""

    @property
    def has_timestamp(self) -> bool:
        return bool(self.timestamp_header or self.timestamp_prefix)

    @property
    def signed_headers(self) -> frozenset[str]:
        """Lower case."""
        return frozenset(name.lower() for name in (self.timestamp_header, self.id_header) if name)


FACTS: Final[Mapping[Scheme, Facts]] = {
    Scheme.HMAC: Facts("X-Hub-Signature-256", "sha256=", "secret", signed=""),
    Scheme.SLACK: Facts(
        "X-Slack-Signature",
        "v0=",
        "secret",
        signed="v0:{timestamp}:",
        timestamp_header="X-Slack-Request-Timestamp",
        challenge="url_verification",
    ),
    Scheme.STRIPE: Facts(
        "Stripe-Signature", "v1=", "secret", signed="{timestamp}.", separator=",", timestamp_prefix="t="
    ),
    Scheme.STANDARD: Facts(
        "webhook-signature",
        "v1,",
        "secret",
        signed="{id}.{timestamp}.",
        separator=" ",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        is_base64=True,
    ),
    Scheme.BEARER: Facts("Authorization", "Bearer ", "token"),
    Scheme.NONE: Facts("Authorization", "", ""),
}
"""GitHub's signature; https://docs.slack.dev/authentication/verifying-requests-from-slack;
https://docs.stripe.com/webhooks/signature; https://www.standardwebhooks.com."""


class UnauthenticatedError(Exception):
    """*sender*: the request does not come from a trusted sender; the message may be shown to anybody."""

    reason = "Unauthenticated"

    def __init__(self, message: str = "the credentials are missing or wrong") -> None:
        super().__init__(message)


class TimestampError(UnauthenticatedError):
    """*sender*: the request was signed too long ago, or will be signed in the future."""

    reason = "TimestampOutOfTolerance"


@dataclass(frozen=True)
class _Shown:
    """What the head of a request shows, in the right form."""

    signatures: tuple[str, ...]
    timestamp: str
    id: str


@dataclass(frozen=True, repr=False)
class Authentication:
    """The scheme with its secrets."""

    scheme: Scheme
    header: str
    """Lower case; it never reaches the inputs of a Story."""
    prefix: str
    """What stands before the signature or the token in the header."""
    secrets: tuple[bytes, ...]
    tolerance_seconds: float
    """How far a signed timestamp may be from the clock of this machine."""

    @property
    def facts(self) -> Facts:
        return FACTS[self.scheme]

    def check_head(self, request: Request, now: float) -> None:
        """Check what the head shows: the body is not read yet. ``now``: seconds since 1970.

        Raises:
            UnauthenticatedError: whatever the body is, the request is not to be trusted.
        """
        if self.facts.signed is None or request.method == "GET":
            self.check(request, now)
        else:
            self._check_time(self._shown(request), now)

    def check(self, request: Request, now: float) -> None:
        """Check a whole request. ``now``: seconds since 1970.

        Raises:
            UnauthenticatedError: it does not come from a trusted sender.
            TimestampError: it does, or does not, but its time is too far from ``now``.
        """
        if self.scheme is Scheme.NONE:
            return
        if self.facts.signed is None:
            shown = [_digest(self._after_prefix(request.headers.get(self.header, "")).encode(errors="replace"))]
            expected = [_digest(secret) for secret in self.secrets]
        else:
            head = self._shown(request)
            self._check_time(head, now)
            shown, signed = list(head.signatures), self._signed(request, head)
            expected = [self._signature(secret, signed) for secret in self.secrets]
        found = [hmac.compare_digest(one.encode(), each.encode()) for one in expected for each in shown]
        if not any(found):
            raise UnauthenticatedError

    def default_key(self, request: Request) -> str | None:
        """The key of an event if the configuration gives none, equal whenever it is sent; ``None`` without signatures.

        Not the digest of all that is signed: a sender that sends an event again signs it with another timestamp.
        """
        if self.facts.signed is None:
            return None
        if self.facts.id_header:
            return request.headers[self.facts.id_header.lower()].strip()
        return hashlib.sha256(request.body).hexdigest()[:_DIGITS]

    def challenge(self, body: Any) -> str | None:
        """What the sender wants back before it sends events; ``None`` for events."""
        if not self.facts.challenge or not isinstance(body, dict) or body.get("type") != self.facts.challenge:
            return None
        given = body.get("challenge")
        return given if isinstance(given, str) else None

    def without_credentials(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that templates may read."""
        hidden = {self.header, "authorization", "proxy-authorization", "cookie"}
        return {name: value for name, value in headers.items() if name not in hidden}

    def _shown(self, request: Request) -> _Shown:
        facts, given = self.facts, request.headers.get(self.header, "")
        parts = [part.strip() for part in (given.split(facts.separator) if facts.separator else [given])]
        form = _BASE64 if facts.is_base64 else _HEX
        texts = [text for part in parts if form.fullmatch(text := self._after_prefix(part))]
        if not texts:
            raise UnauthenticatedError
        timestamp = request.headers.get(facts.timestamp_header.lower(), "").strip()
        if facts.timestamp_prefix:
            mark = facts.timestamp_prefix
            times = [part.removeprefix(mark) for part in parts if part.startswith(mark)]
            timestamp = times[0] if len(times) == 1 else ""
        if facts.has_timestamp and not _TIMESTAMP.fullmatch(timestamp):
            raise UnauthenticatedError("the signed timestamp is missing, or is not a number of seconds since 1970")
        id_ = request.headers.get(facts.id_header.lower(), "").strip()
        if facts.id_header and not _ID.fullmatch(id_):
            raise UnauthenticatedError(f"{facts.id_header} is missing, or has a blank or a full stop")
        return _Shown(tuple(text if facts.is_base64 else text.lower() for text in texts), timestamp, id_)

    def _after_prefix(self, text: str) -> str:
        """The signature or the token; empty without the prefix."""
        return text[len(self.prefix) :].strip() if text[: len(self.prefix)].lower() == self.prefix.lower() else ""

    def _check_time(self, shown: _Shown, now: float) -> None:
        if not self.facts.has_timestamp:
            return
        age = now - int(shown.timestamp)
        if abs(age) > self.tolerance_seconds:
            side = "ago" if age > 0 else "in the future"
            raise TimestampError(
                f"the request was signed {abs(age):.0f} s {side} by the clock of this receiver, which accepts "
                f"{self.tolerance_seconds:g} s"
            )

    def _signed(self, request: Request, shown: _Shown) -> bytes:
        before = (self.facts.signed or "").format(timestamp=shown.timestamp, id=shown.id)
        what = request.target.encode(errors="replace") if request.method == "GET" else request.body
        return before.encode() + what

    def _signature(self, secret: bytes, signed: bytes) -> str:
        digest = hmac.digest(secret, signed, "sha256")
        return base64.b64encode(digest).decode() if self.facts.is_base64 else digest.hex()


def signature(secret: str, signed: bytes) -> str:
    """The hexadecimal HMAC-SHA256 of ``signed``."""
    return hmac.digest(secret.encode(), signed, "sha256").hex()


def secret_bytes(scheme: Scheme, text: str) -> bytes:
    """The key of signatures, as the senders of ``scheme`` write it.

    Raises:
        ValueError: it begins with ``whsec_``, and Base64 does not follow; the message does not show it.
    """
    if not FACTS[scheme].is_base64 or not text.startswith(_BEFORE_BASE64):
        return text.encode()
    try:
        decoded = base64.b64decode(text.removeprefix(_BEFORE_BASE64), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError(f"after {_BEFORE_BASE64} there must be Base64")
    return decoded


def _digest(secret: bytes) -> str:
    """Of equal length for all texts, so that a comparison tells nothing about the length of the secret."""
    return hashlib.sha256(secret).hexdigest()
