"""The expressions of a Story: syntax, scope, and the steps they refer to.

Source: admission contract 3.6 and 4.6, templating contract 6.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.api.identity import step_alias
from core.expressions import analysis, fields
from core.expressions.analysis import StepPlace
from core.expressions.errors import Position
from core.expressions.fields import ExpressionField, Kind
from core.graph.needs import Graph
from webhooks.finding import Cause, Finding, Rule, Severity
from webhooks.validate import dependency
from webhooks.validate.dependency import Steps
from webhooks.validate.steps import Placed, with_branches
from webhooks.world import Object

UNUSABLE: Final = Rule("story/expression", "3.6")
STEP_UNKNOWN: Final = Rule("story/expression-step-unknown", "4.6", Cause.NOT_FOUND)
STEP_LATER: Final = Rule("story/expression-step-later", "4.6", severity=Severity.WARNING)
STEP_UNREACHED: Final = Rule("story/expression-step-unreached", "4.6", severity=Severity.WARNING)

Branches = Mapping[str, str]
"""Name of a branch, in both spellings, to the step of the lists that it is part of."""


def branches_of(steps: Steps) -> Branches:
    """Those of all ``parallel`` steps."""
    found: dict[str, str] = {}
    for name, placed in steps.items():
        for branch in with_branches(placed):
            if branch.depth:
                found.setdefault(branch.step["name"], name)
                found.setdefault(step_alias(branch.step["name"]), name)
    return found


def check_step(placed: Placed, steps: Steps, branches: Branches, graph: Graph) -> Iterator[Finding]:
    """The expressions of a step of one of the lists, its branches included."""
    name = str(placed.step.get("name"))
    known = dependency.visible(placed, steps)
    before = dependency.reached(name, placed, steps, graph)
    for field in fields.of_step(placed.step, placed.path, realtime=placed.realtime):
        yield from _problems(field, known)
        for place in field.step_places:
            target = _target(place, steps, branches)
            if target is None:
                yield _unknown(place, [other for other in known if other != name])
            elif target == name:
                continue  # its own output, or that of a branch beside; a circle is found elsewhere
            elif target not in known:
                message = f"step {target!r} runs after this one{_where(place.position)}"
                yield STEP_LATER.at(place.path, message, "its output is not there yet", place.excerpt)
            elif target not in before and not placed.realtime:
                message = f"step {target!r} need not be done when this one starts{_where(place.position)}"
                yield STEP_UNREACHED.at(place.path, message, f"add {target!r} to needs", place.excerpt)


def check_story(spec: Object, steps: Steps, branches: Branches) -> Iterator[Finding]:
    """The expressions that belong to no step."""
    for field in fields.of_spec(spec):
        yield from _problems(field, list(steps))
        for place in field.step_places:
            if _target(place, steps, branches) is None:
                yield _unknown(place, list(steps))


def _problems(field: ExpressionField, names: list[str]) -> Iterator[Finding]:
    if field.kind is Kind.CONDITION:
        found = analysis.check_condition(field.value, field.path, field.scope, names)
    else:
        found = analysis.check_value(field.value, field.path, field.scope)
    for problem in found:
        yield UNUSABLE.at(problem.path, problem.message + _where(problem.position), problem.remedy, problem.excerpt)


def _unknown(place: StepPlace, suggested: list[str]) -> Finding:
    message = f"an expression refers to step {place.step!r}, which does not exist{_where(place.position)}"
    return STEP_UNKNOWN.at(place.path, message, dependency.remedy_for(place.step, suggested), place.excerpt)


def _target(place: StepPlace, steps: Steps, branches: Branches) -> str | None:
    """The step that is meant; its underscore spelling counts, and so does the name of a branch in it."""
    if place.step in steps:
        return place.step
    spelt = (name for name in steps if step_alias(name) == place.step)
    return next(spelt, None) or branches.get(place.step)


def _where(place: Position | None) -> str:
    return f" (line {place.line}, column {place.column})" if place else ""
