"""The user of a request: bearer tokens of administrators and service accounts, or anonymous; impersonation.

A verified service-account token is remembered until it expires; each request checks again that its account exists.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from localcluster.clock import Now
from localcluster.server import errors, tokens
from localcluster.server.identity import ANONYMOUS, AUTHENTICATED, SERVICE_ACCOUNTS, Identity, service_account
from localcluster.server.request import Request
from localcluster.server.store import Store, object_key
from localcluster.server.tokens import Claims, InvalidTokenError, TokenIssuer

_EXTRA_HEADER: Final = "impersonate-extra-"
"""The prefix of the header; the key follows, URL-encoded, because it may contain a slash."""
_REMEMBERED_TOKENS: Final = 1024
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"


class Authenticator:
    """Turns credentials into identities."""

    def __init__(self, store: Store, issuer: TokenIssuer, admins: Mapping[str, Identity], now: Now) -> None:
        """``admins`` maps static bearer tokens to identities."""
        self._store = store
        self._issuer = issuer
        self._admins = dict(admins)
        self._now = now
        self._verified: dict[str, Claims] = {}

    def authenticate(self, request: Request) -> Identity:
        """The identity behind a request; ``ANONYMOUS`` when it carries no credentials.

        Raises:
            StatusError: 401, the credentials are not valid.
        """
        header = request.headers.get("authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise errors.unauthorized()
        try:
            return self.identity_of(token.strip())
        except InvalidTokenError:
            raise errors.unauthorized() from None

    def identity_of(self, token: str, audiences: tuple[str, ...] = (tokens.AUDIENCE,)) -> Identity:
        """The identity for a bearer token.

        Raises:
            InvalidTokenError: the token is not valid.
        """
        for known, identity in self._admins.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return identity
        claims = self._claims(token, audiences, self._now())
        if not tokens.is_live(claims, self._exists):
            raise InvalidTokenError("the service account, or the object that the token is bound to, was deleted")
        extra = {_CREDENTIAL_ID: (f"JTI={claims.token_id}",)}
        if claims.bound is not None and claims.bound.kind == "Pod":
            extra |= {_POD_NAME: (claims.bound.name,), _POD_UID: (claims.bound.uid,)}
        return service_account(claims.namespace, claims.account, claims.account_uid, extra)

    def _claims(self, token: str, audiences: tuple[str, ...], now: datetime) -> Claims:
        claims = self._verified.get(token)
        if claims is not None and claims.expires_at > now.timestamp() and set(claims.audiences) & set(audiences):
            return claims
        claims = self._issuer.read(token, now, audiences)
        if len(self._verified) >= _REMEMBERED_TOKENS:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _exists(self, plural: str, namespace: str, name: str, uid: str) -> bool:
        key = object_key(None if plural == "nodes" else namespace, name)
        stored = self._store.collection(f"/{plural}").get(key)
        return stored is not None and stored.object["metadata"].get("uid") == uid


def wanted_identity(request: Request) -> Identity | None:
    """The identity that the ``Impersonate-…`` headers ask for; None without them.

    Raises:
        StatusError: 400, groups or extras are impersonated without a user.
    """
    name = request.headers.get("impersonate-user", "")
    groups = tuple(group.strip() for group in request.headers.get("impersonate-group", "").split("\n") if group.strip())
    extra = {
        unquote(header.removeprefix(_EXTRA_HEADER)).lower(): tuple(text.strip() for text in values.split("\n"))
        for header, values in request.headers.items()
        if header.startswith(_EXTRA_HEADER)
    }
    if not name:
        if groups or extra or "impersonate-uid" in request.headers:
            raise errors.bad_request("requested impersonation of groups, a uid or extras without impersonating a user")
        return None
    if name.startswith("system:serviceaccount:") and name.count(":") == 3:
        _, _, namespace, _ = name.split(":")
        groups = groups or (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")
    if name != ANONYMOUS.name and AUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return Identity(name, groups, request.headers.get("impersonate-uid", ""), extra)
