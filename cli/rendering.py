"""Evaluates fields of a Story with given data: the value of each, its type, and the steps that it needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from cli.problem import UsageError
from core.api.objects import Object
from core.api.suggestion import closest
from core.engine.clock import system_now
from core.evaluation.evaluator import (
    EXPRESSION_FAILED,
    Answer,
    EvaluationPolicy,
    Evaluator,
    Failure,
    FailureCause,
    NotYet,
    Value,
)
from core.evaluation.schema import apply_schema_defaults
from core.expressions.analysis import most_steps
from core.expressions.errors import Position
from core.expressions.paths import is_reference
from core.expressions.resolve import TEMPLATE_KEY, VariableScope
from core.expressions.roots import ITEM, ITEM_INDEX, ITERATION, OF_ITEMS, PREVIOUS
from core.story import fields
from core.story.fields import ExpressionField, FieldKind
from core.story.story import Story, read_story

_CUT_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What to evaluate, with which data.

    Attributes:
        steps: only fields of these steps.
        paths: only fields at or below these paths, which start at the Story, its spec or the step. With paths, the
            result also has plain strings; without them, only expressions.
        outputs: by step.
        finished: whether no more outputs will come.
        deterministic: whether functions of time and chance are refused.
    """

    steps: Sequence[str] = ()
    paths: Sequence[str] = ()
    inputs: Object = dataclasses.field(default_factory=dict)
    outputs: Object = dataclasses.field(default_factory=dict)
    finished: bool = False
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field and the result of its evaluation."""

    field: ExpressionField
    answer: Answer

    @property
    def needs(self) -> list[str]:
        """The steps that it reads, with the names in the expression."""
        return sorted(self.field.references.steps)

    @property
    def document(self) -> Object:
        """All that is known about it, for programs; exactly one of ``value``, ``blocked`` and ``error`` is present."""
        field, references = self.field, self.field.references
        value = self.answer.value if isinstance(self.answer, Value) else None
        return {
            "field": field.path,
            "step": field.step,
            "kind": field.kind.value,
            "expression": field.value,
            "needs": self.needs,
            "needsAll": references.unknown_steps,
            "functions": sorted(references.functions),
            "constant": field.is_constant,
            "mostSteps": _most_steps(field),
            **({"type": type_of(value)} if isinstance(self.answer, Value) else {}),
            **document_of(self.answer, field.path),
        }

    def cells(self, *, wide: bool) -> list[str]:
        """Field, type, needs, value."""
        needs = [*self.needs, *(["all steps"] if self.field.references.unknown_steps else [])]
        match self.answer:
            case Value(value=value):
                kind, text = type_of(value), json.dumps(value, ensure_ascii=False)
            case NotYet(steps=steps):
                kind, text = "blocked", f"waits for {', '.join(sorted(steps)) or 'all steps'}"
            case Failure():
                kind, text = "error", document_of(self.answer, self.field.path)["error"]["message"]
        if not wide and len(text) > _CUT_CHARACTERS:
            text = text[: _CUT_CHARACTERS - 1] + "…"
        return [self.field.path, kind, ", ".join(needs) or "-", text]

    @property
    def problem(self) -> str | None:
        """The error of the field, with place and remedy."""
        return self.answer.message if isinstance(self.answer, Failure) else None


async def evaluate(story: Object, request: RenderRequest) -> list[FieldRow]:
    """The requested fields, in the order of the Story.

    Raises:
        UsageError: there is no such step, or no field at such a path; an output is not an object.
    """
    read = read_story(story)
    found, data = _selected(read, request), _data(read, request)
    evaluator = Evaluator(lambda: EvaluationPolicy(deterministic=request.deterministic), now=system_now)
    rendering = _Rendering(evaluator, data, finished=request.finished)
    return [FieldRow(field, await rendering.answer(field)) for field in found]


class _Rendering:
    """Evaluates fields with given data: fields of each item for the first item, and a loop for its first iteration."""

    def __init__(self, evaluator: Evaluator, data: VariableScope, *, finished: bool) -> None:
        self._evaluator = evaluator
        self._data = data
        self._variables = data.variables
        self._finished = finished
        self._items: dict[str, Answer] = {}  # by the path of their forEach

    async def answer(self, field: ExpressionField) -> Answer:
        """The result of the field."""
        variables, finished = self._variables, self._finished
        if field.own_output_only:
            own = {name: {"output": entry["output"]} for name, entry in self._data.steps.items() if name == field.step}
            variables, finished = {"steps": VariableScope({}, own).variables["steps"]}, finished or bool(own)
        for further in (await self._first_item(field), self._first_iteration(field)):
            if not isinstance(further, Value):
                return further
            variables = {**variables, **further.value}
        ask = self._evaluator.condition if field.kind is FieldKind.CONDITION else self._evaluator.resolve
        return await ask(field.value, variables, field=field.path, finished=finished)

    async def _first_item(self, field: ExpressionField) -> Answer:
        """``item`` and ``itemIndex`` for the field, if it reads them."""
        if field.items is None or OF_ITEMS.isdisjoint(field.references.roots):
            return Value({})
        path = field.items.path
        if path not in self._items:
            self._items[path] = await self.answer(field.items)
        answer = self._items[path]
        if not isinstance(answer, Value):
            steps = answer.steps if isinstance(answer, NotYet) else frozenset[str]()
            return NotYet(steps, f"{path} has no items yet")
        if not isinstance(answer.value, list):
            return Failure(EXPRESSION_FAILED, f"{path}: gave {type_of(answer.value)}, not a list of items")
        if not answer.value:
            return NotYet(field.items.references.steps or frozenset({field.items.step}), f"{path} has no items")
        return Value({ITEM: answer.value[0], ITEM_INDEX: 0})

    def _first_iteration(self, field: ExpressionField) -> Answer:
        """``previous`` and ``iteration``: before the first iteration, or for a condition that reads its result."""
        if PREVIOUS not in field.scope.roots:
            return Value({})
        is_until, entry = field.kind is FieldKind.CONDITION, self._data.steps.get(field.step)
        if is_until and entry is None and PREVIOUS in field.references.roots:
            return NotYet(frozenset({field.step}), f"step {field.step} has no output yet")
        return Value({PREVIOUS: entry["output"] if is_until and entry else {}, ITERATION: 1})


def field_paths(story: Object) -> list[str]:
    """The paths of all expressions of a Story."""
    return [leaf.field.path for leaf in _all_leaves(read_story(story), with_literals=False)]


def _selected(story: Story, request: RenderRequest) -> list[ExpressionField]:
    found = list(_all_leaves(story, with_literals=bool(request.paths)))
    _refuse_unknown("--step", request.steps, [step.name for step in story.every_step()])
    if request.steps:
        found = [leaf for leaf in found if leaf.field.step in request.steps]
    for path in request.paths:
        if not any(leaf.is_below(path) for leaf in found):
            guess = closest(path, _paths(found))
            remedy = f"did you mean {guess}?" if guess else "leave out --field to see all of them"
            raise UsageError(f"--field {path}: no expression is evaluated there", remedy=remedy)
    return [leaf.field for leaf in found if not request.paths or any(map(leaf.is_below, request.paths))]


def _data(story: Story, request: RenderRequest) -> VariableScope:
    """The variables of the expressions; absent inputs have the defaults of the Story's schema."""
    _refuse_unknown("--outputs", request.outputs, [step.name for step in story.every_step()])
    odd = [name for name, output in request.outputs.items() if not isinstance(output, dict)]
    if odd:
        remedy = 'write {"step": {"key": "value"}}'
        raise UsageError(f"--outputs: the output of {', '.join(odd)} is not an object", remedy=remedy)
    schema = story.spec.get("inputsSchema")
    inputs = apply_schema_defaults(schema, request.inputs) if isinstance(schema, dict) else request.inputs
    return VariableScope(
        inputs, {name: {"output": output, "outputs": output} for name, output in request.outputs.items()}
    )


@dataclass(frozen=True, slots=True)
class _Leaf:
    field: ExpressionField
    step_path: str  # ``spec.steps[0]``; empty for fields of the Story itself

    def is_below(self, path: str) -> bool:
        at = {path, f"spec.{path}", f"{self.step_path}.{path}" if self.step_path else path}
        return any(self.field.path == each or self.field.path.startswith((f"{each}.", f"{each}[")) for each in at)


def _all_leaves(story: Story, *, with_literals: bool) -> Iterator[_Leaf]:
    for field in fields.of_story(story):
        step_path = field.path.split("].")[0] + "]" if field.step else ""
        for leaf in field.leaves():
            is_expression = leaf.kind is FieldKind.CONDITION or not leaf.is_constant
            if is_expression or with_literals:
                yield _Leaf(leaf, step_path)


def _refuse_unknown(option: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            guess = closest(name, known)
            remedy = f"did you mean {guess}?" if guess else f"there are: {', '.join(known)}"
            raise UsageError(f"{option}: the Story has no step {name!r}", remedy=remedy)


def _paths(found: Iterable[_Leaf]) -> Iterator[str]:
    for leaf in found:
        yield leaf.field.path
        yield leaf.field.path.removeprefix("spec.")
        if leaf.step_path:
            yield leaf.field.path.removeprefix(f"{leaf.step_path}.")


def _most_steps(field: ExpressionField) -> int | None:
    if field.kind is FieldKind.CONDITION:
        return most_steps(field.value)
    text = field.value.get(TEMPLATE_KEY) if isinstance(field.value, Mapping) else field.value
    return most_steps(text) if isinstance(text, str) and "{{" in text else 0


_TYPES: Final = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}


def document_of(answer: Answer, field: str) -> Object:
    """``{"value": …}``, ``{"blocked": {"steps", "message", "position"}}`` or an ``error_document``.

    ``field`` is the evaluated field: a message only names a field if it is a part of that.
    """
    match answer:
        case Value(value=value):
            return {"value": value}
        case NotYet(steps=steps, reason=reason, cause=cause):
            return {"blocked": {"steps": sorted(steps), **_error_fields(cause, field, reason)}}
        case Failure(reason=reason, message=message, cause=cause):
            return error_document(cause.kind if cause else reason, **_error_fields(cause, field, message))


def error_document(kind: str, message: str, position: Object | None = None) -> Object:
    """``{"error": {"kind", "message", "position"}}``; ``position`` is ``{"line", "column"}``, both from 1, or null."""
    return {"error": {"kind": kind, "message": message, "position": position}}


def type_of(value: Any) -> str:
    """``null``, ``bool``, ``number``, ``string``, ``array``, ``object``; ``offloaded(KEY)`` for a storage reference."""
    if value is None:
        return "null"
    if not is_reference(value):
        return _TYPES[type(value)]
    path = str(value.get(STORAGE_PATH) or "")
    separator = "." if path and path[0] not in ".[" else ""
    return f"offloaded({value[STORAGE_REFERENCE]}{separator}{path})"


def _error_fields(cause: FailureCause | None, field: str, otherwise: str) -> Object:
    if cause is None:
        return {"message": otherwise, "position": None}
    inner = cause.field.removeprefix(field).lstrip(".")
    where = f"{inner}: " if inner else ""
    remedy = f"; {cause.remedy}" if cause.remedy else ""
    return {"message": f"{where}{cause.message}{remedy}", "position": _document_of_position(cause.position)}


def _document_of_position(position: Position | None) -> Object | None:
    return {"line": position.line, "column": position.column} if position else None
