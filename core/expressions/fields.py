"""The fields of a Story that hold expressions, and what each expression may refer to.

Pure: a Story's ``spec`` in wire form in, its fields out; parts that do not fit the Story's schema are skipped.
Source: templating contract 6.3 and 6.5, admission contract 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

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

STEP_LISTS: Final = ("steps", "compensations", "finally")

MAX_BRANCHES: Final = 16
"""The nesting of ``parallel`` steps that is examined; admission allows far less."""

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


def of_story(spec: ReadOnlyObject) -> Iterator[ExpressionField]:
    """The fields of a Story that are set, in the order in which a Story is written."""
    realtime = spec.get("pattern") == "realtime"
    for list_name in STEP_LISTS:
        for index, step in enumerate(_list(spec, list_name)):
            if isinstance(step, Mapping):
                yield from of_step(step, f"spec.{list_name}[{index}]", realtime=realtime and list_name == "steps")
    yield from of_spec(spec)


def of_step(step: ReadOnlyObject, path: str, *, realtime: bool = False) -> Iterator[ExpressionField]:
    """The fields of the step at ``path``; ``realtime``: it is a main step of a realtime Story."""
    yield from _of_step(step, path, _REALTIME if realtime else _BATCH, 0)


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


def _of_step(step: ReadOnlyObject, path: str, scopes: _Scopes, depth: int) -> Iterator[ExpressionField]:
    for field in _of_step_alone(step, path, scopes, depth):
        yield field if field.items or not scopes.items else replace(field, items=scopes.items)


def _of_step_alone(step: ReadOnlyObject, path: str, scopes: _Scopes, depth: int) -> Iterator[ExpressionField]:
    name = str(step.get("name") or "")
    yield from _condition(step, "if", path, name, scopes.condition)
    if step.get("ref") or step.get("run"):
        yield from _value(step, "with", path, name, scopes.parameters)
    elif step.get("type") == "executeStory":
        yield from _of_call(step, path, name, scopes)
    elif isinstance(step.get("with"), Mapping):
        yield from _of_primitive(step, path, name, scopes, depth)
    yield from _value(step, "runtime", path, name, REALTIME_RUNTIME)
    yield from _value(step, "idempotencyKeyTemplate", path, name, scopes.work)
    execution = step.get("execution")
    cache = execution.get("cache") if isinstance(execution, Mapping) else None
    if isinstance(cache, Mapping):
        yield from _value(cache, "key", f"{path}.execution.cache", name, CACHE_KEY)
    check = step.get("postExecution")
    if isinstance(check, Mapping):
        for field in _condition(check, "condition", f"{path}.postExecution", name, BATCH_RUNTIME):
            yield replace(field, own_output_only=True)


def _of_call(step: ReadOnlyObject, path: str, name: str, scopes: _Scopes) -> Iterator[ExpressionField]:
    """The fields of an ``executeStory`` step; with ``until``, its inputs may refer to the previous iteration."""
    parameters = step.get("with")
    if not isinstance(parameters, Mapping) or parameters.get("until") is None:
        yield from _value(step, "with", path, name, scopes.parameters)
        return
    scopes = scopes.offering(OF_ITERATIONS)
    handed_on = {key: value for key, value in parameters.items() if key != "until"}
    yield from _value({"with": handed_on}, "with", path, name, scopes.parameters)
    yield from _condition(parameters, "until", f"{path}.with", name, scopes.work)


def _of_primitive(step: ReadOnlyObject, path: str, name: str, scopes: _Scopes, depth: int) -> Iterator[ExpressionField]:
    parameters = step["with"]
    if step.get("type") == "wait":
        yield from _condition(parameters, "until", f"{path}.with", name, scopes.work)
    elif step.get("type") == "parallel" and depth < MAX_BRANCHES:
        if "forEach" in parameters:
            around = scopes
            scopes = scopes.offering(OF_ITEMS)
            for field in _value(parameters, "forEach", f"{path}.with", name, around.parameters):
                items = replace(field, items=around.items)
                yield items
                scopes = scopes._replace(items=items)
        for index, branch in enumerate(_list(parameters, "steps")):
            if isinstance(branch, Mapping):
                yield from _of_step(branch, f"{path}.with.steps[{index}]", scopes, depth + 1)


def _value(parent: ReadOnlyObject, key: str, path: str, step: str, scope: ExpressionScope) -> Iterator[ExpressionField]:
    if parent.get(key) not in (None, ""):
        yield ExpressionField(f"{path}.{key}", step, _VALUE, parent[key], scope)


def _condition(
    parent: ReadOnlyObject, key: str, path: str, step: str, scope: ExpressionScope
) -> Iterator[ExpressionField]:
    text = parent.get(key)
    if isinstance(text, str) and text.strip():
        yield ExpressionField(f"{path}.{key}", step, _CONDITION, text, scope)


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


def _list(parent: ReadOnlyObject, key: str) -> list[Any]:
    value = parent.get(key)
    return value if isinstance(value, list) else []
