"""The other objects that a validator may read: a small port, and its in-memory adapter.

The server answers from synced informer caches, lint from its files, tests from a list. All look-ups are synchronous; a
look-up that must wait does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, Protocol

from core.api.objects import ReadOnlyObject
from core.api.resource import REFERENCE_GRANT, Resource
from core.policy.settings import CrossNamespacePolicy, OperatorSettings


class Unseen(Enum):
    """Why there is no object to read."""

    MISSING = "missing"
    """The object does not exist."""
    UNKNOWN = "unknown"
    """It is unknown whether the object exists; checks that depend on it are left out."""


class ClusterView(Protocol):
    """The known objects of the cluster, read-only."""

    @property
    def settings(self) -> OperatorSettings:
        """The settings in force, for their limits."""

    @property
    def policy(self) -> CrossNamespacePolicy | Unseen:
        """The policy for references to other namespaces; ``UNKNOWN`` if the operator's configuration is unknown."""

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        """An object; ``namespace`` is empty for cluster-scoped kinds. Validators read only the metadata of a Secret."""

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        """The ReferenceGrants of a namespace."""


class InMemoryView:
    """A view of given objects.

    Args:
        objects: objects of any kind, as on the wire; ``namespace`` is assumed for those without a namespace.
        settings: the operator's settings; ``None`` if unknown: then limits are the built-in ones, and the policy is
            unknown.
        complete: whether these are all objects; if not, an object that is not among them is unknown and not missing.
        namespace: namespace of the objects that have none.
    """

    def __init__(
        self,
        objects: Iterable[ReadOnlyObject] = (),
        *,
        settings: OperatorSettings | None = None,
        complete: bool = True,
        namespace: str = "",
    ) -> None:
        self._settings = settings
        self._unseen: Final = Unseen.MISSING if complete else Unseen.UNKNOWN
        self._namespace = namespace
        self._objects: dict[tuple[str, str, str, str], ReadOnlyObject] = {}
        for found in objects:
            metadata = found.get("metadata") or {}
            group, _, _ = str(found.get("apiVersion") or "").rpartition("/")
            place = str(metadata.get("namespace") or namespace)
            self._objects[group, str(found.get("kind")), place, str(metadata.get("name") or "")] = found

    @property
    def settings(self) -> OperatorSettings:
        return self._settings or OperatorSettings()

    @property
    def policy(self) -> CrossNamespacePolicy | Unseen:
        return self._settings.cross_namespace_policy if self._settings else Unseen.UNKNOWN

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        places = (namespace or self._namespace,) if resource.namespaced else ("", self._namespace)
        keys = ((resource.group, resource.kind, place, name) for place in places)
        return next((self._objects[key] for key in keys if key in self._objects), self._unseen)

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        wanted = (REFERENCE_GRANT.group, REFERENCE_GRANT.kind, namespace)
        return [found for key, found in self._objects.items() if key[:3] == wanted]
