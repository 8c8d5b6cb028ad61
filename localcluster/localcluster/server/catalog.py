"""The resource types that the server serves now: built-in ones and those of established CustomResourceDefinitions.

Pure bookkeeping; crds.py decides which types are registered, and when.
"""

from __future__ import annotations

from collections.abc import Iterable

from localcluster.server.builtin import BUILTIN
from localcluster.server.types import ResourceType


class Catalog:
    """Finds a resource type by URL (group, version, plural) or by kind; each is unique."""

    def __init__(self, builtin: Iterable[ResourceType] = BUILTIN) -> None:
        self._by_plural: dict[tuple[str, str, str], ResourceType] = {}
        self._by_kind: dict[tuple[str, str, str], ResourceType] = {}
        self._all: tuple[ResourceType, ...] = ()
        self.generation = 0
        """Rises with every change, so that discovery and OpenAPI documents can be cached."""
        self._replace((), builtin)

    def types(self) -> tuple[ResourceType, ...]:
        """Every served type: built-in ones first, then custom ones in the order of their registration."""
        return self._all

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._by_plural.get((group, version, plural))

    def find_kind(self, group: str, version: str, kind: str) -> ResourceType | None:
        return self._by_kind.get((group, version, kind))

    def of_resource(self, group: str, plural: str) -> tuple[ResourceType, ...]:
        """All served versions of one resource."""
        return tuple(found for found in self._all if found.group == group and found.plural == plural)

    def serves_group(self, group: str, version: str | None = None) -> bool:
        """Whether a resource is served under ``/apis/<group>[/<version>]``."""
        return any(found.group == group and version in (None, found.version) for found in self._all)

    def kind_owner(self, group: str, kind: str, plural: str) -> str | None:
        """The plural of another resource of the group that already uses ``kind``; None if no resource does."""
        for found in self._all:
            if found.group == group and found.plural != plural and kind in (found.kind, found.list_kind):
                return found.plural
        return None

    def replace(self, group: str, plural: str, types: Iterable[ResourceType]) -> None:
        """Serve ``types`` as the versions of one resource, instead of the earlier ones; empty: serve none."""
        self._replace(self.of_resource(group, plural), types)

    def _replace(self, old: Iterable[ResourceType], new: Iterable[ResourceType]) -> None:
        gone, come = set(old), tuple(new)
        self._all = tuple(found for found in self._all if found not in gone) + come
        self._by_plural = {(found.group, found.version, found.plural): found for found in self._all}
        self._by_kind = {(found.group, found.version, found.kind): found for found in self._all}
        self.generation += 1
