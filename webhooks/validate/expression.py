"""The expressions of a Story: syntax, scope, and the steps they refer to.

A Story may have tens of thousands of expressions. Each is compiled once and its findings are kept, because the compiler
caches only about a thousand. A similar name is suggested only for a few unknown names.
Source: admission contract 3.6 and 4.6, templating contract 6.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bubu_contract.identity import step_alias
from core.api.objects import ReadOnlyObject
from core.expressions import analysis
from core.expressions.analysis import StepPlace
from core.expressions.errors import Position
from core.graph.needs import Graph
from core.story import fields
from core.story.fields import ExpressionField, FieldKind
from core.story.step import Step
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import dependency
from webhooks.validate.data import StoryData
from webhooks.validate.dependency import Reached, Steps

UNUSABLE: Final = Rule("story/expression", "3.6")
STEP_UNKNOWN: Final = Rule("story/expression-step-unknown", "4.6", CauseType.NOT_FOUND)
STEP_LATER: Final = Rule("story/expression-step-later", "4.6", severity=Severity.WARNING)
WAITS_FOR_LATER: Final = Rule("story/expression-waits-for-later", "4.6", CauseType.FORBIDDEN)
STEP_UNREACHED: Final = Rule("story/expression-step-unreached", "4.6", severity=Severity.WARNING)

MAX_ERRORS: Final = 200
"""Errors in expressions of steps; reading stops there."""

_CONDITION: Final = FieldKind.CONDITION
_MAX_SUGGESTIONS: Final = 20  # for a Story; each needs a comparison with all names


@dataclass(frozen=True, slots=True)
class _Reading:
    """The expressions of one step: their own errors, and the steps that they refer to."""

    errors: tuple[Finding, ...]
    misfits: tuple[Finding, ...]
    """Findings about the data that they read, which do not count as errors of the text."""
    places: tuple[tuple[StepPlace, str], ...]
    """References to known steps, each with the name of the step."""


class Reader:
    """Reads the expressions of a Story once, and reports their errors.

    Args:
        steps: the steps of its lists.
        owners: each name of a branch that an expression may use → the step that contains the branch.
        of_items: the same for the branches of each item, to which no other step can refer.
        data: what schemas say about the data of the Story.
    """

    def __init__(self, steps: Steps, owners: Mapping[str, str], of_items: Mapping[str, str], data: StoryData) -> None:
        self._data = data
        self.errors: list[Finding] = []
        """Errors in the expressions of the steps that were read."""
        self.has_given_up = False
        """Whether there were more than ``MAX_ERRORS``; then the graph is unknown, and other checks are useless."""
        self._steps = steps
        self._targets = _targets_of(steps, owners)
        self._of_items = of_items
        self._visible = dependency.visible_from(steps)
        self._readings: dict[str, _Reading] = {}
        self._suggestions = 0

    def read(self, placed: Step) -> bool:
        """Read the expressions of a step and its branches; false if it gave up before their end."""
        if placed.place not in self._readings and not self.has_given_up:
            reading = self._readings[placed.place] = self._read(placed)
            self.errors += reading.errors
        return not self.has_given_up

    def check_step(self, placed: Step, graph: Graph) -> Iterator[Finding]:
        """Findings about the expressions of a step and its branches."""
        self.read(placed)  # if two steps have one name, the second was not read
        reading = self._readings.get(placed.place)
        if reading is None:
            return
        yield from reading.errors
        yield from reading.misfits
        name = str(placed.declared.get("name"))
        known = self._visible[placed.group]
        before = Reached(name, placed, self._steps, graph)
        for place, target in reading.places:
            if target == name:  # another check finds circles
                if place.step not in (name, step_alias(name)) and not place.path.endswith(".until"):
                    message = f"branch {place.step!r} might not have ended when this one starts{_where(place.position)}"
                    yield STEP_UNREACHED.at(place.path, message, "make both of them steps", place.excerpt)
                continue
            if target not in known:
                yield self._later(place, target, waits=target in graph.needs[name] and not placed.realtime)
            elif target not in before and not placed.realtime:
                message = f"step {target!r} might not have ended when this step starts{_where(place.position)}"
                yield STEP_UNREACHED.at(place.path, message, f"add {target!r} to needs", place.excerpt)

    def check_story(self, spec: ReadOnlyObject) -> Iterator[Finding]:
        """Findings about the expressions outside of steps."""
        for field in fields.of_spec(spec):
            yield from _problems(field, list(self._steps))
            for leaf in field.leaves():
                yield from self._data.check(leaf)
            for place in field.step_places:
                if place.step not in self._targets:
                    yield self._unknown(place, list(self._steps))

    def _read(self, placed: Step) -> _Reading:
        own, known = str(placed.declared.get("name")), self._visible[placed.group]
        errors: list[Finding] = []
        misfits: list[Finding] = []
        places: list[tuple[StepPlace, str]] = []
        for field in fields.of_step(placed):
            for path, value in field.leaf_values():
                if len(self.errors) + len(errors) >= MAX_ERRORS:
                    self.has_given_up = True
                    message = f"expressions from here on were not checked: there are already {MAX_ERRORS} errors"
                    return _Reading((*errors, UNUSABLE.at(path, message, "correct those first")), (), ())
                if field.is_plain(value):
                    continue
                leaf = field.part((path, value))
                problems = list(_problems(leaf, known))
                errors += problems
                if not problems:
                    misfits += self._data.check(leaf)
                for place in leaf.step_places:
                    if leaf.own_output_only and place.step in (leaf.step, step_alias(leaf.step)):
                        continue
                    target = self._targets.get(place.step)
                    if target is None:
                        errors.append(self._unknown(place, [name for name in known if name != own]))
                    else:
                        places.append((place, target))
        return _Reading(tuple(errors), tuple(misfits), tuple(places))

    def _later(self, place: StepPlace, target: str, *, waits: bool) -> Finding:
        """No run can start if a step waits for a later step; a value that is read without waiting is absent."""
        message = f"step {target!r} runs after this step{_where(place.position)}"
        if not waits:
            return STEP_LATER.at(place.path, message, "it has no output yet when this step starts", place.excerpt)
        remedy = f"move one of the two, or do not use {target!r}, which is a step of {self._steps[target].group}"
        return WAITS_FOR_LATER.at(place.path, message, remedy, place.excerpt)

    def _unknown(self, place: StepPlace, suggested: Collection[str]) -> Finding:
        self._suggestions += 1
        few = self._suggestions <= _MAX_SUGGESTIONS
        remedy = dependency.remedy_for(place.step, suggested) if few else "correct the name, or add the step"
        message = f"an expression refers to step {place.step!r}, which does not exist{_where(place.position)}"
        if place.step in self._of_items:
            around = self._of_items[place.step]
            message = f"expressions cannot refer to {place.step!r}, which runs for each item{_where(place.position)}"
            remedy = f"use steps.{around}.output.items, which has the outputs of all items"
        return STEP_UNKNOWN.at(place.path, message, remedy, place.excerpt)


def _targets_of(steps: Steps, owners: Mapping[str, str]) -> Mapping[str, str]:
    """The names that expressions may use → the step: its name, also with underscores, and the names of its branches."""
    targets: dict[str, str] = {name: name for name in steps}
    for name in steps:
        targets.setdefault(step_alias(name), name)
    return {**owners, **targets}


def _problems(field: ExpressionField, names: Collection[str]) -> Iterator[Finding]:
    if field.kind is _CONDITION:
        found = analysis.check_condition(field.value, field.path, field.scope, names)
    else:
        found = analysis.check_value(field.value, field.path, field.scope)
    return (
        UNUSABLE.at(problem.path, problem.message + _where(problem.position), problem.remedy, problem.excerpt)
        for problem in found
    )


def _where(place: Position | None) -> str:
    return f" (line {place.line}, column {place.column})" if place else ""
