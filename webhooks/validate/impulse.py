"""Rules for an Impulse beyond its schema. Source: admission contract 6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.duration import parse_duration
from core.api.objects import ReadOnlyObject
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE, STORY
from core.expressions import analysis
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, duration, floor, reference, rights, template_use
from webhooks.validate.change import namespace_of, text

STORY_DENIED: Final = Rule("impulse/story-denied", "3.7", CauseType.FORBIDDEN)
STORY_MISSING: Final = Rule("impulse/story-missing", "3.9", CauseType.NOT_FOUND, Severity.WARNING)
STORY_VERSION: Final = Rule("impulse/story-version", "3.8", severity=Severity.WARNING)
JOB: Final = Rule("impulse/job", "6", CauseType.FORBIDDEN)
EXPRESSION: Final = Rule("impulse/expression", "6", severity=Severity.WARNING)
KEY_REQUIRED: Final = Rule("impulse/key-required", "6", CauseType.REQUIRED)
KEY_UNUSED: Final = Rule("impulse/key-unused", "6", CauseType.FORBIDDEN)
DELAY: Final = Rule("impulse/delay", "6")
DELAYS: Final = Rule("impulse/delays", "6")
THROTTLE: Final = Rule("impulse/throttle", "6")

_DEFAULT_MODE: Final = "deployment"
_POLICY: Final = "spec.deliveryPolicy"


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in an Impulse that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    return list(_findings(new, world))


def _findings(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec = new["spec"]
    wanted, template = template_use.find_template(new, IMPULSE, IMPULSE_TEMPLATE, world)
    yield from template_use.check(new, wanted, template, world)
    yield from _story(new, world)
    yield from rights.check(new, "execution")
    yield from floor.check(spec.get("execution"), "spec.execution", template, world)
    mode = (spec.get("workload") or {}).get("mode")
    if mode == "job":
        yield JOB.at("spec.workload.mode", "a listener does not end, so it cannot be a job", "use deployment")
    else:
        yield from template_use.check_mode(mode, _DEFAULT_MODE, template, "spec.workload.mode")
    yield from template_use.check_payload(new, "mapping", IMPULSE, world)
    for problem in analysis.check_value(spec.get("mapping"), "spec.mapping"):
        yield EXPRESSION.at(problem.path, problem.message, problem.remedy or "correct the template", problem.excerpt)
    policy = spec.get("deliveryPolicy") or {}
    yield from _dedupe(policy.get("dedupe") or {})
    yield from _retry(policy.get("retry") or {})
    for key, value in (spec.get("throttle") or {}).items():
        if isinstance(value, int) and value < 0:
            yield THROTTLE.at(f"spec.throttle.{key}", "must be zero or more", "use 0 for no limit")


def _story(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    given = new["spec"]["storyRef"]
    wanted = reference.link(IMPULSE, namespace_of(new), STORY, given)
    denied = list(reference.denial(STORY_DENIED, wanted, world, "spec.storyRef.namespace"))
    yield from denied
    if not denied:
        found = reference.find(wanted, world)
        yield from reference.missing(STORY_MISSING, wanted, found, "spec.storyRef.name")
        yield from reference.version_mismatch(STORY_VERSION, given, wanted, found, "spec.storyRef.version")


def _dedupe(dedupe: ReadOnlyObject) -> Iterator[Finding]:
    path, template = f"{_POLICY}.dedupe.keyTemplate", dedupe.get("keyTemplate")
    is_key = text(dedupe.get("mode")).lower() == "key"
    if is_key and not text(template):
        yield KEY_REQUIRED.at(path, "is required with mode key", "add a template for the key")
    elif not is_key and text(template):
        yield KEY_UNUSED.at(path, "is used with mode key only", "set mode: key, or remove it")
    elif is_key:
        for problem in analysis.check_text(text(template), path):
            yield EXPRESSION.at(path, problem.message, problem.remedy or "correct the template", problem.excerpt)


def _retry(retry: ReadOnlyObject) -> Iterator[Finding]:
    path = f"{_POLICY}.retry"
    problems: list[Finding] = []
    for key in ("baseDelay", "maxDelay"):
        if key in retry and not text(retry[key]):
            problems.append(DELAY.at(f"{path}.{key}", "must not be blank", "write for example 1s, or leave it out"))
        problems += duration.check(DELAY, retry, key, path, zero=True)
    yield from problems
    if problems or not all(text(retry.get(key)) for key in ("baseDelay", "maxDelay")):
        return
    base, longest = parse_duration(retry["baseDelay"]), parse_duration(retry["maxDelay"])
    if base and longest and longest < base:
        yield DELAYS.at(f"{path}.maxDelay", f"is less than baseDelay, {retry['baseDelay']}", "use that or more")
