"""Binding tokens: how the container of a step proves who it is, and of which generation.

A token is ``<binding>.g<generation>.<signature>``. The container receives it as the name of its binding, and repeats it
verbatim when it connects, so that SDKs that know nothing of tokens present one. The signature is an HMAC-SHA256 over
namespace, binding, the UID of the binding and the generation, with a key that only the hub and the operator have. So a
token needs no store, and ends with its binding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MIN_KEY_BYTES: Final = 32
_MAX_TEXT: Final = 512
_PURPOSE: Final = "bobrapet hub binding token v1"
_NAME: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_IDENTITY: Final = re.compile(
    rf"(?P<namespace>{_NAME})/(?P<binding>{_NAME})\.g(?P<generation>[1-9][0-9]{{0,9}})\.(?P<signature>[A-Za-z0-9_-]{{43}})"
)


class TokenError(ValueError):
    """The text is not a namespace with a binding token, or the key is unsuitable. The message says what is needed."""


@dataclass(frozen=True, slots=True)
class BindingIdentity:
    """What a client says about itself; believe it only after ``is_genuine``."""

    namespace: str
    binding: str
    generation: int
    signature: str


def issue_token(key: bytes, namespace: str, binding: str, uid: str, generation: int) -> str:
    """The token of one binding and generation.

    Raises:
        TokenError: the key is shorter than ``MIN_KEY_BYTES``, or the generation is not 1 to 9,999,999,999.
    """
    if not 1 <= generation < 10**10:
        raise TokenError(f"the generation must be 1 to 9,999,999,999; got {generation}")
    return f"{binding}.g{generation}.{_signature(key, namespace, binding, uid, generation)}"


def read_identity(text: str) -> BindingIdentity:
    """The parts of ``<namespace>/<token>``, not yet verified.

    Raises:
        TokenError: it does not have this form.
    """
    match = _IDENTITY.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise TokenError("the binding must be <namespace>/<binding>.g<generation>.<signature>")
    return BindingIdentity(match["namespace"], match["binding"], int(match["generation"]), match["signature"])


def is_genuine(identity: BindingIdentity, uid: str, keys: Iterable[bytes]) -> bool:
    """Whether one of ``keys`` signed ``identity`` for the binding with this UID.

    Several keys are valid while a key is exchanged. The time does not depend on which characters are wrong.
    """
    genuine = False
    for key in keys:
        expected = _signature(key, identity.namespace, identity.binding, uid, identity.generation)
        genuine |= hmac.compare_digest(expected, identity.signature)
    return genuine


def _signature(key: bytes, namespace: str, binding: str, uid: str, generation: int) -> str:
    if len(key) < MIN_KEY_BYTES:
        raise TokenError(f"the key must have at least {MIN_KEY_BYTES} bytes; got {len(key)}")
    signed = "\0".join((_PURPOSE, namespace, binding, uid, str(generation)))
    digest = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
