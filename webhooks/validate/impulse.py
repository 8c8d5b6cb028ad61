"""Rules for an Impulse beyond its schema. Source: admission contract 6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bubu_contract.durations import parse_duration
from core.api.objects import ReadOnlyObject
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE, STORY
from core.api.text import text
from core.expressions import analysis
from core.policy.delivery import KEY, merged_policy, mode_of
from core.workloads.impulse_workload import chosen_mode
from core.workloads.live_run import is_always_on
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, duration, floor, listener_settings, pod, reference, rights, template_use, warm
from webhooks.validate.change import namespace_of

STORY_DENIED: Final = Rule("impulse/story-denied", "3.7", CauseType.FORBIDDEN)
STORY_MISSING: Final = Rule("impulse/story-missing", "3.9", CauseType.NOT_FOUND, Severity.WARNING)
STORY_VERSION: Final = Rule("impulse/story-version", "3.8", severity=Severity.WARNING)
STORY_ALWAYS_ON: Final = Rule("impulse/story-always-on", "4.10", severity=Severity.WARNING)
JOB: Final = Rule("impulse/job", "6", CauseType.FORBIDDEN)
MODE_ASSUMED: Final = Rule("impulse/mode-assumed", "6")
MAPPING_UNUSED: Final = Rule("impulse/mapping-unused", "6", severity=Severity.WARNING)
EXPRESSION: Final = Rule("impulse/expression", "6", severity=Severity.WARNING)
KEY_REQUIRED: Final = Rule("impulse/key-required", "6", CauseType.REQUIRED)
KEY_UNUSED: Final = Rule("impulse/key-unused", "6", CauseType.FORBIDDEN)
DELAY: Final = Rule("impulse/delay", "6")
DELAYS: Final = Rule("impulse/delays", "6")
THROTTLE: Final = Rule("impulse/throttle", "6")

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
    yield from listener_settings.check(new, template)
    yield from _story(new, world)
    yield from rights.check(new, "execution")
    yield from floor.check(spec.get("execution"), "spec.execution", template, world)
    of_template = pod.EarlierLayer("the ImpulseTemplate", pod.block_of(template, "execution"))
    yield from pod.check(spec.get("execution"), "spec.execution", world, below=[of_template])
    yield from warm.check_listener(spec.get("execution"), "spec.execution")
    yield from _mode(new, template)
    yield from template_use.check_payload(new, "mapping", IMPULSE, world)
    if spec.get("mapping") is not None:
        message = "has no effect: no SDK uses it yet to turn events into inputs"
        yield MAPPING_UNUSED.at("spec.mapping", message, "let the listener build the inputs, or remove it")
    for problem in analysis.check_value(spec.get("mapping"), "spec.mapping"):
        yield EXPRESSION.at(problem.path, problem.message, problem.remedy or "correct the template", problem.excerpt)
    yield from _delivery(new, template)
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
        if not isinstance(found, Unseen) and is_always_on(found.get("spec") or {}):
            message = "names a Story with streamingStrategy: PerStory, whose only run the operator keeps"
            yield STORY_ALWAYS_ON.at("spec.storyRef.name", message, "set streamingStrategy: PerStoryRun in that Story")


def _mode(new: ReadOnlyObject, template: ReadOnlyObject | Unseen) -> Iterator[Finding]:
    path, (mode, unknown) = "spec.workload.mode", chosen_mode(new)
    if unknown:
        yield JOB.at(path, f"a listener does not end, so it cannot be a {unknown}", "use deployment")
        return
    given = (new["spec"].get("workload") or {}).get("mode")
    yield from template_use.check_mode(given, mode, template, path, if_absent=MODE_ASSUMED)


def _delivery(new: ReadOnlyObject, template: ReadOnlyObject | Unseen) -> Iterator[Finding]:
    """Checks the policy that the listener gets: the Impulse's own fields over those of its template.

    As long as the template is unknown, a policy that it may complete is not refused.
    """
    is_whole = not isinstance(template, Unseen)
    own = new["spec"].get("deliveryPolicy") or {}
    merged = merged_policy(None if isinstance(template, Unseen) else template, new)
    yield from _dedupe(own.get("dedupe") or {}, merged["dedupe"], is_whole=is_whole)
    yield from _retry(own.get("retry") or {}, merged["retry"])


def _dedupe(own: ReadOnlyObject, merged: ReadOnlyObject, *, is_whole: bool) -> Iterator[Finding]:
    path, template = f"{_POLICY}.dedupe.keyTemplate", text(merged.get("keyTemplate"))
    is_key = mode_of(merged) == KEY
    if is_key and not template:
        if is_whole:
            yield KEY_REQUIRED.at(path, "is required with mode key", "add a template for the key")
    elif not is_key and template:
        if is_whole or own.get("mode") is not None:
            yield KEY_UNUSED.at(path, "is used with mode key only", "set mode: key, or remove it")
    elif is_key:
        for problem in analysis.check_text(template, path):
            yield EXPRESSION.at(path, problem.message, problem.remedy or "correct the template", problem.excerpt)


def _retry(own: ReadOnlyObject, merged: ReadOnlyObject) -> Iterator[Finding]:
    path = f"{_POLICY}.retry"
    problems: list[Finding] = []
    for key in ("baseDelay", "maxDelay"):
        if key in own and not text(own[key]):
            problems.append(DELAY.at(f"{path}.{key}", "must not be blank", "write for example 1s, or leave it out"))
        problems += duration.check(DELAY, merged, key, path, zero=True)
    yield from problems
    if problems or not all(text(merged.get(key)) for key in ("baseDelay", "maxDelay")):
        return
    if parse_duration(merged["maxDelay"]) < parse_duration(merged["baseDelay"]):
        place, other = ("maxDelay", "baseDelay") if text(own.get("maxDelay")) else ("baseDelay", "maxDelay")
        word = "less" if place == "maxDelay" else "more"
        yield DELAYS.at(f"{path}.{place}", f"is {word} than {other}, {merged[other]}", f"use that or {_other(word)}")


def _other(word: str) -> str:
    return "more" if word == "less" else "less"
