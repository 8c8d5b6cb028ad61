"""The shape of objects by their resource type: schema for custom kinds, code for built-in ones."""

from __future__ import annotations

from localcluster.server import schema
from localcluster.server.cause import Cause
from localcluster.server.types import Object, ResourceType


class SchemaShape:
    """Prunes, defaults and validates as the resource type asks."""

    def prune(self, obj: Object, resource: ResourceType) -> list[str]:
        return schema.prune(obj, resource)

    def apply_defaults(self, obj: Object, resource: ResourceType) -> None:
        schema.apply_defaults(obj, resource)

    def validate(self, obj: Object, old: Object | None, resource: ResourceType) -> list[Cause]:
        return schema.validate(obj, old, resource)
