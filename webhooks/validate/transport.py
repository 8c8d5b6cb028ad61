"""Rules for a Transport beyond its schema. Source: admission contract 12.

What is wrong is decided in ``core.policy.transport_problems``, which the controller of Transports asks as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.policy.transport_problems import TransportProblem, transport_problems
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, schema, streaming

DRIVER: Final = Rule(TransportProblem.DRIVER, "12.1", CauseType.REQUIRED)
CAPABILITY: Final = Rule(TransportProblem.CAPABILITY, "12.1")
OFFER_TAKEN: Final = Rule(TransportProblem.OFFER_TAKEN, "12.1", CauseType.DUPLICATE)
RATE: Final = Rule(TransportProblem.RATE, "12.1")
MIME_TYPE: Final = Rule(TransportProblem.MIME_TYPE, "12.1")
SCHEMA: Final = Rule("transport/schema", "12.1", severity=Severity.WARNING)

_RULES: Final = {rule.id: rule for rule in (DRIVER, CAPABILITY, OFFER_TAKEN, RATE, MIME_TYPE)}


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a Transport that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    return list(_findings(new["spec"]))


def _findings(spec: ReadOnlyObject) -> Iterator[Finding]:
    for kind, found in transport_problems(spec):
        yield _RULES[kind].at(found.path, found.message, found.remedy)
    yield from streaming.check(spec.get("streaming") or {}, "spec.streaming")
    yield from streaming.check_settings(spec.get("defaultSettings"), "spec.defaultSettings")
    yield from schema.check_schema(SCHEMA, spec.get("configSchema"), "spec.configSchema")
