"""The Stories that a Story executes, and circles among them. Source: admission contract 3.8, 4.8 and 16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import STORY
from core.api.text import text
from core.story.step import Step
from core.story.story import is_realtime
from core.workloads.live_run import is_always_on
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import reference, schema, steps
from webhooks.validate.change import name_of, namespace_of
from webhooks.validate.reference import Link

DENIED: Final = Rule("story/call-denied", "3.7", CauseType.FORBIDDEN)
SELF: Final = Rule("story/call-self", "4.8", CauseType.FORBIDDEN)
CIRCLE: Final = Rule("story/call-circle", "4.8", CauseType.FORBIDDEN)
MISSING: Final = Rule("story/call-missing", "4.8", CauseType.NOT_FOUND, Severity.WARNING)
VERSION: Final = Rule("story/call-version", "3.8", severity=Severity.WARNING)
INPUT_UNKNOWN: Final = Rule("story/call-input-unknown", "4.8", severity=Severity.WARNING)
REALTIME: Final = Rule("story/call-realtime", "16", severity=Severity.WARNING)
ALWAYS_ON: Final = Rule("story/call-always-on", "4.10", severity=Severity.WARNING)

_MAX_STORIES: Final = 1_000
"""Stories that are checked for one call; a longer circle is not found."""

_Key = tuple[str, str]  # namespace and name


def check(placed: Step, story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    """Findings about the call of an ``executeStory`` step."""
    target = _target(placed.declared)
    if target is None:
        return
    path = f"{placed.place}.with.storyRef"
    wanted = reference.link(STORY, namespace_of(story), STORY, target)
    own = (namespace_of(story), name_of(story))
    denied = list(reference.denial(DENIED, wanted, world, path))
    yield from denied
    if (wanted.namespace, wanted.name) == own and own[1]:
        yield SELF.at(path, "a Story cannot execute itself", "call another Story")
        return
    if denied:
        return
    found = reference.find(wanted, world)
    yield from reference.missing(MISSING, wanted, found, path)
    yield from reference.version_mismatch(VERSION, target, wanted, found, f"{path}.version")
    if isinstance(found, Unseen):
        return
    inputs, described = placed.declared["with"].get("with"), (found.get("spec") or {}).get("inputsSchema")
    yield from schema.check_names(
        INPUT_UNKNOWN, described, inputs, f"{placed.place}.with.with", f"the inputsSchema of {wanted}"
    )
    if not is_realtime(story["spec"]) and is_realtime(found.get("spec") or {}):
        yield REALTIME.at(path, "a batch Story cannot execute a realtime one", "call a batch Story")
    elif is_always_on(found.get("spec") or {}):
        message = "a Story with streamingStrategy: PerStory cannot be executed: the operator keeps its only run"
        yield ALWAYS_ON.at(path, message, "set streamingStrategy: PerStoryRun in that Story")
    circle = _circle(own, wanted, world)
    if circle:
        names = " → ".join(name if namespace == own[0] else f"{namespace}/{name}" for namespace, name in circle)
        yield CIRCLE.at(path, f"Stories execute each other in a cycle: {names}", "remove one of these calls")


def _circle(own: _Key, first: Link, world: ClusterView) -> list[_Key]:
    """The shortest way from ``first`` back to ``own``, with both ends; empty if there is none."""
    start = (first.namespace, first.name)
    came_from: dict[_Key, _Key] = {start: own}
    pending = [start]
    for current in pending:
        found = world.find(STORY, *current)
        for target in targets(found, current[0]) if not isinstance(found, Unseen) else ():
            if target == own:
                return _way(came_from, own, current)
            if target not in came_from and len(came_from) < _MAX_STORIES:
                came_from[target] = current
                pending.append(target)
    return []


def _way(came_from: Mapping[_Key, _Key], own: _Key, last: _Key) -> list[_Key]:
    way = [own, last]
    while way[-1] != own:
        way.append(came_from[way[-1]])
    return list(reversed(way))


def targets(story: ReadOnlyObject, namespace: str) -> Iterator[tuple[str, str]]:
    """Namespace and name of the Stories that the ``executeStory`` steps of a Story in ``namespace`` call."""
    for placed in steps.every_step(story):
        target = _target(placed.declared)
        if target is not None:
            yield text(target.get("namespace")) or namespace, text(target.get("name"))


def _target(step: ReadOnlyObject) -> ReadOnlyObject | None:
    parameters = step.get("with") if step.get("type") == "executeStory" else None
    target = parameters.get("storyRef") if isinstance(parameters, Mapping) else None
    return target if isinstance(target, Mapping) and text(target.get("name")) else None
