"""Warm workers in execution policies: bounds, and templates whose image cannot serve. Source: admission contract 5.

``core.policy`` applies the same bounds when a step runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.warm_bounds import WORKER_MODE
from core.policy.warm import warm_problems
from webhooks.cluster_view import Unseen
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate.change import fields_of

WARM: Final = Rule("definition/warm", "5")
UNUSED: Final = Rule("definition/warm-unused", "5", severity=Severity.WARNING)


def check(block: object, path: str, template: ReadOnlyObject | Unseen = Unseen.UNKNOWN) -> Iterator[Finding]:
    """The field ``warm`` of an execution policy, with the template of its steps, if that is known."""
    given = fields_of(block).get("warm")
    if given is None:
        return
    problems = [WARM.at(each.path, each.message, each.remedy) for each in warm_problems(given, f"{path}.warm")]
    yield from problems
    if not problems and _asks(given) and not isinstance(template, Unseen) and not _serves(template):
        message = "has no effect: the template does not support worker, so the steps run as Jobs"
        yield UNUSED.at(f"{path}.warm", message, "add worker to its spec.supportedModes if its image can, or remove it")


def check_listener(block: object, path: str) -> Iterator[Finding]:
    """The same for an Impulse, which has no steps."""
    given = fields_of(block).get("warm")
    if given is not None and _asks(given):
        yield UNUSED.at(f"{path}.warm", "has no effect: a listener executes no steps", "remove it")


def _asks(given: object) -> bool:
    fields = fields_of(given)
    return fields.get("enabled") is not False and fields.get("maxReplicas") != 0


def _serves(template: ReadOnlyObject) -> bool:
    spec = template.get("spec")
    return isinstance(spec, Mapping) and WORKER_MODE in (spec.get("supportedModes") or ())
