"""Service-account tokens: signed, for stated audiences, valid while the account and, if asked, a Pod or Secret exist.

ES256 JSON Web Tokens with the claims of a real cluster. The key is in the storage's settings, so tokens survive a
restart of the server, and other clusters do not accept them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from localcluster.server.storage import Storage

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
AUDIENCE: Final = ISSUER
MIN_LIFETIME_SECONDS: Final = 600
MAX_LIFETIME_SECONDS: Final = 1 << 32
DEFAULT_LIFETIME_SECONDS: Final = 3600

_KEY_SETTING: Final = "service-account-signing-key"
_COORDINATE_BYTES: Final = 32


class InvalidTokenError(Exception):
    """Not a token of this cluster, or not valid now; the text says why and contains no secret."""


@dataclass(frozen=True)
class BoundObject:
    """The object whose end also ends the token: a Pod, Secret or Node."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Claims:
    """The content of a valid token."""

    namespace: str
    account: str
    account_uid: str
    bound: BoundObject | None
    audiences: tuple[str, ...]
    expires_at: int
    """Seconds since the epoch."""
    token_id: str


class TokenIssuer:
    """Signs and reads tokens. The authenticator checks whether account and bound object still exist."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        raw = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(raw)
        self._key_id = _encoded(digest.finalize())

    @classmethod
    def load(cls, storage: Storage) -> TokenIssuer:
        """The issuer of this storage; creates its key on first use."""
        pem = storage.setting(_KEY_SETTING)
        if pem is None:
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            storage.set_setting(_KEY_SETTING, pem)
        loaded = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("the stored token signing key is not an elliptic-curve key")
        return cls(loaded)

    def issue(
        self,
        namespace: str,
        account: str,
        account_uid: str,
        *,
        audiences: tuple[str, ...],
        issued_at: datetime,
        expires_at: datetime,
        bound: BoundObject | None = None,
    ) -> str:
        """A signed token."""
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": account_uid},
        }
        if bound is not None:
            private[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        issued = int(issued_at.timestamp())
        claims = {
            "aud": list(audiences),
            "exp": int(expires_at.timestamp()),
            "iat": issued,
            "iss": ISSUER,
            "jti": str(uuid4()),
            "kubernetes.io": private,
            "nbf": issued,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        header = {"alg": "ES256", "kid": self._key_id}
        signed = f"{_encoded(orjson.dumps(header))}.{_encoded(orjson.dumps(claims))}"
        first, second = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = first.to_bytes(_COORDINATE_BYTES, "big") + second.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed}.{_encoded(signature)}"

    def read(self, token: str, now: datetime, audiences: tuple[str, ...] = (AUDIENCE,)) -> Claims:
        """The claims of a token that is ours, valid at ``now`` and for one of ``audiences``.

        Raises:
            InvalidTokenError: it is not.
        """
        fields = self._verified(token)
        seconds = int(now.timestamp())
        if not isinstance(fields.get("exp"), int) or fields["exp"] <= seconds:
            raise InvalidTokenError("the token has expired")
        if fields.get("nbf", 0) > seconds + 60:
            raise InvalidTokenError("the token is not valid yet")
        if fields.get("iss") != ISSUER:
            raise InvalidTokenError("the token was issued by another issuer")
        meant_for = tuple(audience for audience in fields.get("aud", ()) if audience in audiences)
        if not meant_for:
            raise InvalidTokenError("the token is meant for other audiences")
        private = fields["kubernetes.io"]
        account = private["serviceaccount"]
        return Claims(
            namespace=private["namespace"],
            account=account["name"],
            account_uid=account["uid"],
            bound=_bound(private),
            audiences=meant_for,
            expires_at=fields["exp"],
            token_id=fields.get("jti", ""),
        )

    def _verified(self, token: str) -> Mapping[str, Any]:
        parts = token.split(".")
        if len(parts) != 3:
            raise InvalidTokenError("not a JSON Web Token")
        try:
            header = orjson.loads(_decoded(parts[0]))
            signature = _decoded(parts[2])
            fields = orjson.loads(_decoded(parts[1]))
        except (binascii.Error, ValueError) as error:
            raise InvalidTokenError("a part of the token cannot be decoded") from error
        if not isinstance(header, dict) or header.get("alg") != "ES256" or len(signature) != 2 * _COORDINATE_BYTES:
            raise InvalidTokenError("the token is not signed with ES256")
        numbers = (
            int.from_bytes(signature[:_COORDINATE_BYTES], "big"),
            int.from_bytes(signature[_COORDINATE_BYTES:], "big"),
        )
        try:
            signed = f"{parts[0]}.{parts[1]}".encode()
            self._public.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise InvalidTokenError("the token is signed with another key") from None
        if not isinstance(fields, dict):
            raise InvalidTokenError("the token carries no claims")
        return fields


Exists = Callable[[str, str, str, str], bool]
"""Whether an object of a core kind (plural, namespace, name) with this uid is stored."""


def is_live(claims: Claims, exists: Exists) -> bool:
    """Whether the account, and the object to which the token is bound, still exist with the same UIDs."""
    if not exists("serviceaccounts", claims.namespace, claims.account, claims.account_uid):
        return False
    bound = claims.bound
    return bound is None or exists(f"{bound.kind.lower()}s", claims.namespace, bound.name, bound.uid)


def _bound(private: Mapping[str, Any]) -> BoundObject | None:
    for kind in ("Pod", "Secret", "Node"):
        if found := private.get(kind.lower()):
            return BoundObject(kind, found["name"], found["uid"])
    return None


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
