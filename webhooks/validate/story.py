"""What a Story must keep to beyond its schema: names, dependencies, templates, durations. Pure; all errors at once.

Not here: whether what it refers to exists, which needs the cluster.
Source: admission contract 4.4 to 4.9, StoryRun contract 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from core.api.duration import parse_positive_duration
from core.api.errors import FieldError
from core.api.suggestion import closest
from core.expressions import analysis, fields
from core.expressions.errors import Position
from core.expressions.fields import ExpressionField, Kind
from core.graph.cycles import find_cycle
from core.graph.needs import Declared, build_graph

Object = Mapping[str, Any]

STEP_LISTS: Final = fields.STEP_LISTS
_DURATIONS: Final = ("story", "step", "gracefulShutdownTimeout")


def validate_story(story: Object) -> list[FieldError]:
    """Everything wrong with ``story``, in spec order. It is taken to fit its schema (core.api.manifest)."""
    spec: Object = story.get("spec") or {}
    errors: list[FieldError] = []
    names = [str(step.get("name", "")) for list_name in STEP_LISTS for step in spec.get(list_name) or ()]
    for list_name in STEP_LISTS:
        for index, step in enumerate(spec.get(list_name) or ()):
            path = f"spec.{list_name}[{index}]"
            errors += _step_errors(step, path)
            realtime = spec.get("pattern") == "realtime" and list_name == "steps"
            errors += _expression_errors(fields.of_step(step, path, realtime=realtime), names)
    errors += _name_errors(spec)
    errors += _dependency_errors(spec)
    errors += _expression_errors(fields.of_spec(spec), names)
    timeouts = (spec.get("policy") or {}).get("timeouts") or {}
    errors += (error for key in _DURATIONS for error in _duration_error(timeouts, key, "spec.policy.timeouts"))
    return errors


def _step_errors(step: Object, path: str) -> Iterator[FieldError]:
    if bool(step.get("ref")) == bool(step.get("type")):
        which = "both ref and type" if step.get("ref") else "neither ref nor type"
        yield FieldError(path, f"has {which}", "give ref for an Engram, or type for a primitive")
    yield from _duration_error(step.get("execution") or {}, "timeout", f"{path}.execution")
    if step.get("type") == "sleep":
        yield from _duration_error(step.get("with") or {}, "duration", f"{path}.with")


def _expression_errors(found: Iterable[ExpressionField], names: Sequence[str]) -> Iterator[FieldError]:
    for field in found:
        if field.kind is Kind.CONDITION:
            yield from _problems(analysis.check_condition(field.value, field.path, field.scope, names))
        else:
            yield from _problems(analysis.check_value(field.value, field.path, field.scope))


def _name_errors(spec: Object) -> Iterator[FieldError]:
    seen: dict[str, str] = {}
    for list_name in STEP_LISTS:
        for index, step in enumerate(spec.get(list_name) or ()):
            path, name = f"spec.{list_name}[{index}].name", step.get("name", "")
            if name in seen:
                yield FieldError(path, f"{name!r} is taken by {seen[name]}", "choose another name")
            seen.setdefault(name, path.removesuffix(".name"))


def _dependency_errors(spec: Object) -> Iterator[FieldError]:
    """Unknown names with a suggestion, and a circle in full."""
    declared: list[Declared] = []
    steps: dict[str, tuple[str, Object]] = {}
    for list_name in STEP_LISTS:
        for index, step in enumerate(spec.get(list_name) or ()):
            references = analysis.condition_references(step.get("if") or "").steps
            if step.get("ref") or step.get("type") == "executeStory":
                references |= analysis.references_of(step.get("with")).steps
            declared.append(Declared(step.get("name", ""), tuple(step.get("needs") or ()), references))
            steps.setdefault(step.get("name", ""), (f"spec.{list_name}[{index}]", step))
    graph = build_graph(declared)
    for name, unknown in graph.unknown:
        path, step = steps[name]
        guess = closest(unknown, [step for step in graph.order if step != name])
        remedy = f"did you mean {guess}?" if guess else f"steps are: {', '.join(graph.order)}"
        needs = step.get("needs") or ()
        if unknown in needs:
            yield FieldError(f"{path}.needs[{needs.index(unknown)}]", f"there is no step {unknown!r}", remedy)
        else:
            yield _unknown_step(unknown, remedy, step, path)
    circle = find_cycle(graph)
    if circle is not None:
        path, _ = steps[circle[0]]
        yield FieldError(path, f"steps need each other in a circle: {' → '.join(circle)}", "remove one of these needs")


def _unknown_step(unknown: str, remedy: str, step: Object, path: str) -> FieldError:
    message = f"an expression refers to step {unknown!r}, which does not exist"
    for field in fields.of_step(step, path):
        place = next((place for place in field.step_places if place.step == unknown), None)
        if place is not None:
            return FieldError(place.path, message + _where(place.position), remedy, place.excerpt)
    return FieldError(path, message, remedy)


def _duration_error(parent: Object, key: str, path: str) -> Iterator[FieldError]:
    text = parent.get(key)
    if not isinstance(text, str) or not text.strip():
        return
    try:
        parse_positive_duration(text)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        yield FieldError(f"{path}.{key}", message, remedy or "use more than 0s")


def _problems(problems: list[analysis.FieldProblem]) -> Iterator[FieldError]:
    for problem in problems:
        yield FieldError(problem.path, problem.message + _where(problem.position), problem.remedy, problem.excerpt)


def _where(place: Position | None) -> str:
    return f" (line {place.line}, column {place.column})" if place else ""
