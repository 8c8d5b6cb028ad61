"""ImpulseTemplates: check that image, version, modes and schemas are usable, and count the Impulses that use them.

As for EngramTemplates, a schema must compile. Without an image, the operator's own image for Impulses is used, if it
has one. Source: operator contract 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE
from core.engine.ports import Clock
from core.evaluation.validation import SchemaValidator
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.policy.settings import OperatorSettings
from core.workloads.impulse_workload import ListenerMode
from reconcilers.adapters.impulse_kinds import IMPULSE_KINDS
from reconcilers.adapters.world import TEMPLATE_NAME, World
from reconcilers.definition import STATUS_WHY, validated, write_status
from reconcilers.engramtemplate import template_errors
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

_SCHEMAS: Final = ("contextSchema", "configSchema")


class ImpulseTemplateReconciler:
    """Reconciles one template at a time, by key."""

    def __init__(
        self, client: KubeClient, world: World, clock: Clock, settings: Callable[[], OperatorSettings]
    ) -> None:
        self._client = client.in_background()
        self._templates = world.informer(IMPULSE_TEMPLATE)
        self._impulses = world.informer(IMPULSE)
        self._clock = clock
        self._settings = settings
        self._schemas = SchemaValidator()

    async def reconcile(self, key: Key) -> Outcome:
        template = self._templates.get("", key.name)
        if template is None or is_being_deleted(template):
            return Done()
        needs_image = not self._settings().default_impulse_image
        errors = await template_errors(template, self._schemas, _SCHEMAS, image=needs_image)
        errors += _mode_errors(template)
        status = validated(
            template,
            errors,
            condition=ConditionType.READY,
            reason="ValidationFailed" if errors else "ValidationPassed",
            if_valid="image, version, modes and schemas are usable",
            now=self._clock.now(),
        )
        status["usageCount"] = len(self._impulses.keys_by_index(TEMPLATE_NAME, key.name))
        await write_status(self._client, self._templates, IMPULSE_TEMPLATE, template, status)
        return Done()


def _mode_errors(template: Object) -> list[str]:
    modes = (template.get("spec") or {}).get("supportedModes") or ()
    return [
        f"spec.supportedModes[{index}]: a listener cannot be a {mode}; use deployment or statefulset"
        for index, mode in enumerate(modes)
        if mode not in set(ListenerMode)
    ]


def _of_impulse(change: Change, caches: Caches) -> Iterator[Key]:
    """The template that the Impulse refers to."""
    del caches
    for impulse in versions(change):
        name = ((impulse.get("spec") or {}).get("templateRef") or {}).get("name", "")
        yield Key("", name.strip())


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return ImpulseTemplateReconciler(
        dependencies.client, dependencies.world, dependencies.clock, dependencies.settings
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "catalog-impulsetemplate",
    IMPULSE_TEMPLATE,
    _build,
    options=lambda settings: settings.template,
    watches=(Watch(IMPULSE_TEMPLATE, own_keys, when=spec_changed), Watch(IMPULSE, _of_impulse, when=spec_changed)),
    informers=IMPULSE_KINDS[:2],
    permissions=(Permission(IMPULSE_TEMPLATE, ("patch",), STATUS_WHY, subresource="status"),),
    enqueue_when_settings_change=True,
)
