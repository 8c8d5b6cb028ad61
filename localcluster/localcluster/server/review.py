"""Reviews: virtual objects that clients create to get an answer; they are never stored.

The authorizer of requests also answers access reviews; the authenticator also answers token reviews.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcluster.clock import Now, to_time
from localcluster.server import cause, errors, tokens
from localcluster.server.authn import Authenticator
from localcluster.server.authz import Attributes, Authorizer
from localcluster.server.identity import Identity
from localcluster.server.tokens import InvalidTokenError
from localcluster.server.types import Object, ResourceType


class Reviews:
    """Answers every kind of review."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, now: Now) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._now = now

    def answer(self, resource: ResourceType, review: Object, user: Identity) -> Object:
        """``review`` with its status filled in.

        Raises:
            StatusError: 422, its spec asks for nothing or for too much.
        """
        metadata: Object = review.get("metadata") or {}
        if resource.plural == "selfsubjectreviews":
            metadata = {**metadata, "creationTimestamp": to_time(self._now())}
        answered = {**review, "kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        spec = review.get("spec") or {}
        match resource.plural:
            case "selfsubjectreviews":
                answered["status"] = {"userInfo": user.to_user_info()}
            case "selfsubjectaccessreviews":
                answered["status"] = self._access(user, _attributes(spec, resource))
            case "selfsubjectrulesreviews":
                answered["status"] = self._rules(user, spec.get("namespace", ""))
            case "subjectaccessreviews":
                answered["status"] = self._access(_subject(spec, resource), _attributes(spec, resource))
            case "tokenreviews":
                answered["status"] = self._token(spec)
            case other:
                raise errors.unsupported(f"reviews of kind {other} are not served by a local cluster")
        return answered

    def _access(self, user: Identity, wanted: Attributes) -> Object:
        reason = self._authorizer.reason(user, wanted)
        if reason is None:
            return {"allowed": False}
        return {"allowed": True, "reason": reason} if reason else {"allowed": True}

    def _rules(self, user: Identity, namespace: str) -> Object:
        rules = [rule for rule, _ in self._authorizer.rules_of(user, namespace)]
        if user.unrestricted:
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            rules = [everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        names = ("verbs", "apiGroups", "resources", "resourceNames")
        return {
            "resourceRules": [_picked(rule, names) for rule in rules if rule.get("resources")],
            "nonResourceRules": [
                _picked(rule, ("verbs", "nonResourceURLs")) for rule in rules if rule.get("nonResourceURLs")
            ],
            "incomplete": False,
        }

    def _token(self, spec: Object) -> Object:
        audiences = tuple(spec.get("audiences") or (tokens.AUDIENCE,))
        try:
            user = self._authenticator.identity_of(spec.get("token", ""), audiences)
        except InvalidTokenError as error:
            return {"authenticated": False, "user": {}, "error": f"[invalid bearer token, {error}]"}
        return {"authenticated": True, "user": user.to_user_info(), "audiences": list(audiences)}


def _attributes(spec: Object, resource: ResourceType) -> Attributes:
    asked: Object = spec.get("resourceAttributes") or {}
    path: Object = spec.get("nonResourceAttributes") or {}
    if bool(asked) == bool(path):
        problem = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise errors.invalid(resource.group, resource.kind, "", [cause.invalid("spec", None, problem)])
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    name = asked.get("resource", "")
    if asked.get("subresource"):
        name = f"{name}/{asked['subresource']}"
    return Attributes(
        verb=asked.get("verb", ""),
        group=asked.get("group", ""),
        version=asked.get("version", ""),
        resource=name,
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
    )


def _subject(spec: Object, resource: ResourceType) -> Identity:
    if not spec.get("user") and not spec.get("groups"):
        problem = "at least one of user or group must be specified"
        raise errors.invalid(resource.group, resource.kind, "", [cause.invalid("spec.user", "", problem)])
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return Identity(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _picked(rule: Mapping[str, Any], names: tuple[str, ...]) -> Object:
    return {name: list(rule[name]) for name in names if rule.get(name)}
