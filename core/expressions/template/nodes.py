"""The tree of a template.

Two trees are equal when they have the same meaning: offsets do not count. ``render`` returns the text of a tree in
normal form (roots dotted, subscripts as ``index`` calls), so parsing it again returns an equal tree. Source:
templating contract 3.1 and 7.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from core.expressions.template.literals import NumberValue


class Subscript(Enum):
    """Whether a parenthesised ``index`` call was written with brackets."""

    NO = auto()
    REFERENCE = auto()  # a form that the reference implementation rewrites to index
    EXTENDED = auto()  # a form that it refuses: [0], ['many-characters'], $x["k"]


@dataclass(frozen=True, slots=True)
class Number:
    source: str
    value: NumberValue = field(compare=False)
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class String:
    value: str
    source: str = field(compare=False)
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Bool:
    value: bool
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Nil:
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Dot:
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Field:
    """``.a.b``; ``bare`` when a root is written without its dot, which means the root also inside ``range``."""

    names: tuple[str, ...]
    offset: int = field(compare=False)
    bare: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x.a.b``; ``name`` includes the ``$`` and is ``$`` alone for the variables as a whole."""

    name: str
    fields: tuple[str, ...]
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A function."""

    name: str
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of a computed value: ``(f x).a.b``."""

    operand: Operand
    fields: tuple[str, ...]
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Command:
    operands: tuple[Operand, ...]
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Pipe:
    declared: tuple[str, ...]
    assigns: bool
    commands: tuple[Command, ...]
    offset: int = field(compare=False)
    subscript: Subscript = field(default=Subscript.NO, compare=False)


Operand: TypeAlias = Number | String | Bool | Nil | Dot | Field | Variable | Name | Chain | Pipe


def constant_key(operand: Operand) -> str | int | None:
    """The key of a map or list that the operand is; None if only an evaluation gives it."""
    match operand:
        case String(value=value):
            return value
        case Number(value=number):
            return number.whole
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Action:
    """``{{ pipeline }}``; ``end`` is the offset after its ``}}``; ``trimmed``: whether it has a trim marker."""

    pipe: Pipe
    offset: int = field(compare=False)
    end: int = field(compare=False)
    trimmed: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class If:
    pipe: Pipe
    body: Block
    otherwise: Block
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class With:
    pipe: Pipe
    body: Block
    otherwise: Block
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Range:
    pipe: Pipe
    body: Block
    otherwise: Block
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Break:
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Continue:
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Include:
    """``{{ template "name" pipeline }}``."""

    name: str
    pipe: Pipe | None
    offset: int = field(compare=False)


Statement: TypeAlias = Text | Action | If | With | Range | Break | Continue | Include
Block: TypeAlias = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole template: its statements and the bodies of its ``define`` and ``block`` actions by name."""

    root: Block
    definitions: tuple[tuple[str, Block], ...]
    lexemes: int = field(default=0, compare=False, repr=False)
    """How many words, signs and texts the template has."""


def pipes_of(block: Block) -> Iterator[Pipe]:
    """Every pipeline of the statements, in the order of the text, except those inside operands."""
    for statement in block:
        match statement:
            case Action(pipe=pipe):
                yield pipe
            case If() | With() | Range():
                yield statement.pipe
                yield from pipes_of(statement.body)
                yield from pipes_of(statement.otherwise)
            case Include(pipe=Pipe() as pipe):
                yield pipe
            case _:
                pass


def operands_of(pipe: Pipe) -> Iterator[Operand]:
    """Every operand of a pipeline, including those of its parenthesised pipelines, outermost first."""
    for command in pipe.commands:
        for operand in command.operands:
            yield operand
            inner = operand.operand if isinstance(operand, Chain) else operand
            if inner is not operand:
                yield inner
            if isinstance(inner, Pipe):
                yield from operands_of(inner)


def render(tree: Tree) -> str:
    """The template text of ``tree`` in normal form."""
    definitions = "".join(f"{{{{define {_quote(name)}}}}}{_block(body)}{{{{end}}}}" for name, body in tree.definitions)
    return definitions + _block(tree.root)


def render_pipe(pipe: Pipe) -> str:
    """The text of one pipeline, without delimiters."""
    declared = ", ".join(pipe.declared)
    head = f"{declared} {'=' if pipe.assigns else ':='} " if declared else ""
    return head + " | ".join(" ".join(_operand(operand) for operand in command.operands) for command in pipe.commands)


def render_operand(operand: Operand) -> str:
    """The text of one operand."""
    return _operand(operand)


def _block(block: Block) -> str:
    parts: list[str] = []
    for index, statement in enumerate(block):
        parts.append(_statement(statement))
        if isinstance(statement, Text):
            following = block[index + 1] if index + 1 < len(block) else None
            parts.append(_behind(statement.value, following))
    return "".join(parts)


def _behind(text: str, following: Statement | None) -> str:
    """The trim marker or space that keeps a text apart from the following output."""
    if text.endswith("{"):
        return " {{- /**/}}"
    return "{{/**/}}" if isinstance(following, Text) else ""


def _statement(statement: Statement) -> str:
    match statement:
        case Text(value=value):
            return value
        case Action(pipe=pipe):
            return f"{{{{{render_pipe(pipe)}}}}}"
        case If() | With() | Range():
            keyword = type(statement).__name__.lower()
            otherwise = f"{{{{else}}}}{_block(statement.otherwise)}" if statement.otherwise else ""
            return f"{{{{{keyword} {render_pipe(statement.pipe)}}}}}{_block(statement.body)}{otherwise}{{{{end}}}}"
        case Break():
            return "{{break}}"
        case Continue():
            return "{{continue}}"
        case Include(name=name, pipe=pipe):
            return f"{{{{template {_quote(name)}{' ' + render_pipe(pipe) if pipe else ''}}}}}"


def _operand(operand: Operand) -> str:
    match operand:
        case Number(source=source):
            return source
        case String(value=value):
            return _quote(value)
        case Bool(value=value):
            return "true" if value else "false"
        case Nil():
            return "nil"
        case Dot():
            return "."
        case Field(names=names):
            return "".join(f".{name}" for name in names)
        case Variable(name=name, fields=fields):
            return name + "".join(f".{field}" for field in fields)
        case Name(name=name):
            return name
        case Chain(operand=inner, fields=fields):
            return _operand(inner) + "".join(f".{field}" for field in fields)
        case Pipe():
            return f"({render_pipe(operand)})"


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quote(value: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or _plain_or_byte(char) for char in value) + '"'


def _plain_or_byte(char: str) -> str:
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char
