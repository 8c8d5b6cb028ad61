"""The shape of objects by their resource type: a schema for custom kinds, code for built-in ones."""

from __future__ import annotations

from localcluster.server import builtin_defaults, schema, validation_builtin, webhookconfig
from localcluster.server.cause import Cause
from localcluster.server.types import Object, ResourceType


class SchemaShape:
    """Prunes, defaults, completes and validates an object according to its resource type."""

    def prune(self, obj: Object, resource: ResourceType) -> list[str]:
        return schema.prune(obj, resource)

    def apply_defaults(self, obj: Object, resource: ResourceType) -> None:
        if resource.custom:
            schema.apply_defaults(obj, resource)
        else:
            builtin_defaults.default_builtin(obj, resource)

    def complete_created(self, obj: Object, resource: ResourceType) -> None:
        if not resource.custom:
            builtin_defaults.complete_created(obj, resource)

    def validate(self, obj: Object, old: Object | None, resource: ResourceType) -> list[Cause]:
        if resource.custom:
            return schema.validate(obj, old, resource)
        causes = validation_builtin.validate_builtin(obj, old, resource)
        if resource.group == "admissionregistration.k8s.io":
            causes += webhookconfig.why_unsupported(obj)
        return causes
