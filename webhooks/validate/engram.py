"""Rules for an Engram beyond its schema. Source: admission contract 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, duration, floor, pod, retry, rights, template_use, warm

DELETED: Final = Rule("engram/deleted", "1.5", CauseType.FORBIDDEN)
DURATION: Final = Rule("engram/duration", "5", severity=Severity.WARNING)

_DEFAULT_MODE: Final = "job"


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in an Engram that matches its schema; while it is being deleted, only finalizers may change."""
    if old is not None and not change.is_spec_changed(new, old):
        return []
    if change.is_deleted(new):
        return [DELETED.at("spec", "may not be changed while the Engram is deleted", "apply it again afterwards")]
    return list(_findings(new, world))


def _findings(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec = new["spec"]
    wanted, template = template_use.find_template(new, ENGRAM, ENGRAM_TEMPLATE, world)
    yield from template_use.check(new, wanted, template, world)
    yield from template_use.check_mode(spec.get("mode"), _DEFAULT_MODE, template, "spec.mode")
    yield from rights.check(new, "overrides")
    yield from floor.check(spec.get("overrides"), "spec.overrides", template, world)
    placement = {"placement": (spec.get("executionPolicy") or {}).get("placement")}
    yield from floor.check(placement, "spec.executionPolicy", template, world)
    of_template = pod.EarlierLayer("the EngramTemplate", pod.block_of(template, "execution"))
    of_policy = pod.EarlierLayer("spec.executionPolicy", spec.get("executionPolicy"))
    yield from pod.check(spec.get("executionPolicy"), "spec.executionPolicy", world, below=[of_template])
    yield from pod.check(spec.get("overrides"), "spec.overrides", world, below=[of_template, of_policy])
    for key in ("overrides", "executionPolicy"):
        yield from duration.check(DURATION, spec.get(key) or {}, "timeout", f"spec.{key}")
        yield from warm.check(spec.get(key), f"spec.{key}", template)
        yield from retry.check_unread(spec.get(key), f"spec.{key}")
