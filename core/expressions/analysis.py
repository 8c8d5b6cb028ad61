"""Facts about the expressions of a manifest that are known without evaluating them, in both dialects.

Admission, lint and the dependency graph all use this module, so they see the same language as the run does: the answers
come from the syntax trees that are evaluated. A fact that depends on the data is reported as unknown.
Source: templating contract 3.5, 6.4 and 6.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.caches.recently_used import ENTRY_BYTES, kept_by_text
from core.expressions import references, scopes
from core.expressions.cel.condition import compile_condition
from core.expressions.errors import ExpressionError, Position, TemplateSyntaxError, excerpt
from core.expressions.expression import CACHED_FACT_BYTES, FUNCTIONS, LEXEME_BYTES, Template, compile_template
from core.expressions.limits import EvaluationLimits
from core.expressions.paths import Json
from core.expressions.references import References
from core.expressions.resolve import TEMPLATE_KEY, is_cel
from core.expressions.scopes import ExpressionScope
from core.expressions.sprig.dates import CLOCKED
from core.expressions.template import nodes

__all__ = [
    "FieldProblem",
    "References",
    "StepPlace",
    "check_condition",
    "check_text",
    "check_value",
    "condition_references",
    "condition_step_places",
    "is_constant",
    "is_constant_condition",
    "is_constant_template",
    "is_timeless",
    "most_steps",
    "references_of",
    "step_places",
]

_CHANGING: Final = frozenset(name for name, function in FUNCTIONS.items() if not function.deterministic) | CLOCKED
MAX_DEPTH: Final = EvaluationLimits().depth
"""Depth of values; nothing deeper is resolved."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A problem of one expression: the JSON path of its field, the place in its text (``excerpt`` shows it), and what
    to write instead.
    """

    path: str
    message: str
    position: Position | None = None
    remedy: str = ""
    excerpt: str = ""

    @classmethod
    def of(cls, path: str, error: ExpressionError) -> FieldProblem:
        """The problem in ``error``."""
        return cls(path, error.message, error.position, error.remedy, error.excerpt)

    def __str__(self) -> str:
        where = f" (line {self.position.line}, column {self.position.column})" if self.position else ""
        return f"{self.path}: {self.message}{where}{f'; {self.remedy}' if self.remedy else ''}"


def references_of(value: Json) -> References:
    """Everything that the templates in ``value`` refer to; a text that does not parse refers to nothing."""
    return references.union(_references_of_text(text) for text in _templates(value, []))


def condition_references(text: str) -> References:
    """Everything that a condition refers to, in either dialect; one that does not compile refers to nothing."""
    if not is_cel(text):
        return _references_of_text(text)
    try:
        return compile_condition(text).references
    except ExpressionError:
        return references.NO_REFERENCES


@dataclass(frozen=True, slots=True)
class StepPlace:
    """The first reference of an expression to a step: the JSON path of its field, and the place in its text."""

    step: str
    path: str
    text: str
    offset: int

    @property
    def position(self) -> Position:
        return Position.of(self.text, self.offset)

    @property
    def excerpt(self) -> str:
        return excerpt(self.text, self.position)


def step_places(value: Json, path: str) -> Iterator[StepPlace]:
    """Every step that the templates in ``value`` refer to by name; ``path`` is the path of its field."""
    if isinstance(value, str):  # the usual case
        return _step_places(value, path) if "{{" in value else iter(())
    return (place for where, text in _strings(value, path, 0) if "{{" in text for place in _step_places(text, where))


def condition_step_places(text: str, path: str) -> Iterator[StepPlace]:
    """``step_places`` of a condition, in either dialect."""
    return _step_places(text, path) if "{{" in text or is_cel(text) else iter(())


def is_constant(value: Json) -> bool:
    """Whether ``value`` resolves to itself, whatever the data is."""
    if isinstance(value, str):
        return "{{" not in value
    if isinstance(value, dict):
        return TEMPLATE_KEY not in value and all(is_constant(item) for item in value.values())
    return all(is_constant(item) for item in value) if isinstance(value, list) else True


def is_constant_condition(text: str) -> bool:
    """Whether the condition has the same result for all data; one that does not compile has: an error."""
    return "{{" not in text and not condition_references(text).roots


def is_constant_template(text: str) -> bool:
    """Whether a template reads no data and calls no function of time or chance; false for one that does not compile."""
    template = _compiled(text)
    if not isinstance(template, Template):
        return False
    used = template.references
    return not used.roots and not used.unknown_steps and used.functions.isdisjoint(_CHANGING)


def is_timeless(text: str) -> bool:
    """Whether the condition ``text`` has the same result at any time, as long as the data is the same.

    True of every condition in CEL, which has neither clock nor random values, and of one that does not compile.
    """
    return condition_references(text).functions.isdisjoint(_CHANGING) if "{{" in text else True


def most_steps(text: str) -> int | None:
    """The maximum number of evaluated parts of an expression, in either dialect; ``None`` when it depends on the data.

    A text without ``{{`` counts as a condition. Zero for one that does not compile, which is not evaluated.
    """
    try:
        if is_cel(text):
            return compile_condition(text).constant_steps
        return _most_template_steps(compile_template(text).tree) if "{{" in text else 0
    except ExpressionError:
        return 0


def check_value(value: Json, path: str, scope: ExpressionScope | None = None) -> list[FieldProblem]:
    """All problems of the templates in ``value``; ``path`` is the path of its field.

    With a ``scope``, also references that are not allowed there.
    """
    if isinstance(value, str):  # the usual case
        return check_text(value, path, scope)
    problems: list[FieldProblem] = []
    for where, text in _strings(value, path, 0):
        problems.extend(check_text(text, where, scope))
    problems.extend(_shape_problems(value, path, 0))
    return problems


def check_text(text: str, path: str, scope: ExpressionScope | None = None) -> list[FieldProblem]:
    """All problems of one string: the first syntax error, or otherwise those of its references."""
    if "{{" not in text:
        return []
    template = _compiled(text)
    if isinstance(template, TemplateSyntaxError):
        return [FieldProblem.of(path, template)]
    if scope is None:
        return []
    return [_located(path, text, problem) for problem in _scope_problems(text, scope)]


def check_condition(
    text: str, path: str, scope: ExpressionScope | None = None, steps: Collection[str] = ()
) -> list[FieldProblem]:
    """``check_text`` for a condition, in either dialect; ``steps`` are names to suggest for unknown ones."""
    if not is_cel(text):
        return check_text(text, path, scope)
    try:
        condition = compile_condition(text, steps)
    except ExpressionError as error:
        return [FieldProblem.of(path, error)]
    if scope is None:
        return []
    return [_located(path, text, problem) for problem in scopes.check_uses(condition.reading.uses, scope)]


def _size_of(found: Template | TemplateSyntaxError) -> int:
    return LEXEME_BYTES * found.tree.lexemes if isinstance(found, Template) else 0


@kept_by_text(CACHED_FACT_BYTES, _size_of)
def _compiled(text: str) -> Template | TemplateSyntaxError:
    """The template or its error; the error is cached, too, because searching for a suggestion is costly."""
    try:
        return compile_template(text)
    except TemplateSyntaxError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)  # it would keep what the parser held


@kept_by_text(CACHED_FACT_BYTES, lambda problems: ENTRY_BYTES * len(problems))
def _scope_problems(text: str, scope: ExpressionScope) -> tuple[scopes.ScopeProblem, ...]:
    """The problems of a template that compiles."""
    return tuple(scopes.check_tree(compile_template(text).tree, scope))


def _located(path: str, text: str, problem: scopes.ScopeProblem) -> FieldProblem:
    position = Position.of(text, problem.offset)
    return FieldProblem(path, problem.message, position, problem.remedy, excerpt(text, position))


def _step_places(text: str, path: str) -> Iterator[StepPlace]:
    return (StepPlace(name, path, text, offset) for name, offset in _places_in(text))


def _places_in(text: str) -> Sequence[tuple[str, int]]:
    """Every step that ``text`` refers to, with its first place, in the order of the text; none when it does not
    compile.
    """
    if "{{" in text:
        template = _compiled(text)
        return template.step_offsets if isinstance(template, Template) else ()
    try:
        return references.in_order(compile_condition(text).reading.step_offsets)
    except ExpressionError:
        return ()


def _most_template_steps(tree: nodes.Tree) -> int | None:
    """The number of statements, calls and operands of a template without loops and inclusions; None for other
    templates.
    """
    pending, total = [*tree.root], 0
    while pending:
        statement = pending.pop()
        total += 1
        match statement:
            case nodes.Range() | nodes.Include():
                return None
            case nodes.If() | nodes.With():
                pending += [*statement.body, *statement.otherwise]
                total += sum(1 for _ in nodes.operands_of(statement.pipe)) + len(statement.pipe.commands)
            case nodes.Action(pipe=pipe):
                total += sum(1 for _ in nodes.operands_of(pipe)) + len(pipe.commands)
            case _:
                pass
    return total


def _templates(value: Json, found: list[str], depth: int = 0) -> list[str]:
    """``found``, plus every text of ``value`` that ``_strings`` returns and that has an expression."""
    if isinstance(value, str):
        if "{{" in value:
            found.append(value)
    elif depth < MAX_DEPTH and isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _templates(item, found, depth + 1)
    return found


def _references_of_text(text: str) -> References:
    template = _compiled(text) if "{{" in text else None
    return template.references if isinstance(template, Template) else references.NO_REFERENCES


def _strings(value: Json, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every string that is resolved, with its JSON path; nothing below the depth at which resolving fails."""
    if isinstance(value, str):
        yield path, value
    elif depth < MAX_DEPTH and isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{path}.{key}" if path else key, depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]", depth + 1)


def _shape_problems(value: Json, path: str, depth: int) -> Iterator[FieldProblem]:
    if not isinstance(value, (dict, list)):
        return
    if depth >= MAX_DEPTH:
        yield FieldProblem(path, f"the value is nested deeper than {MAX_DEPTH} levels")
        return
    if isinstance(value, dict) and TEMPLATE_KEY in value and not isinstance(value[TEMPLATE_KEY], str):
        yield FieldProblem(f"{path}.{TEMPLATE_KEY}", "must be a string")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from _shape_problems(item, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}", depth + 1)
