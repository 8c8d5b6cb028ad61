"""Rules for EngramTemplates and ImpulseTemplates beyond their schema. Source: admission contract 7."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.text import text
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, plain_container, pod, retry, rights, schema, variable, warm
from webhooks.validate.change import fields_of

SCHEMA: Final = Rule("template/schema", "7")
BLANK: Final = Rule("template/blank", "7", CauseType.REQUIRED, Severity.WARNING)
JOB: Final = Rule("template/job", "7", severity=Severity.WARNING)

_SCHEMAS: Final = ("inputSchema", "outputSchema", "configSchema", "contextSchema")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a template that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    return list(_findings(new, world))


def _findings(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec = new["spec"]
    for key in _SCHEMAS:
        yield from schema.check_schema(SCHEMA, spec.get(key), f"spec.{key}")
    yield from rights.check(new, "execution")
    yield from pod.check(spec.get("execution"), "spec.execution", world, is_template=True)
    is_listener = new["kind"] == "ImpulseTemplate"
    of_warm = warm.check_listener if is_listener else partial(warm.check, template=new)
    yield from of_warm(spec.get("execution"), "spec.execution")
    recommended = fields_of(fields_of(spec.get("execution")).get("retry")).get("recommendedRetryOn")
    yield from retry.check_failures(recommended, "spec.execution.retry.recommendedRetryOn")
    yield from variable.check(spec)
    yield from plain_container.check(spec)
    settings = world.settings
    has_default = bool(settings.default_impulse_image if is_listener else settings.default_engram_image)
    for key in ("version",) if has_default else ("image", "version"):
        if not text(spec.get(key)):
            yield BLANK.at(f"spec.{key}", "is needed before the template can be used", f"add {key}")
    modes = spec["supportedModes"]
    if is_listener and "job" in modes:
        path = f"spec.supportedModes[{modes.index('job')}]"
        yield JOB.at(path, "a listener does not end, so it cannot be a job", "remove it")
