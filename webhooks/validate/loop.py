"""Loops: a Story that is executed until a condition is true, and a step that runs for each item of a list.

Source: admission contract 4.9 for the steps around them; the reference has no loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.loops import MAX_ITEM_STEP_NAME, MAX_ITEMS, MAX_ITERATIONS
from core.api.objects import ReadOnlyObject
from core.api.text import text
from core.expressions.resolve import TEMPLATE_KEY
from core.story.kinds import are_iterations, is_count
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate.change import fields_of

UNTIL: Final = Rule("story/loop-until", "4.9")
ITERATIONS: Final = Rule("story/loop-iterations", "4.9", CauseType.REQUIRED)
ITERATIONS_UNUSED: Final = Rule("story/loop-iterations-unused", "4.9", severity=Severity.WARNING)
DETACHED: Final = Rule("story/loop-detached", "4.9", CauseType.FORBIDDEN)
ITEMS: Final = Rule("story/items", "4.9")
ITEM_STEPS: Final = Rule("story/item-steps", "4.9")
ITEM_NAME: Final = Rule("story/item-name", "4.9")
CONCURRENCY: Final = Rule("story/branch-concurrency", "4.9")


def check_call(parameters: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Findings about the loop of an ``executeStory`` step, whose ``with`` is at ``path``."""
    until, limit = parameters.get("until"), parameters.get("maxIterations")
    if until is None:
        if limit is not None:
            remedy = "remove it, or add until, the condition that ends the loop"
            yield ITERATIONS_UNUSED.at(f"{path}.maxIterations", "has no effect without until", remedy)
        return
    if not text(until):
        yield UNTIL.at(
            f"{path}.until", "must be a string with a condition", 'write for example previous.state == "done"'
        )
    if not are_iterations(limit):
        message = "is required with until" if limit is None else f"must be a whole number from 1 to {MAX_ITERATIONS}"
        remedy = f"set the maximum number of executions, 1 to {MAX_ITERATIONS}"
        yield ITERATIONS.at(f"{path}.maxIterations", message, remedy)
    if parameters.get("waitForCompletion") is False:
        message = "must be true with until, which reads the output of the Story"
        yield DETACHED.at(f"{path}.waitForCompletion", message, "remove it")


def check_branches(parameters: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Findings about the items and the concurrency of a ``parallel`` step; its branches are checked elsewhere."""
    limit = parameters.get("maxConcurrency")
    if limit is not None and not is_count(limit):
        message, remedy = "must be a whole number, 1 or more", "leave it out to run all branches at the same time"
        yield CONCURRENCY.at(f"{path}.maxConcurrency", message, remedy)
    branches = parameters.get("steps")
    if "forEach" not in parameters:
        return
    yield from _items(parameters["forEach"], f"{path}.forEach")
    if not isinstance(branches, list):
        return
    if len(branches) > 1:
        message = f"has {len(branches)} steps, but forEach runs one step for each item"
        yield ITEM_STEPS.at(
            f"{path}.steps", message, "put the steps into a parallel step, or into a Story of their own"
        )
    name = fields_of(branches[0]).get("name") if branches else None
    if isinstance(name, str) and len(name) > MAX_ITEM_STEP_NAME:
        message = f"must have at most {MAX_ITEM_STEP_NAME} characters, because the number of the item is added to it"
        yield ITEM_NAME.at(f"{path}.steps[0].name", message, "choose a shorter name")


def _items(items: Any, path: str) -> Iterator[Finding]:
    if isinstance(items, list):
        if len(items) > MAX_ITEMS:
            message = f"has {len(items)} items, the maximum is {MAX_ITEMS}"
            yield ITEMS.at(path, message, "combine several items into one, or split the work over several steps")
    elif not (isinstance(items, str) and "{{" in items) and not (isinstance(items, Mapping) and TEMPLATE_KEY in items):
        remedy = "write for example {{ steps.find.output.files }}"
        yield ITEMS.at(path, "must be a list, or a template that gives one", remedy)
