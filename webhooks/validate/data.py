"""Whether the expressions of a Story fit its data, as far as schemas describe it.

An input that the schema excludes, or a comparison of types that never fit, can only fail: an error. What a schema
merely does not mention may be there all the same: a warning. Source: admission contract 4.11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bubu_contract.identity import step_alias
from core.api.objects import ReadOnlyObject
from core.api.suggestion import closest
from core.expressions.analysis import is_constant_template
from core.expressions.errors import Position, excerpt
from core.expressions.reads import Comparison, DataPath, Segments, gives_no_list, reads_of
from core.expressions.resolve import TEMPLATE_KEY, as_word
from core.expressions.roots import INPUTS, STEPS
from core.story.fields import ExpressionField, FieldKind
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import Finding, Rule, Severity
from webhooks.validate import steps, worker
from webhooks.validate.described import Described, of_keys

INPUT_ABSENT: Final = Rule("story/input-absent", "4.11")
INPUT_UNKNOWN: Final = Rule("story/input-unknown", "4.11", severity=Severity.WARNING)
OUTPUT_UNKNOWN: Final = Rule("story/output-unknown", "4.11", severity=Severity.WARNING)
COMPARISON: Final = Rule("story/comparison", "4.11")
COMPARISON_CONSTANT: Final = Rule("story/comparison-constant", "4.11", severity=Severity.WARNING)
CONDITION_CONSTANT: Final = Rule("story/condition-constant", "4.11", severity=Severity.WARNING)
NO_LIST: Final = Rule("story/items-no-list", "4.11")

_OUTPUT_KEYS: Final = ("output", "outputs")
_INPUTS: Final[Segments] = (INPUTS,)
_EQUALITY: Final = ("==", "!=")
_OUTPUT_LENGTH: Final = 3  # steps, the name, output
_CONSTANT_TYPES: Final[Mapping[type, frozenset[str]]] = {
    bool: frozenset(("boolean",)),
    int: frozenset(("integer", "number")),
    float: frozenset(("integer", "number")),
    str: frozenset(("string",)),
}


class StoryData:
    """The schemas of a Story's inputs and of its steps' outputs, and the findings about expressions that read them."""

    def __init__(self, story: ReadOnlyObject, world: ClusterView) -> None:
        spec: ReadOnlyObject = story["spec"]
        schema = spec.get("inputsSchema")
        self._inputs = Described(schema, _INPUTS, "spec.inputsSchema") if isinstance(schema, Mapping) else None
        self._outputs = dict(_outputs_of(story, world))

    def check(self, field: ExpressionField) -> Iterator[Finding]:
        """Findings about one string of a field, and about a condition as a whole."""
        text = field.value[TEMPLATE_KEY] if isinstance(field.value, Mapping) else field.value
        if not isinstance(text, str):
            return
        if field.kind is FieldKind.CONDITION and field.path.endswith(".if"):
            yield from _constant(field, text)
        if field.path.endswith(".with.forEach"):
            yield from self._items(field.path, text)
        reads = reads_of(text)
        for path in reads.paths:
            yield from self._path(field.path, text, path)
        for comparison in reads.comparisons:
            yield from self._comparison(field.path, text, comparison)

    def _path(self, field: str, text: str, path: DataPath) -> Iterator[Finding]:
        described = self._described(path.segments)
        gap = described.gap(path.segments) if described is not None else None
        if described is None or gap is None:
            return
        is_input = described is self._inputs
        rule = OUTPUT_UNKNOWN if not is_input else INPUT_ABSENT if gap.is_closed and path.is_whole else INPUT_UNKNOWN
        place = Position.of(text, path.offset)
        name = _spelled(path.segments[: gap.index + 1])
        message = f"{name} is not in {described.source} (line {place.line}, column {place.column})"
        guess = closest(str(path.segments[gap.index]), gap.known)
        remedy = f"did you mean {_spelled((*path.segments[: gap.index], guess))}?" if guess else ""
        yield rule.at(field, message, remedy or "correct the path, or add it to the schema", excerpt(text, place))

    def _comparison(self, field: str, text: str, comparison: Comparison) -> Iterator[Finding]:
        described = self._described(comparison.path)
        types = described.types(comparison.path) if described is not None else frozenset()
        fitting = _CONSTANT_TYPES[type(comparison.constant)]
        if not types or "null" in types or types & fitting:
            return
        is_equality = comparison.operator in _EQUALITY
        place = Position.of(text, comparison.offset)
        kind, wanted = " or ".join(sorted(types)), "number" if "number" in fitting else min(fitting)
        what = f"{_spelled(comparison.path)} is of type {kind}, and is compared with a {wanted}"
        where = f"(line {place.line}, column {place.column})"
        remedy = "compare it with a value of its own type"
        if described is not self._inputs or (is_equality and not comparison.is_strict):
            rule = COMPARISON_CONSTANT
            result = "always " + ("false" if comparison.operator == "==" else "true") if is_equality else "an error"
            yield rule.at(field, f"{what}, which gives {result} {where}", remedy, excerpt(text, place))
        else:
            yield COMPARISON.at(field, f"{what}, which is an error {where}", remedy, excerpt(text, place))

    def _items(self, field: str, text: str) -> Iterator[Finding]:
        if "{{" not in text:
            return
        remedy = "write one path or one pipeline that gives a list, without text around it"
        if gives_no_list(text):
            yield NO_LIST.at(field, "must give a list, but this template never does", remedy)
            return
        for path in reads_of(text).paths:
            described = self._described(path.segments) if path.is_whole else None
            types = described.types(path.segments) if described is not None else frozenset()
            if types and "array" not in types and described is self._inputs:
                message = f"must give a list, but {_spelled(path.segments)} is of type {' or '.join(sorted(types))}"
                yield NO_LIST.at(field, message, "use an input that is a list, or correct spec.inputsSchema")

    def _described(self, path: Segments) -> Described | None:
        if path[0] == INPUTS:
            return self._inputs
        if len(path) > _OUTPUT_LENGTH and path[0] == STEPS and path[2] in _OUTPUT_KEYS:
            return self._outputs.get(str(path[1]))
        return None


def _constant(field: ExpressionField, text: str) -> Iterator[Finding]:
    if field.is_constant if "{{" not in text else is_constant_template(text):
        word = as_word(text)
        result = "has the same result in every run" if word is None else f"is always {str(word).lower()}"
        remedy = "leave it out, or compare data" if word is not False else "remove the step, or compare data"
        yield CONDITION_CONSTANT.at(field.path, result, remedy)


def _outputs_of(story: ReadOnlyObject, world: ClusterView) -> Iterator[tuple[str, Described]]:
    """The name of each step with a known output → what describes it; also the underscore alias."""
    found: dict[str, Described | None] = {}
    for placed in steps.every_step(story):
        name = str(placed.declared.get("name"))
        for spelling in {name, step_alias(name)}:
            known = _output_of(placed.declared, spelling, story, world)
            found[spelling] = None if spelling in found else known
    for name, described in found.items():
        if described is not None:
            yield name, described


def _output_of(step: ReadOnlyObject, name: str, story: ReadOnlyObject, world: ClusterView) -> Described | None:
    template = worker.template_of(step, story, world)
    spec = {} if isinstance(template, Unseen) else template.get("spec") or {}
    schema, keys = spec.get("outputSchema"), spec.get("declaredOutputKeys")
    root: Segments = (STEPS, name, "output")
    if isinstance(schema, Mapping) and schema:
        return Described(schema, root, "the outputSchema of its EngramTemplate")
    if isinstance(keys, list) and keys:
        return of_keys(map(str, keys), root, "the declaredOutputKeys of its EngramTemplate")
    return None


def _spelled(path: Segments) -> str:
    text = str(path[0])
    for segment in path[1:]:
        plain = isinstance(segment, str) and segment.isidentifier()
        text += f".{segment}" if plain else f'["{segment}"]' if isinstance(segment, str) else f"[{segment}]"
    return text
