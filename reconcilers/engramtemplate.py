"""EngramTemplates: are image, version and schemas usable, and how many Engrams use them.

Source: operator contract 15.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.kube.client import KubeClient

from core.api.phases import ConditionType
from core.api.resource import ENGRAM_TEMPLATE
from core.engine.errors import GoneError, StaleError, UnavailableError
from core.engine.ports import Clock
from reconcilers.adapters.world import TEMPLATE_NAME, World
from reconcilers.definition import Object, validated, write_status
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import Done, Outcome, Retry


class EngramTemplateReconciler:
    """One template at a time, by key."""

    def __init__(self, client: KubeClient, world: World, clock: Clock) -> None:
        self._client = client
        self._world = world
        self._clock = clock

    async def reconcile(self, key: Key) -> Outcome:
        template = self._world.engram_templates.get("", key.name)
        if template is None or template["metadata"].get("deletionTimestamp"):
            return Done()
        errors = list(template_errors(template))
        status = validated(
            template,
            errors,
            condition=ConditionType.READY,
            reason="ValidationFailed" if errors else "ValidationPassed",
            now=self._clock.now(),
        )
        status["usageCount"] = len(self._world.engrams.by_index(TEMPLATE_NAME, key.name))
        try:
            await write_status(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, template, status)
        except (StaleError, UnavailableError) as error:
            return Retry(error)
        except GoneError:
            return Done()
        return Done()


def template_errors(template: Object) -> Iterator[str]:
    """Everything wrong, with its field."""
    spec = template["spec"]
    for field in ("image", "version"):
        if not (spec.get(field) or "").strip():
            yield f"spec.{field}: is required"
    for field in ("inputSchema", "outputSchema", "configSchema"):
        schema = spec.get(field)
        if schema is not None and not isinstance(schema, dict):
            yield f"spec.{field}: must be a JSON Schema object"
