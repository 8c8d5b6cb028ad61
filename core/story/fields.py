"""The fields of a Story that hold expressions, and what each expression may refer to.

Pure. Parts that do not fit the Story's schema are skipped.
Source: templating contract 6.3 and 6.5, admission contract 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from core.api.objects import ReadOnlyObject
from core.expressions import analysis
from core.expressions.paths import Json
from core.expressions.references import References
from core.expressions.resolve import TEMPLATE_KEY
from core.expressions.roots import OF_ITEMS, OF_ITERATIONS
from core.expressions.scopes import (
    BATCH_RUNTIME,
    CACHE_KEY,
    REALTIME_RUNTIME,
    REALTIME_STATIC,
    STORY_OUTPUT,
    ExpressionScope,
)
from core.story.kinds import StepKind
from core.story.step import Step
from core.story.story import Story

Leaf = tuple[str, Json]
"""Path and value of a part of a field that has no further parts."""


class FieldKind(StrEnum):
    """How a field is read: a condition without ``{{`` is CEL, a value without it is a constant."""

    VALUE = "value"
    CONDITION = "condition"


_VALUE: Final = FieldKind.VALUE
_CONDITION: Final = FieldKind.CONDITION
"""An alias, because the lookup of an enum member is slow and happens for every string of a Story."""


@dataclass(frozen=True, slots=True)
class ExpressionField:
    """One field. ``value`` is its content: a string, or any value for a ``with`` or an output.

    Attributes:
        path: from the Story down, ``spec.steps[0].with``.
        step: the step that it belongs to; empty for fields of the Story itself.
        own_output_only: it may only refer to the output of its step.
        items: the ``forEach`` for whose items it is evaluated, the innermost one.
    """

    path: str
    step: str
    kind: FieldKind
    value: Json
    scope: ExpressionScope
    own_output_only: bool = False
    items: ExpressionField | None = None

    @property
    def references(self) -> References:
        """The references in it."""
        if self.kind is _CONDITION:
            return analysis.condition_references(self.value)
        return analysis.references_of(self.value)

    @property
    def is_constant(self) -> bool:
        """Whether its value is the same for all data."""
        if self.kind is _CONDITION:
            return analysis.is_constant_condition(self.value)
        return analysis.is_constant(self.value)

    @property
    def step_places(self) -> Iterator[analysis.StepPlace]:
        """The places where it refers to steps."""
        if self.kind is _CONDITION:
            return analysis.condition_step_places(self.value, self.path)
        return analysis.step_places(self.value, self.path)

    def leaves(self) -> Iterator[ExpressionField]:
        """The strings in it, each as a separate field; a ``$bubuTemplate`` wrapper is one."""
        return map(self.part, self.leaf_values())

    def leaf_values(self) -> list[Leaf]:
        """The same as ``leaves``, as pairs from which ``part`` makes fields."""
        found: list[Leaf] = []
        _add_leaves(found, self.value, self.path, 0)
        return found

    def part(self, leaf: Leaf) -> ExpressionField:
        """A leaf as a separate field."""
        path, value = leaf
        return ExpressionField(path, self.step, self.kind, value, self.scope, self.own_output_only, self.items)

    def is_plain(self, value: Json) -> bool:
        """Whether a leaf with this ``value`` always resolves to itself, so that it cannot have a problem."""
        if self.kind is _CONDITION:
            return False
        return "{{" not in value if isinstance(value, str) else not isinstance(value, (Mapping, list))


def of_story(story: Story) -> Iterator[ExpressionField]:
    """The fields of a Story that are set, in the order in which a Story is written."""
    for step in story.top():
        yield from of_step(step)
    yield from of_spec(story.spec)


def of_step(step: Step) -> Iterator[ExpressionField]:
    """The fields of a step of one of the Story's lists, and of its branches."""
    yield from _of_step(step, _REALTIME if step.realtime else _BATCH)


def start_parts(step: Step) -> Iterator[tuple[str, FieldKind, Json]]:
    """Place, kind and value of what one step or branch needs before or during its execution, without its branches.

    The condition of a ``wait`` step is none of it: it may watch a step that is running.
    """
    declared, parameters = step.declared, step.parameters
    if _is_text(declared.get("if")):
        yield "if", _CONDITION, declared["if"]
    match step.kind:
        case StepKind.EXECUTE_STORY if parameters.get("until") is not None:
            yield "with", _VALUE, {key: value for key, value in parameters.items() if key != "until"}
            if _is_text(parameters["until"]):
                yield "with.until", _CONDITION, parameters["until"]
        case StepKind.ENGRAM | StepKind.EXECUTE_STORY:
            if declared.get("with") not in (None, ""):
                yield "with", _VALUE, declared["with"]
        case StepKind.PARALLEL:
            if parameters.get("forEach") not in (None, ""):
                yield "with.forEach", _VALUE, parameters["forEach"]


def of_spec(spec: ReadOnlyObject) -> Iterator[ExpressionField]:
    """The fields that do not belong to a step."""
    yield from _value(spec, "output", "spec", "", STORY_OUTPUT)
    policy = spec.get("policy")
    if isinstance(policy, Mapping):
        yield from _value(policy, "with", "spec.policy", "", BATCH_RUNTIME)


class _Scopes(NamedTuple):
    """The scope of ``if``, of ``with`` and the values in it, and of the expressions that are evaluated while the step
    runs. ``items`` is the innermost enclosing ``forEach``.
    """

    condition: ExpressionScope
    parameters: ExpressionScope
    work: ExpressionScope = BATCH_RUNTIME
    items: ExpressionField | None = None

    def offering(self, further: frozenset[str]) -> _Scopes:
        condition, parameters, work = (scope.offering(further) for scope in self[:3])
        return self._replace(condition=condition, parameters=parameters, work=work)


_BATCH: Final = _Scopes(BATCH_RUNTIME, BATCH_RUNTIME)
_REALTIME: Final = _Scopes(REALTIME_RUNTIME, REALTIME_STATIC)


def _of_step(step: Step, scopes: _Scopes) -> Iterator[ExpressionField]:
    for field in _of_step_alone(step, scopes):
        yield field if field.items or not scopes.items else replace(field, items=scopes.items)


def _of_step_alone(step: Step, scopes: _Scopes) -> Iterator[ExpressionField]:
    declared, path, name = step.declared, step.place, step.name
    inside = scopes
    for field in _of_start(step, scopes):
        yield field
        if step.is_for_each and field.kind is _VALUE:
            inside = inside._replace(items=replace(field, items=scopes.items))
    if step.kind is StepKind.WAIT:
        yield from _condition(step.parameters, "until", f"{path}.with", name, scopes.work)
    elif step.kind is StepKind.PARALLEL:
        inside = inside.offering(OF_ITEMS) if step.is_for_each else inside
        for branch in step.branches:
            yield from _of_step(branch, inside)
    yield from _value(declared, "runtime", path, name, REALTIME_RUNTIME)
    yield from _value(declared, "idempotencyKeyTemplate", path, name, scopes.work)
    execution = declared.get("execution")
    cache = execution.get("cache") if isinstance(execution, Mapping) else None
    if isinstance(cache, Mapping):
        yield from _value(cache, "key", f"{path}.execution.cache", name, CACHE_KEY)
    check = declared.get("postExecution")
    if isinstance(check, Mapping):
        for field in _condition(check, "condition", f"{path}.postExecution", name, BATCH_RUNTIME):
            yield replace(field, own_output_only=True)


def _of_start(step: Step, scopes: _Scopes) -> Iterator[ExpressionField]:
    is_loop = step.kind is StepKind.EXECUTE_STORY and step.parameters.get("until") is not None
    inside = scopes.offering(OF_ITERATIONS) if is_loop else scopes
    for key, kind, value in start_parts(step):
        scope = scopes.condition if key == "if" else inside.work if kind is _CONDITION else inside.parameters
        yield ExpressionField(f"{step.place}.{key}", step.name, kind, value, scope)


def _value(parent: ReadOnlyObject, key: str, path: str, step: str, scope: ExpressionScope) -> Iterator[ExpressionField]:
    if parent.get(key) not in (None, ""):
        yield ExpressionField(f"{path}.{key}", step, _VALUE, parent[key], scope)


def _condition(
    parent: ReadOnlyObject, key: str, path: str, step: str, scope: ExpressionScope
) -> Iterator[ExpressionField]:
    if _is_text(parent.get(key)):
        yield ExpressionField(f"{path}.{key}", step, _CONDITION, parent[key], scope)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _add_leaves(found: list[Leaf], value: Json, path: str, depth: int) -> None:
    if isinstance(value, str) or depth >= analysis.MAX_DEPTH or not isinstance(value, (dict, list, Mapping)):
        found.append((path, value))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _add_leaves(found, item, f"{path}[{index}]", depth + 1)
    elif TEMPLATE_KEY in value:
        found.append((path, value))
    else:
        for key, item in value.items():
            _add_leaves(found, item, f"{path}.{key}", depth + 1)
