"""The data that an expression reads, as exact paths with their places, and what it compares with constants.

Only what is certain: a path through a variable, a computed key or the dot of a ``range`` is left out. ``references``
answers the other question, which steps an expression may read. Source: templating contract 3 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.caches.recently_used import ENTRY_BYTES, kept_by_text
from core.expressions.cel.condition import compile_condition
from core.expressions.cel.reading import Purpose
from core.expressions.cel.tree import CelCall, CelName, Comprehension, Literal, Node, Select, walk
from core.expressions.errors import ExpressionError
from core.expressions.expression import CACHED_FACT_BYTES, Template, compile_template
from core.expressions.resolve import is_cel
from core.expressions.roots import INPUTS, STEPS
from core.expressions.template import nodes

Segments = tuple[str | int, ...]

_CEL_COMPARISONS: Final = {"_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
_TEMPLATE_COMPARISONS: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_OPERANDS: Final = 2
_FOLLOWED: Final = frozenset((INPUTS, STEPS))


@dataclass(frozen=True, slots=True)
class DataPath:
    """A path that starts at a root, and the offset of its first character in the text.

    ``is_whole``: the expression is this path and nothing else, so it has no value if the path leads nowhere.
    """

    segments: Segments
    offset: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A path compared with a constant; ``operator`` is written as in CEL.

    ``is_strict``: types that do not fit are an error also for ``==``, as in templates.
    """

    path: Segments
    operator: str
    constant: bool | float | str
    offset: int
    is_strict: bool


@dataclass(frozen=True, slots=True)
class DataReads:
    """What one expression reads for certain."""

    paths: tuple[DataPath, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


_NOTHING: Final = DataReads()
_SCALAR_FUNCTIONS: Final = frozenset(
    (
        *("toString", "toJson", "toPrettyJson", "toRawJson", "join", "quote", "squote", "cat", "trim", "trimAll"),
        *(
            "title",
            "trimPrefix",
            "trimSuffix",
            "upper",
            "lower",
            "replace",
            "trunc",
            "substr",
            "indent",
            "nindent",
            "b64enc",
        ),
        *("b64dec", "sha256sum", "date", "int", "int64", "float64", "atoi", "add", "add1", "sub", "mul", "div", "mod"),
        *("max", "min", "ceil", "floor", "round", "len", "not", "eq", "ne", "lt", "le", "gt", "ge", "has", "hasKey"),
        *("empty", "contains", "hasPrefix", "hasSuffix", "typeOf", "kindOf"),
    )
)
"""Frequent functions whose results are never lists. ``b64dec`` of a JSON text is a string, too."""


@kept_by_text(CACHED_FACT_BYTES, lambda reads: ENTRY_BYTES * (len(reads.paths) + len(reads.comparisons)))
def reads_of(text: str) -> DataReads:
    """The reads of a template, or of a condition in CEL; none of a text that does not compile."""
    try:
        if "{{" in text:
            return _of_template(compile_template(text))
        return _of_condition(text) if is_cel(text) else _NOTHING
    except ExpressionError:
        return _NOTHING


def gives_no_list(text: str) -> bool:
    """Whether a template gives something else than a list, whatever the data: it has text around its actions, or
    blocks, or its last function makes strings or numbers. False for one that does not compile.
    """
    try:
        template = compile_template(text)
    except ExpressionError:
        return False
    if not template.is_action:
        return True
    (action,) = (statement for statement in template.tree.root if isinstance(statement, nodes.Action))
    last = action.pipe.commands[-1].operands[0]
    return isinstance(last, nodes.Name) and last.name in _SCALAR_FUNCTIONS


def _of_condition(text: str) -> DataReads:
    condition = compile_condition(text)
    paths = [
        DataPath(tuple(part for part in use.segments if part is not None), use.root_offset)
        for use in condition.reading.uses
        if use.purpose is Purpose.VALUE and None not in use.segments and use.segments[0] in _FOLLOWED
    ]
    return DataReads(tuple(dict.fromkeys(paths)), tuple(_cel_comparisons(condition.root)))


def _cel_comparisons(root: Node) -> Iterator[Comparison]:
    names = [
        name for node in walk(root) if isinstance(node, Comprehension) for name in (node.variable, node.accumulator)
    ]
    if not _FOLLOWED.isdisjoint(names):
        return  # a variable has the name of a root
    for node in walk(root):
        if not isinstance(node, CelCall) or node.function not in _CEL_COMPARISONS or len(node.arguments) != _OPERANDS:
            continue
        for one, other in (node.arguments, reversed(node.arguments)):
            path = _cel_path(one)
            if path and isinstance(other, Literal) and isinstance(other.value, (bool, int, float, str)):
                yield Comparison(path, _CEL_COMPARISONS[node.function], other.value, node.offset, is_strict=False)


def _cel_path(node: Node) -> Segments:
    match node:
        case CelName(name=name) if name in _FOLLOWED:
            return (name,)
        case Select(operand=operand, field=field, is_test=False):
            below = _cel_path(operand)
            return (*below, field) if below else ()
        case CelCall(function="_[_]", arguments=(operand, Literal(value=str() | int() as key))):
            below = _cel_path(operand)
            return (*below, key) if below else ()
        case _:
            return ()


def _of_template(template: Template) -> DataReads:
    if template.path is not None:
        found = DataPath(template.path.segments, max(template.text.find(str(template.path.segments[0])), 0), True)
        return DataReads((found,) if found.segments[0] in _FOLLOWED else ())
    paths: dict[DataPath, None] = {}
    comparisons: list[Comparison] = []
    _walk_block(template.tree.root, True, paths, comparisons)
    return DataReads(tuple(paths), tuple(comparisons))


def _walk_block(
    block: nodes.Block, dot_is_root: bool, paths: dict[DataPath, None], comparisons: list[Comparison]
) -> None:
    for statement in block:
        match statement:
            case nodes.Action(pipe=pipe) | nodes.Include(pipe=nodes.Pipe() as pipe):
                _walk_pipe(pipe, dot_is_root, paths, comparisons)
            case nodes.If() | nodes.With() | nodes.Range():
                _walk_pipe(statement.pipe, dot_is_root, paths, comparisons)
                same_dot = dot_is_root and isinstance(statement, nodes.If)
                _walk_block(statement.body, same_dot, paths, comparisons)
                _walk_block(statement.otherwise, dot_is_root, paths, comparisons)
            case _:
                pass


def _walk_pipe(pipe: nodes.Pipe, dot_is_root: bool, paths: dict[DataPath, None], comparisons: list[Comparison]) -> None:
    for command in pipe.commands:
        indexed = _command_path(command, dot_is_root) if len(command.operands) > 1 else ()
        if indexed and indexed[0] in _FOLLOWED:
            paths[DataPath(indexed, command.operands[1].offset)] = None
            continue
        for operand in command.operands:
            segments = _path(operand, dot_is_root)
            if segments:
                paths[DataPath(segments, operand.offset)] = None
                continue
            inner = operand.operand if isinstance(operand, nodes.Chain) else operand
            if isinstance(inner, nodes.Pipe):
                _walk_pipe(inner, dot_is_root, paths, comparisons)
        comparisons += _comparisons(command, dot_is_root)


def _comparisons(command: nodes.Command, dot_is_root: bool) -> Iterator[Comparison]:
    match command.operands:
        case (nodes.Name(name=name, offset=offset), one, other) if name in _TEMPLATE_COMPARISONS:
            for path, value in ((one, other), (other, one)):
                segments, constant = _path(path, dot_is_root), _constant(value)
                if segments and constant is not None:
                    yield Comparison(segments, _TEMPLATE_COMPARISONS[name], constant, offset, is_strict=True)
        case _:
            return


def _constant(operand: nodes.Operand) -> bool | float | str | None:
    match operand:
        case nodes.String(value=text):
            return text
        case nodes.Bool(value=truth):
            return truth
        case nodes.Number(value=number):
            return number.real
        case _:
            return None


def _path(operand: nodes.Operand, dot_is_root: bool) -> Segments:
    """The path that the operand is for certain; empty for others."""
    segments = _segments(operand, dot_is_root)
    return segments if segments and segments[0] in _FOLLOWED else ()


def _segments(operand: nodes.Operand, dot_is_root: bool) -> Segments:
    match operand:
        case nodes.Field(names=names, bare=bare):
            return names if bare or dot_is_root else ()
        case nodes.Variable(name="$", fields=fields):
            return fields
        case nodes.Chain(operand=inner, fields=fields):
            before = _segments(inner, dot_is_root)
            return (*before, *fields) if before else ()
        case nodes.Pipe(declared=(), commands=(command,)):
            return _command_path(command, dot_is_root)
        case _:
            return ()


def _command_path(command: nodes.Command, dot_is_root: bool) -> Segments:
    match command.operands:
        case (operand,):
            return _segments(operand, dot_is_root)
        case (nodes.Name(name="index"), container, *keys):
            before, constant = _segments(container, dot_is_root), [nodes.constant_key(key) for key in keys]
            return (*before, *(key for key in constant if key is not None)) if before and None not in constant else ()
        case _:
            return ()
