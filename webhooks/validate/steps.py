"""The steps of a Story, branches of ``parallel`` steps included, and the rules for a single step.

Source: admission contract 4.2 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from core.api import manifest
from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.resource import STORY
from core.story.kinds import NOT_IN_STREAMS
from core.story.step import MAX_BRANCH_DEPTH, Step
from core.story.story import Story, read_story
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

_WORK: Final = ("ref", "type", "run")


def every_step(story: ReadOnlyObject) -> Iterator[Step]:
    """The steps of the three lists, each followed by the branches below it that match their schema."""
    for step in read_story(story).top():
        yield from with_branches(step)


def with_branches(placed: Step) -> Iterator[Step]:
    """The step and the branches below it that match their schema, in spec order."""
    yield placed
    for branch in placed.branches if placed.depth < MAX_BRANCH_DEPTH else ():
        if all(error.is_unknown for error in _shape_errors(branch.declared)):
            yield from with_branches(branch)


def check(placed: Step, story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    """Findings about one step, without its relations to other steps."""
    step, path = placed.declared, placed.place
    given = [key for key in _WORK if step.get(key)]
    if len(given) != 1:
        which = " and ".join(given) if given else f"none of {', '.join(_WORK)}"
        yield REF_OR_TYPE.at(path, f"has {which}", "give ref for an Engram, type for a primitive, or run for a script")
    if placed.realtime and step.get("type") in NOT_IN_STREAMS:
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


def name_findings(story: Story) -> Iterator[Finding]:
    """Findings about names and ids that occur twice, over all lists."""
    steps = list(story.top())
    for key, rule in (("name", NAME_TAKEN), ("id", ID_TAKEN)):
        yield from _twice(rule, key, steps)
    names = {placed.name: placed.place for placed in steps}
    for placed in steps:
        for branch in with_branches(placed):
            name = branch.name
            if branch.depth and name in names:
                message = f"{name!r} is also the name of {names[name]}; one output hides the other"
                yield BRANCH_NAME.at(f"{branch.place}.name", message, "choose another name")


def _twice(rule: Rule, key: str, steps: Iterable[Step]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for placed in steps:
        value = placed.declared.get(key)
        if not isinstance(value, str) or not value:
            continue
        if value in seen:
            yield rule.at(
                f"{placed.place}.{key}", f"{value!r} is already used by {seen[value]}", f"choose another {key}"
            )
        seen.setdefault(value, placed.place)


def _branch_findings(placed: Step) -> Iterator[Finding]:
    if not placed.branches:
        yield BRANCHES.at(f"{placed.place}.with.steps", "is required, with at least one step", "list the branches")
        return
    if placed.depth >= MAX_BRANCH_DEPTH:
        message = f"parallel steps are nested deeper than {MAX_BRANCH_DEPTH} levels"
        yield BRANCH_DEPTH.at(placed.place, message, "call another Story with executeStory")
        return
    for branch, written in zip(placed.branches, placed.parameters["steps"], strict=True):
        needs = branch.declared.get("needs")
        if isinstance(needs, list) and needs:
            message = "has no effect on a branch, because branches start together"
            remedy = "remove it, or make the branch a step of its own"
            yield BRANCH_NEEDS.at(f"{branch.place}.needs", message, remedy)
        for error in _shape_errors(written):
            rule = BRANCH_FIELD if error.is_unknown else BRANCH_SHAPE
            path = error.path.replace("spec.steps[0]", branch.place, 1)
            yield rule.at(path, error.message, error.remedy)
    yield from _twice(NAME_TAKEN, "name", placed.branches)


def _payloads(placed: Step) -> Iterator[tuple[Any, str]]:
    """The fields that may have references to data; each branch is checked separately."""
    step, path = placed.declared, placed.place
    if step.get("type") != "parallel":
        yield step.get("with"), f"{path}.with"
    elif isinstance(step.get("with"), dict):
        yield step["with"].get("forEach"), f"{path}.with.forEach"
    yield step.get("runtime"), f"{path}.runtime"


def _shape_errors(branch: object) -> list[FieldError]:
    """Errors against the schema of a step, as if the branch were a step of its own Story."""
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "spec": {"steps": [branch]}}
    return [error for error in manifest.errors_of(story) if error.path.startswith("spec.steps[0]")]
