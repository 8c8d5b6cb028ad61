"""The steps of a Story, branches of ``parallel`` steps included, and the rules for a single step.

Source: admission contract 4.2 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.api import manifest
from core.api.objects import ReadOnlyObject
from core.api.resource import STORY
from core.expressions.fields import STEP_LISTS
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import duration, payload, retry
from webhooks.validate.change import namespace_of

NAME_TAKEN: Final = Rule("story/name-taken", "4.4", CauseType.DUPLICATE)
ID_TAKEN: Final = Rule("story/id-taken", "4.4", CauseType.DUPLICATE, Severity.WARNING)
REF_OR_TYPE: Final = Rule("story/ref-or-type", "4.4")
STREAMING_TYPE: Final = Rule("story/type-not-for-streams", "4.4", CauseType.FORBIDDEN)
WITH_SIZE: Final = Rule("story/with-size", "2")
STEP_DURATION: Final = Rule("story/step-duration", "4.4")
SECRET_NAME: Final = Rule("story/secret-name", "4.4", CauseType.REQUIRED, Severity.WARNING)
REFERENCE_FORM: Final = Rule("story/reference-form", "3.3", severity=Severity.WARNING)
REFERENCE_NAMESPACE: Final = Rule("story/reference-namespace", "3.3", CauseType.FORBIDDEN)
BRANCH_SHAPE: Final = Rule("story/branch-shape", "4.9")
BRANCH_FIELD: Final = Rule("story/branch-field", "4.9", severity=Severity.WARNING)
BRANCH_NEEDS: Final = Rule("story/branch-needs", "4.9", severity=Severity.WARNING)
BRANCH_NAME: Final = Rule("story/branch-name", "4.9", CauseType.DUPLICATE, Severity.WARNING)
BRANCHES: Final = Rule("story/branches", "4.9", CauseType.REQUIRED)
BRANCH_DEPTH: Final = Rule("story/branch-depth", "4.9")

MAX_BRANCH_DEPTH: Final = 8
"""Nesting of ``parallel`` steps."""

_WORK: Final = ("ref", "type", "run")


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step that matches its schema, and its place.

    Attributes:
        path: its path in the Story, ``spec.steps[0].with.steps[1]``.
        list_name: the list that contains it, directly or in a ``parallel`` step.
        realtime: whether it runs as part of a stream; compensations and ``finally`` never do.
        depth: the number of ``parallel`` steps around it.
    """

    step: ReadOnlyObject
    path: str
    list_name: str
    realtime: bool
    depth: int = 0


def top_level(spec: ReadOnlyObject) -> Iterator[PlacedStep]:
    """The steps of the three lists, in spec order."""
    for list_name in STEP_LISTS:
        realtime = spec.get("pattern") == "realtime" and list_name == "steps"
        for index, step in enumerate(spec.get(list_name) or ()):
            yield PlacedStep(step, f"spec.{list_name}[{index}]", list_name, realtime)


def with_branches(placed: PlacedStep) -> Iterator[PlacedStep]:
    """The step and the branches below it that match their schema, in spec order."""
    yield placed
    if placed.step.get("type") == "parallel":
        for branch in sound_branches(placed):
            yield from with_branches(branch)


def sound_branches(placed: PlacedStep) -> Iterator[PlacedStep]:
    """The branches directly below the step that match their schema, in spec order."""
    for branch in _branches(placed) if placed.depth < MAX_BRANCH_DEPTH else ():
        if isinstance(branch.step, Mapping) and not any(rule is BRANCH_SHAPE for rule in _shape_rules(branch)):
            yield branch


def is_for_each(placed: PlacedStep) -> bool:
    """Whether it is a ``parallel`` step that runs for each item."""
    parameters = placed.step.get("with")
    return placed.step.get("type") == "parallel" and isinstance(parameters, dict) and "forEach" in parameters


def check(placed: PlacedStep, story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    """Findings about one step, without its relations to other steps."""
    step, path = placed.step, placed.path
    given = [key for key in _WORK if step.get(key)]
    if len(given) != 1:
        which = " and ".join(given) if given else f"none of {', '.join(_WORK)}"
        yield REF_OR_TYPE.at(path, f"has {which}", "give ref for an Engram, type for a primitive, or run for a script")
    if placed.realtime and step.get("type") in ("wait", "gate"):
        message = f"{step['type']} is not possible in a realtime Story"
        yield STREAMING_TYPE.at(f"{path}.type", message, "use pattern: batch, or move it to finally")
    if not placed.depth:  # a branch is counted with the step around it
        yield from payload.check_size(
            WITH_SIZE, step.get("with"), f"{path}.with", world.settings.max_story_with_block_size_bytes
        )
    execution = step.get("execution")
    if execution:
        yield from duration.check(STEP_DURATION, execution, "timeout", f"{path}.execution")
        yield from retry.check(STEP_DURATION, execution.get("retry"), f"{path}.execution.retry", world)
    if not step.get("ref"):
        yield from retry.check_effect(step, path, Unseen.UNKNOWN, world)
    for key, name in (step.get("secrets") or {}).items():
        if not name.strip():
            yield SECRET_NAME.at(f"{path}.secrets.{key}", "must name a Secret", "give the name of a Secret")
    namespace = namespace_of(story)
    for value, where in _payloads(placed):
        yield from payload.check_references(REFERENCE_FORM, REFERENCE_NAMESPACE, value, where, STORY, namespace, world)
    if step.get("type") == "parallel":
        yield from _branch_findings(placed)


def name_findings(spec: ReadOnlyObject) -> Iterator[Finding]:
    """Findings about names and ids that occur twice, over all lists."""
    steps = list(top_level(spec))
    for key, rule in (("name", NAME_TAKEN), ("id", ID_TAKEN)):
        yield from _twice(rule, key, steps)
    names = {placed.step["name"]: placed.path for placed in steps}
    for placed in steps:
        for branch in with_branches(placed):
            name = branch.step["name"]
            if branch.depth and name in names:
                message = f"{name!r} is also the name of {names[name]}; one output hides the other"
                yield BRANCH_NAME.at(f"{branch.path}.name", message, "choose another name")


def _twice(rule: Rule, key: str, steps: list[PlacedStep]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for placed in steps:
        value = placed.step.get(key) if isinstance(placed.step, Mapping) else None
        if not isinstance(value, str) or not value:
            continue
        if value in seen:
            yield rule.at(
                f"{placed.path}.{key}", f"{value!r} is already used by {seen[value]}", f"choose another {key}"
            )
        seen.setdefault(value, placed.path)


def _branch_findings(placed: PlacedStep) -> Iterator[Finding]:
    branches = list(_branches(placed))
    if not branches:
        yield BRANCHES.at(f"{placed.path}.with.steps", "is required, with at least one step", "list the branches")
        return
    if placed.depth >= MAX_BRANCH_DEPTH:
        message = f"parallel steps are nested deeper than {MAX_BRANCH_DEPTH} levels"
        yield BRANCH_DEPTH.at(placed.path, message, "call another Story with executeStory")
        return
    for branch in branches:
        needs = branch.step.get("needs") if isinstance(branch.step, Mapping) else None
        if isinstance(needs, list) and needs:
            message = "has no effect on a branch, because branches start together"
            remedy = "remove it, or make the branch a step of its own"
            yield BRANCH_NEEDS.at(f"{branch.path}.needs", message, remedy)
        for error in _shape_errors(branch):
            rule = BRANCH_FIELD if error.is_unknown else BRANCH_SHAPE
            path = error.path.replace("spec.steps[0]", branch.path, 1)
            yield rule.at(path, error.message, error.remedy)
    yield from _twice(NAME_TAKEN, "name", branches)


def _payloads(placed: PlacedStep) -> Iterator[tuple[Any, str]]:
    """The fields that may have references to data; each branch is checked separately."""
    step, path = placed.step, placed.path
    if step.get("type") != "parallel":
        yield step.get("with"), f"{path}.with"
    elif isinstance(step.get("with"), dict):
        yield step["with"].get("forEach"), f"{path}.with.forEach"
    yield step.get("runtime"), f"{path}.runtime"


def _branches(placed: PlacedStep) -> Iterator[PlacedStep]:
    parameters = placed.step.get("with")
    steps = parameters.get("steps") if placed.step.get("type") == "parallel" and isinstance(parameters, dict) else None
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        path = f"{placed.path}.with.steps[{index}]"
        yield PlacedStep(step, path, placed.list_name, placed.realtime, placed.depth + 1)


def _shape_rules(branch: PlacedStep) -> Iterator[Rule]:
    return (BRANCH_FIELD if error.is_unknown else BRANCH_SHAPE for error in _shape_errors(branch))


def _shape_errors(branch: PlacedStep) -> list[Any]:
    """Errors against the schema of a step, as if the branch were a step of its own Story."""
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "spec": {"steps": [branch.step]}}
    return [error for error in manifest.errors_of(story) if error.path.startswith("spec.steps[0]")]
