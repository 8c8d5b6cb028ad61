"""What can be said about the expressions of a manifest without evaluating them.

Admission, lint and the dependency graph all ask here, so that they see the same language as the run does.
Source: templating contract 3.5, 6.4 and 6.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.expressions import references, scopes
from core.expressions.errors import Position, TemplateSyntaxError
from core.expressions.expression import compile_template
from core.expressions.limits import Limits
from core.expressions.paths import Json
from core.expressions.references import References
from core.expressions.resolve import TEMPLATE_KEY, as_word
from core.expressions.scopes import ExpressionScope

__all__ = [
    "FieldProblem",
    "References",
    "check_condition",
    "check_text",
    "check_value",
    "condition_references",
    "is_constant",
    "references_of",
]

_MAX_DEPTH = Limits().depth


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one expression: the JSON path of its field, the place in its text, and what to write
    instead.
    """

    path: str
    message: str
    position: Position | None = None
    remedy: str = ""

    def __str__(self) -> str:
        where = f" (line {self.position.line}, column {self.position.column})" if self.position else ""
        return f"{self.path}: {self.message}{where}{f'; {self.remedy}' if self.remedy else ''}"


def references_of(value: Json) -> References:
    """Everything the templates in ``value`` refer to; a text that does not parse refers to nothing."""
    return references.union(_references_of_text(text) for _path, text in _strings(value, "", 0))


def condition_references(text: str) -> References:
    """Everything a condition refers to."""
    return _references_of_text(text)


def is_constant(value: Json) -> bool:
    """Whether resolving ``value`` gives ``value`` itself, whatever the data."""
    if isinstance(value, str):
        return "{{" not in value
    if isinstance(value, dict):
        return TEMPLATE_KEY not in value and all(is_constant(item) for item in value.values())
    return all(is_constant(item) for item in value) if isinstance(value, list) else True


def check_value(value: Json, path: str, scope: ExpressionScope | None = None) -> list[FieldProblem]:
    """All problems of the templates in ``value``, whose field is called ``path``.

    With a ``scope`` also those of what they may refer to there.
    """
    problems: list[FieldProblem] = []
    for where, text in _strings(value, path, 0):
        problems.extend(check_text(text, where, scope))
    problems.extend(_shape_problems(value, path, 0))
    return problems


def check_text(text: str, path: str, scope: ExpressionScope | None = None) -> list[FieldProblem]:
    """All problems of one string: the first of its syntax, or else those of its references."""
    if "{{" not in text:
        return []
    try:
        template = compile_template(text)
    except TemplateSyntaxError as error:
        return [FieldProblem(path, error.message, error.position, error.remedy)]
    if scope is None:
        return []
    return [
        FieldProblem(path, problem.message, Position.of(text, problem.offset), problem.remedy)
        for problem in scopes.check_tree(template.tree, scope)
    ]


def check_condition(text: str, path: str, scope: ExpressionScope | None = None) -> list[FieldProblem]:
    """``check_text`` for a condition, which without ``{{`` must be one of the words for true and false."""
    if "{{" in text or not text.strip() or as_word(text) is not None:
        return check_text(text, path, scope)
    remedy = "write an expression between {{ and }}, or one of true, false, yes, no, y, n, 1, 0"
    return [FieldProblem(path, f"{text.strip()!r} is not a boolean", Position(1, 1), remedy)]


def _references_of_text(text: str) -> References:
    if "{{" not in text:
        return references.NO_REFERENCES
    try:
        return compile_template(text).references
    except TemplateSyntaxError:
        return references.NO_REFERENCES


def _strings(value: Json, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every string that is resolved, with its JSON path; nothing below the depth at which resolution fails anyway."""
    if isinstance(value, str):
        yield path, value
    elif depth < _MAX_DEPTH and isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{path}.{key}" if path else key, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]", depth + 1)


def _shape_problems(value: Json, path: str, depth: int) -> Iterator[FieldProblem]:
    if not isinstance(value, (dict, list)):
        return
    if depth >= _MAX_DEPTH:
        yield FieldProblem(path, f"the value is nested deeper than {_MAX_DEPTH} levels")
        return
    if isinstance(value, dict) and TEMPLATE_KEY in value and not isinstance(value[TEMPLATE_KEY], str):
        yield FieldProblem(f"{path}.{TEMPLATE_KEY}", "must be a text")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from _shape_problems(item, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}", depth + 1)
