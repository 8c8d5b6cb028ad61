"""Who may do what: RBAC, read from the stored roles and bindings.

Pure, except that it reads the store. Decisions are remembered until a role or binding changes. Members of
``system:masters`` may do everything. Source: Kubernetes RBAC; aggregated ClusterRoles are resolved when they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localcluster.server import errors, selectors
from localcluster.server.identity import Identity
from localcluster.server.request import Request
from localcluster.server.store import Store
from localcluster.server.types import Object
from localcluster.server.watchcache import Change

GROUP: Final = "rbac.authorization.k8s.io"
_REMEMBERED_DECISIONS: Final = 8192

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Attributes:
    """An action to authorize: a verb on a resource (such as ``pods/log``), or on a path when ``resource`` is empty."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @classmethod
    def of(cls, request: Request) -> Attributes:
        """The action of a request."""
        route = request.route
        if not route.is_resource:
            return cls(request.verb, path=request.path)
        resource = f"{route.plural}/{route.subresource}" if route.subresource else route.plural
        name = route.name or _selected_name(request)
        namespace = route.namespace or (route.name if route.plural == "namespaces" and not route.group else "") or ""
        return cls(request.verb, route.group, route.version, resource, namespace, name)


class Authorizer:
    """Decides whether a user may do something, and lists what a user may do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], str | None] = {}
        store.listen(self._on_change)

    def allows(self, user: Identity, wanted: Attributes) -> bool:
        return self.reason(user, wanted) is not None

    def reason(self, user: Identity, wanted: Attributes) -> str | None:
        """The binding that allows it, in the real server's words; None when no binding does."""
        if user.unrestricted:
            return ""
        key = (user.name, user.groups, wanted)
        if key not in self._decisions:
            if len(self._decisions) >= _REMEMBERED_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = self._decide(user, wanted)
        return self._decisions[key]

    def check(self, user: Identity, wanted: Attributes) -> None:
        """Return when the action is allowed.

        Raises:
            StatusError: 403, with the message of the real server.
        """
        if not self.allows(user, wanted):
            raise denied(user, wanted)

    def rules_of(self, user: Identity, namespace: str) -> Iterator[tuple[Rule, str]]:
        """Every rule for the user in a namespace ("" for cluster-wide), each with its binding."""
        for binding in self._bindings("clusterrolebindings", ""):
            if subject := _subject_of(binding, user, ""):
                source = f'ClusterRoleBinding "{binding["metadata"]["name"]}" of {_role_of(binding)} to {subject}'
                for rule in self._role_rules(binding, ""):
                    yield rule, source
        if namespace:
            for binding in self._bindings("rolebindings", namespace):
                if subject := _subject_of(binding, user, namespace):
                    name = f'"{binding["metadata"]["name"]}/{namespace}"'
                    source = f"RoleBinding {name} of {_role_of(binding)} to {subject}"
                    for rule in self._role_rules(binding, namespace):
                        yield rule, source

    def rules_of_role(self, kind: str, namespace: str, name: str) -> Sequence[Rule] | None:
        """The rules of a stored Role or ClusterRole; None when it does not exist."""
        binding = {"roleRef": {"kind": kind, "name": name}}
        return None if self._stored_role(binding, namespace) is None else list(self._role_rules(binding, namespace))

    def _decide(self, user: Identity, wanted: Attributes) -> str | None:
        for rule, source in self.rules_of(user, wanted.namespace):
            if rule_allows(rule, wanted):
                return f"RBAC: allowed by {source}"
        return None

    def _bindings(self, plural: str, namespace: str) -> Iterator[Object]:
        for stored in self._store.collection(f"{GROUP}/{plural}").select(namespace or None):
            yield stored.object

    def _role_rules(self, binding: Object, namespace: str) -> Iterator[Rule]:
        role = self._stored_role(binding, namespace)
        if role is None:
            return
        aggregation = role.get("aggregationRule")
        if aggregation:
            yield from self._aggregated(aggregation)
        else:
            yield from role.get("rules") or ()

    def _stored_role(self, binding: Object, namespace: str) -> Object | None:
        reference = binding.get("roleRef") or {}
        if reference.get("kind") == "Role":
            stored = self._store.collection(f"{GROUP}/roles").get(f"{namespace}/{reference.get('name')}")
        else:
            stored = self._store.collection(f"{GROUP}/clusterroles").get(reference.get("name", ""))
        return None if stored is None else stored.object

    def _aggregated(self, aggregation: Object) -> Iterator[Rule]:
        for selector in aggregation.get("clusterRoleSelectors") or ():
            matches = selectors.label_selector_predicate(selector)
            for stored in self._store.collection(f"{GROUP}/clusterroles").select():
                role = stored.object
                if not role.get("aggregationRule") and matches(role["metadata"].get("labels") or {}):
                    yield from role.get("rules") or ()

    def _on_change(self, collection: str, change: Change) -> None:
        if collection.startswith(f"{GROUP}/"):
            self._decisions.clear()


def rule_allows(rule: Rule, wanted: Attributes) -> bool:
    """Whether one RBAC rule grants the action."""
    verbs = rule.get("verbs") or ()
    if wanted.verb not in verbs and "*" not in verbs:
        return False
    if not wanted.resource:
        return any(_path_matches(pattern, wanted.path) for pattern in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if wanted.group not in groups and "*" not in groups:
        return False
    if not _resource_matches(rule.get("resources") or (), wanted.resource):
        return False
    names = rule.get("resourceNames") or ()
    return not names or wanted.name in names


def denied(user: Identity, wanted: Attributes) -> errors.StatusError:
    """The refusal for a user who lacks the right, with the message of the real server."""
    if not wanted.resource:
        why = f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        return errors.forbidden("", "", "", why)
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {wanted.verb} resource "{wanted.resource}" in API group "{wanted.group}" {where}'
    return errors.forbidden(wanted.group, wanted.resource.partition("/")[0], wanted.name, why)


def _subject_of(binding: Object, user: Identity, namespace: str) -> str:
    """The subject of a binding that matches the user, as text; empty when none matches."""
    for subject in binding.get("subjects") or ():
        name = subject.get("name")
        match subject.get("kind"):
            case "User" if name == user.name:
                return f'User "{name}"'
            case "Group" if name in user.groups:
                return f'Group "{name}"'
            case "ServiceAccount":
                home = subject.get("namespace") or namespace
                if user.name == f"system:serviceaccount:{home}:{name}":
                    return f'ServiceAccount "{name}/{home}"'
            case _:
                continue
    return ""


def _role_of(binding: Object) -> str:
    reference = binding.get("roleRef") or {}
    return f'{reference.get("kind")} "{reference.get("name")}"'


def _resource_matches(resources: Sequence[str], wanted: str) -> bool:
    if wanted in resources or "*" in resources:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _selected_name(request: Request) -> str:
    """The name in the field selector: a list or watch of one name counts as access to that name."""
    if request.verb in ("list", "watch", "deletecollection"):
        return selectors.exact_name(request.query.get("fieldSelector", "")) or ""
    return ""
