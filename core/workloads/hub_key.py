"""The Secret with the keys that sign binding tokens: written by the operator, read by the hub. Pure but for randomness.

Its entry ``keys`` has a key in each line. The first one signs, all are accepted: to exchange a key, write the new one
above the old one, and remove the old one when no container has a token of it any more.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Final

from core.api import keys
from core.api.objects import Object
from core.workloads.binding_token import MIN_KEY_BYTES

HUB_KEY_SECRET: Final = "bobrapet-hub-key"  # noqa: S105 - a name, not a secret
KEYS_ENTRY: Final = "keys"
_KEY_BYTES: Final = 32
_HUB: Final = "hub"


class HubKeyError(ValueError):
    """There is no usable key. The message says what must be there; it never contains a part of a key."""


def new_hub_key() -> str:
    """A random key, in characters that fit into one line."""
    return secrets.token_hex(_KEY_BYTES)


def hub_key_secret(namespace: str, key: str) -> Object:
    """The manifest of the Secret with one key."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": HUB_KEY_SECRET,
            "namespace": namespace,
            "labels": {keys.LABEL_APP_NAME: "bobrapet", keys.LABEL_APP_COMPONENT: _HUB},
        },
        "data": {KEYS_ENTRY: base64.b64encode(f"{key}\n".encode()).decode()},
    }


def keys_of_secret(secret: Object) -> tuple[bytes, ...]:
    """The keys of a stored Secret, the one that signs first.

    Raises:
        HubKeyError: the entry is missing or damaged, has no key, or one is too short.
    """
    data = secret.get("data")
    encoded = data.get(KEYS_ENTRY) if isinstance(data, dict) else None
    if not isinstance(encoded, str):
        raise HubKeyError(f"the Secret must have the entry {KEYS_ENTRY}, with a key in each line")
    try:
        return parse_keys(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, HubKeyError):
            raise
        raise HubKeyError(f"the entry {KEYS_ENTRY} must be base64") from None


def parse_keys(text: bytes) -> tuple[bytes, ...]:
    """The keys in ``text``, one in each line; blank lines do not count.

    Raises:
        HubKeyError: there is none, or one is too short.
    """
    found = tuple(line.strip() for line in text.split(b"\n") if line.strip())
    if not found:
        raise HubKeyError("there is no key; write one key in each line, for example from `openssl rand -hex 32`")
    if any(len(key) < MIN_KEY_BYTES for key in found):
        raise HubKeyError(f"each key must have at least {MIN_KEY_BYTES} characters")
    return found
