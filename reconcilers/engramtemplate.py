"""EngramTemplates: check that image, version and schemas are usable, and count the Engrams that use them.

A schema must compile, not only parse: an unusable one would fail every step later. Source: operator contract 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE
from core.api.unreadable import why_unreadable
from core.engine.ports import Clock
from core.evaluation.validation import SchemaValidator
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.policy.settings import OperatorSettings
from core.workloads.container_problems import container_problems
from reconcilers.adapters.world import TEMPLATE_NAME, World
from reconcilers.definition import STATUS_WHY, validated, write_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

ENGRAM_SCHEMAS: Final = ("inputSchema", "outputSchema", "configSchema")
"""The fields of an EngramTemplate that hold JSON Schemas."""


class EngramTemplateReconciler:
    """Reconciles one template at a time, by key."""

    def __init__(
        self, client: KubeClient, world: World, clock: Clock, settings: Callable[[], OperatorSettings]
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._clock = clock
        self._settings = settings
        self._schemas = SchemaValidator()

    async def reconcile(self, key: Key) -> Outcome:
        template = self._world.engram_templates.get("", key.name)
        if template is None or is_being_deleted(template):
            return Done()
        needs_image = not self._settings().default_engram_image
        errors = await template_errors(template, self._schemas, image=needs_image)
        if not why_unreadable(template):
            errors += [str(problem) for problem in container_problems(template["spec"])]
        status = validated(
            template,
            errors,
            condition=ConditionType.READY,
            reason="ValidationFailed" if errors else "ValidationPassed",
            if_valid="image, version and schemas are usable",
            now=self._clock.now(),
        )
        status["usageCount"] = len(self._world.engrams.keys_by_index(TEMPLATE_NAME, key.name))
        await write_status(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, template, status)
        return Done()


async def template_errors(
    template: Object, schemas: SchemaValidator, fields: Sequence[str] = ENGRAM_SCHEMAS, *, image: bool = True
) -> list[str]:
    """All errors, each with its field.

    Args:
        fields: the fields of the spec that hold JSON Schemas.
        image: whether the template must name an image.
    """
    if why := why_unreadable(template):
        return [f"the {template.get('kind')} cannot be read: {why}; make it smaller"]
    spec, required = template["spec"], ("image", "version") if image else ("version",)
    errors = [f"spec.{field}: is required" for field in required if not (spec.get(field) or "").strip()]
    for field in fields:
        schema = spec.get(field)
        if schema is None:
            continue
        if not isinstance(schema, dict):
            errors.append(f"spec.{field}: must be a JSON Schema object")
            continue
        found = await schemas.problems(schema, {})
        errors += [f"spec.{field}: {problem.message}" for problem in found if problem.keyword == "schema"]
    return errors


def _of_engram(change: Change, caches: Caches) -> Iterator[Key]:
    """The template that the Engram refers to."""
    del caches
    for engram in versions(change):
        yield Key("", (engram["spec"].get("templateRef") or {}).get("name", ""))


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return EngramTemplateReconciler(
        dependencies.client, dependencies.world, dependencies.clock, dependencies.settings
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "catalog-engramtemplate",
    ENGRAM_TEMPLATE,
    _build,
    options=lambda settings: settings.template,
    watches=(Watch(ENGRAM_TEMPLATE, own_keys, when=spec_changed), Watch(ENGRAM, _of_engram, when=spec_changed)),
    permissions=(Permission(ENGRAM_TEMPLATE, ("patch",), STATUS_WHY, subresource="status"),),
    enqueue_when_settings_change=True,
)
