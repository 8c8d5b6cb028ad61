"""The Engrams that steps of a Story use. Source: admission contract 3.7 to 3.9, 4.4 and 16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STORY
from core.api.text import text
from core.story.step import Step
from core.story.story import is_realtime
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import floor, payload, pod, reference, retry, schema, warm
from webhooks.validate.change import namespace_of

DENIED: Final = Rule("story/engram-denied", "3.7", CauseType.FORBIDDEN)
MISSING: Final = Rule("story/engram-missing", "3.9", CauseType.NOT_FOUND, Severity.WARNING)
VERSION: Final = Rule("story/engram-version", "3.8", severity=Severity.WARNING)
TEMPLATE_MISSING: Final = Rule("story/engram-template-missing", "3.9", CauseType.NOT_FOUND)
NOT_STREAMING: Final = Rule("story/engram-not-streaming", "16", severity=Severity.WARNING)
INPUT: Final = Rule("story/step-input", "4.4")
INPUT_UNKNOWN: Final = Rule("story/step-input-unknown", "4.4", severity=Severity.WARNING)
INLINE: Final = Rule("story/with-inline", "2", severity=Severity.WARNING)
SECRET_UNKNOWN: Final = Rule("story/secret-unknown", "4.4", severity=Severity.WARNING)
RUNTIME: Final = Rule("story/runtime-in-batch", "4.4", CauseType.FORBIDDEN)
RUNTIME_DOUBTFUL: Final = Rule("story/runtime-doubtful", "4.4", severity=Severity.WARNING)

_STREAMING_MODES: Final = ("deployment", "statefulset")


def check(placed: Step, story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    """Findings about the step's Engram, and about the step's input with that Engram's schema."""
    engram: ReadOnlyObject | Unseen = Unseen.MISSING
    if placed.declared.get("ref"):
        wanted = reference.link(STORY, namespace_of(story), ENGRAM, placed.declared["ref"])
        denied = list(reference.denial(DENIED, wanted, world, f"{placed.place}.ref"))
        yield from denied
        engram = Unseen.UNKNOWN if denied else reference.find(wanted, world)
        yield from reference.missing(MISSING, wanted, engram, f"{placed.place}.ref")
        yield from reference.version_mismatch(
            VERSION, placed.declared["ref"], wanted, engram, f"{placed.place}.ref.version"
        )
        execution, template = placed.declared.get("execution"), _template(engram, world)
        yield from floor.check(execution, f"{placed.place}.execution", template, world)
        below = [
            pod.EarlierLayer("the EngramTemplate", pod.block_of(template, "execution")),
            pod.EarlierLayer("the Engram's executionPolicy", pod.block_of(engram, "executionPolicy")),
            pod.EarlierLayer("the Engram's overrides", pod.block_of(engram, "overrides")),
            pod.EarlierLayer("spec.policy.execution", (story["spec"].get("policy") or {}).get("execution")),
        ]
        yield from pod.check(execution, f"{placed.place}.execution", world, below=below)
        yield from warm.check(execution, f"{placed.place}.execution", template)
        yield from retry.check_effect(placed.declared, placed.place, template, world)
        if not isinstance(engram, Unseen):
            yield from _fit(placed, engram, world)
    if not is_realtime(story["spec"]):
        yield from _runtime(placed, engram)


def template_of(step: ReadOnlyObject, story: ReadOnlyObject, world: ClusterView) -> ReadOnlyObject | Unseen:
    """The EngramTemplate of a step of ``story``, if it uses an Engram that it may use."""
    if not isinstance(step.get("ref"), Mapping):
        return Unseen.UNKNOWN
    wanted = reference.link(STORY, namespace_of(story), ENGRAM, step["ref"])
    if list(reference.denial(DENIED, wanted, world, "")):
        return Unseen.UNKNOWN
    return _template(reference.find(wanted, world), world)


def _template(engram: ReadOnlyObject | Unseen, world: ClusterView) -> ReadOnlyObject | Unseen:
    if isinstance(engram, Unseen):
        return Unseen.UNKNOWN
    spec = engram.get("spec") or {}
    return reference.find(reference.link(ENGRAM, "", ENGRAM_TEMPLATE, spec.get("templateRef") or {}), world)


def _fit(placed: Step, engram: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec, step = engram.get("spec") or {}, placed.declared
    if placed.realtime and placed.depth:
        message = "is not executed: in a stream, packets pass through a parallel step and do not come to its branches"
        yield NOT_STREAMING.at(f"{placed.place}.ref", message, "make it a main step with needs")
    elif placed.realtime and not step.get("needs") and spec.get("mode") not in _STREAMING_MODES:
        message = "runs as a Job, which each packet starts, and a step without needs gets no packets"
        remedy = "use an Engram of mode deployment or statefulset, or name a step in needs"
        yield NOT_STREAMING.at(f"{placed.place}.ref", message, remedy)
    limit = (step.get("execution") or {}).get("maxInlineSize") or world.settings.engram.max_inline_size_bytes
    merged = _deep_merge(spec.get("with") or {}, step.get("with") or {})
    size = None if payload.is_surely_within(merged, limit) else payload.size_bytes(merged)
    if size is not None and size > limit:
        message = f"has {size} bytes together with the Engram's own with, the maximum is {limit}"
        yield INLINE.at(f"{placed.place}.with", message, "keep large data in storage and give a reference to it")
    wanted = reference.link(ENGRAM, "", ENGRAM_TEMPLATE, spec.get("templateRef") or {})
    template = reference.find(wanted, world)
    yield from reference.missing(TEMPLATE_MISSING, wanted, template, f"{placed.place}.ref")
    if isinstance(template, Unseen):
        return
    described = template.get("spec") or {}
    document = {**merged, **(step.get("runtime") or {})}
    yield from schema.check_document(INPUT, described.get("inputSchema"), document, f"{placed.place}.with")
    for field in ("with", "runtime"):
        names = described.get("inputSchema"), step.get(field), f"{placed.place}.{field}", f"the inputSchema of {wanted}"
        yield from schema.check_names(INPUT_UNKNOWN, *names, described.get("configSchema"))
    known = described.get("secretSchema") or {}
    for key in step.get("secrets") or ():
        if key not in known:
            message = f"{wanted} declares no secret {key!r}"
            yield SECRET_UNKNOWN.at(
                f"{placed.place}.secrets.{key}", message, f"the template declares: {', '.join(known) or '-'}"
            )


def _runtime(placed: Step, engram: ReadOnlyObject | Unseen) -> Iterator[Finding]:
    step, path = placed.declared, f"{placed.place}.runtime"
    if step.get("runtime") is None or text(step.get("transport")):
        return
    if step.get("ref") and isinstance(engram, Unseen):
        message = "is evaluated for each packet, but a Job receives no packets"
        yield RUNTIME_DOUBTFUL.at(path, message, "use it with an Engram of mode deployment or statefulset")
    elif not step.get("ref") or (isinstance(engram, Mapping) and not _is_streaming(engram)):
        message = "is evaluated for each packet, but a batch step receives no packets"
        yield RUNTIME.at(path, message, "move it into with, or set pattern: realtime")


def _is_streaming(engram: ReadOnlyObject) -> bool:
    return (engram.get("spec") or {}).get("mode") in _STREAMING_MODES


def _deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merges as at run time: objects are merged; for other values, ``above`` has precedence."""
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _deep_merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
