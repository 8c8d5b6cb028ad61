"""Admission plugin: users may only grant permissions that they have, unless they may ``escalate`` or ``bind``.

Source: Kubernetes' RBAC escalation checks; the texts are those of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

import trio

from localcluster.server import errors
from localcluster.server.authz import GROUP, Attributes, Authorizer
from localcluster.server.identity import Identity
from localcluster.server.types import Object
from localcluster.server.writeport import AdmissionRequest

Rule = Mapping[str, Any]
_ROLES: Final = frozenset({"roles", "clusterroles"})
_BINDINGS: Final = frozenset({"rolebindings", "clusterrolebindings"})
_EVERYTHING: Final[Sequence[Rule]] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class EscalationGuard:
    """Compares the granted permissions with those of the granting user."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when the user has all permissions that the write grants.

        Raises:
            StatusError: 403, with the rules that the user lacks; 404, the role to be bound does not exist (only if the
                user's permissions have to be compared).
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        resource, obj = request.resource, request.obj
        if resource.group != GROUP or obj is None or request.user.unrestricted:
            return
        if resource.plural in _ROLES and not self._may(request, "escalate", resource.plural, request.name):
            granted = _EVERYTHING if obj.get("aggregationRule") else obj.get("rules") or ()
            self._check(request, granted)
        elif resource.plural in _BINDINGS:
            reference = obj.get("roleRef") or {}
            plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
            if not self._may(request, "bind", plural, reference.get("name", "")):
                rules = self._authorizer.rules_of_role(
                    reference.get("kind", ""), request.namespace or "", reference.get("name", "")
                )
                if rules is None:
                    raise errors.not_found(GROUP, plural, reference.get("name", ""))
                self._check(request, rules)

    def _may(self, request: AdmissionRequest, verb: str, plural: str, name: str) -> bool:
        wanted = Attributes(verb, GROUP, "v1", plural, request.namespace or "", name)
        return self._authorizer.allows(request.user, wanted)

    def _check(self, request: AdmissionRequest, granted: Sequence[Rule]) -> None:
        held = [rule for rule, _ in self._authorizer.rules_of(request.user, request.namespace or "")]
        missing = [rule for rule in granted if not covers(held, rule)]
        if missing:
            why = (
                f"user {_quoted(request.user.name)} (groups={_groups(request.user)}) is attempting to grant RBAC "
                "permissions not currently held:\n" + "\n".join(_shown(rule) for rule in missing)
            )
            raise errors.forbidden(GROUP, request.resource.plural, request.name, why)


def covers(held: Sequence[Rule], wanted: Rule) -> bool:
    """Whether each right of ``wanted`` is in one of the rules held."""
    verbs = wanted.get("verbs") or ()
    for verb, path in product(verbs, wanted.get("nonResourceURLs") or ()):
        if not any(_has(rule, "verbs", verb) and _has_path(rule, path) for rule in held):
            return False
    names = wanted.get("resourceNames") or ("",)
    rights = product(verbs, wanted.get("apiGroups") or (), wanted.get("resources") or (), names)
    return all(any(_holds(rule, *right) for rule in held) for right in rights)


def _holds(rule: Rule, verb: str, group: str, resource: str, name: str) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule, "verbs", verb)
        and _has(rule, "apiGroups", group)
        and _has_resource(rule.get("resources") or (), resource)
        and (not names or name in names)
    )


def _has(rule: Rule, field: str, value: str) -> bool:
    values = rule.get(field) or ()
    return value in values or "*" in values


def _has_resource(resources: Sequence[str], wanted: str) -> bool:
    _, slash, subresource = wanted.partition("/")
    return wanted in resources or "*" in resources or (bool(slash) and f"*/{subresource}" in resources)


def _has_path(rule: Rule, wanted: str) -> bool:
    for path in rule.get("nonResourceURLs") or ():
        if path in (wanted, "*") or (path.endswith("*") and wanted.rstrip("*").startswith(path[:-1])):
            return True
    return False


def _shown(rule: Rule) -> str:
    names = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs",
        "verbs": "Verbs",
    }
    parts = [f"{shown}:[{_list(rule[name])}]" for name, shown in names.items() if rule.get(name)]
    return "{" + ", ".join(parts) + "}"


def _list(values: Sequence[str]) -> str:
    return ", ".join(_quoted(value) for value in values)


def _groups(user: Identity) -> str:
    return "[" + " ".join(_quoted(group) for group in user.groups) + "]"


def _quoted(text: str) -> str:
    return f'"{text}"'
