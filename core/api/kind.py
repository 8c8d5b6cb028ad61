"""A kind for people and for the API server: model per version, names, columns, selectable fields.

Each kind's module ends with its ``Kind``; ``core.api.kinds`` lists them all, and ``core.api.named_kinds`` finds one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from core.api.meta import ObjectMeta
from core.api.resource import Resource
from core.api.schema import WireModel


class KindModel(WireModel):
    """A whole object: the fields that every kind has beside its spec and status."""

    api_version: str | None = Field(None, description="Group and version of the kind, as `group/version`.")
    kind: str | None = Field(None, description="Name of the kind.")
    metadata: ObjectMeta | None = None
    """Without description: the API server refuses a schema with any rule about metadata."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``type`` is an OpenAPI type or ``date``. ``wide``: only with ``-o wide``."""

    name: str
    json_path: str
    type: str = "string"
    wide: bool = False


AGE = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class KindVersion:
    """One version of a kind. Exactly one version of a kind is ``stored``; the others are converted from and to it."""

    name: str
    model: type[KindModel]
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    served: bool = True
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind with all its versions."""

    resource: Resource
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    versions: tuple[KindVersion, ...]

    @property
    def list_kind(self) -> str:
        return f"{self.resource.kind}List"

    @property
    def singular(self) -> str:
        return self.resource.kind.lower()

    def version(self, name: str) -> KindVersion | None:
        """The version of that name; None if the kind does not have it."""
        return next((version for version in self.versions if version.name == name), None)
