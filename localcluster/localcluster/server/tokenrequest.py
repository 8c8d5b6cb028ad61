"""The ``token`` subresource of service accounts: issues short-lived tokens on request.

Source: kube-apiserver's TokenRequest; a lifetime below ten minutes is refused.
"""

from __future__ import annotations

from datetime import timedelta

from localcluster.clock import Now, to_time
from localcluster.server import cause, errors, tokens
from localcluster.server.registry import Registry
from localcluster.server.tokens import BoundObject, TokenIssuer
from localcluster.server.types import Object, ResourceType

_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class TokenRequests:
    """Issues tokens for stored service accounts."""

    def __init__(self, registry: Registry, issuer: TokenIssuer, now: Now) -> None:
        self._registry = registry
        self._issuer = issuer
        self._now = now

    async def answer(self, resource: ResourceType, namespace: str | None, name: str, request: Object) -> Object:
        """The TokenRequest with its token.

        Raises:
            StatusError: 404, the account or bound object does not exist; 422, the lifetime is too short, or a token
                cannot be bound to an object of that kind; 409, the bound object has another UID.
        """
        account = await self._registry.get(resource, namespace, name)
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or tokens.DEFAULT_LIFETIME_SECONDS
        if seconds < tokens.MIN_LIFETIME_SECONDS:
            why = cause.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            raise errors.invalid("authentication.k8s.io", "TokenRequest", "", [why])
        if seconds > tokens.MAX_LIFETIME_SECONDS:
            why = cause.invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
            )
            raise errors.invalid("authentication.k8s.io", "TokenRequest", "", [why])
        now = self._now()
        expires_at = now + timedelta(seconds=seconds)
        audiences = tuple(spec.get("audiences") or (tokens.AUDIENCE,))
        token = self._issuer.issue(
            account["metadata"]["namespace"],
            name,
            account["metadata"]["uid"],
            audiences=audiences,
            issued_at=now,
            expires_at=expires_at,
            bound=await self._bound(namespace, spec.get("boundObjectRef")),
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": to_time(now)},
            "spec": {**spec, "audiences": list(audiences), "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": to_time(expires_at)},
        }

    async def _bound(self, namespace: str | None, reference: Object | None) -> BoundObject | None:
        if not reference:
            return None
        kind = reference.get("kind", "")
        plural = _BINDABLE.get(kind)
        resource = self._registry.find("", "v1", plural) if plural else None
        if resource is None:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount to object type "{kind}"; use Pod, Secret or Node'
            )
        found = await self._registry.get(
            resource, namespace if resource.namespaced else None, reference.get("name", "")
        )
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise errors.conflict("", resource.plural, reference.get("name", ""), why)
        return BoundObject(kind, reference.get("name", ""), uid)
