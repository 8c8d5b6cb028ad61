"""Who may send events: requests signed with HMAC-SHA256, or with a bearer token. Pure.

Every comparison takes the same time whatever is wrong, and all secrets are tried, so that one can be replaced without a
gap. An event is signed over its body, as GitHub does it; a GET request is signed over its target (``/triggers/name``),
because a signature over nothing would be the same for all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bubu_impulses.webhook.messages import Request

_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{64}")


class Scheme(StrEnum):
    """How a request shows that it comes from a trusted sender."""

    HMAC = "hmac"
    BEARER = "bearer"
    NONE = "none"


@dataclass(frozen=True, repr=False)
class Authentication:
    """The scheme with its secrets."""

    scheme: Scheme
    header: str
    """Lower case; it never reaches the inputs of a Story."""
    prefix: str
    """What stands before the signature or the token in the header."""
    secrets: tuple[str, ...]

    def may_admit(self, request: Request) -> bool:
        """Whether the request may come from a trusted sender, as far as its headers show: the body is not read yet."""
        if self.scheme is Scheme.HMAC and request.method != "GET":
            return _SIGNATURE.fullmatch(self._shown(request)) is not None
        return self.admits(request)

    def admits(self, request: Request) -> bool:
        """Whether the request comes from a trusted sender."""
        if self.scheme is Scheme.NONE:
            return True
        shown = self._shown(request)
        if self.scheme is Scheme.HMAC:
            signed = request.target.encode(errors="replace") if request.method == "GET" else request.body
            expected = [signature(secret, signed) for secret in self.secrets]
        else:
            shown, expected = _digest(shown), [_digest(secret) for secret in self.secrets]
        shown = shown.lower()
        found = [hmac.compare_digest(shown.encode(errors="replace"), one.encode()) for one in expected]
        return any(found)

    def _shown(self, request: Request) -> str:
        """The signature or the token; empty without one."""
        given = request.headers.get(self.header, "")
        return given[len(self.prefix) :].strip() if given[: len(self.prefix)].lower() == self.prefix.lower() else ""

    def without_credentials(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that templates may read."""
        hidden = {self.header, "authorization", "proxy-authorization", "cookie"}
        return {name: value for name, value in headers.items() if name not in hidden}


def signature(secret: str, signed: bytes) -> str:
    """The hexadecimal HMAC-SHA256 of ``signed``."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _digest(text: str) -> str:
    """Of equal length for all texts, so that a comparison tells nothing about the length of the secret."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
