"""The syntax tree of a CEL expression, macros expanded, every node with its place in the text.

Read from the library's serialized form, so it is the tree that is evaluated; there is no second parser. A node keeps
its own serialized form in ``source``, so that a part of an expression can be evaluated alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from core.expressions.cel import wire

_PARSED: Final = b"type.googleapis.com/cel.expr.ParsedExpr"
_PARSED_EXPRESSION: Final = 2
_CHECKED_EXPRESSION: Final = 4
_PARSED_SOURCE: Final = 3
_CHECKED_SOURCE: Final = 5


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: null, bool, int, float, string or bytes. An unsigned integer is an ``int`` here."""

    offset: int
    source: bytes
    value: bool | int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class CelName:
    """An identifier: a root, a variable of a macro, or the name of a type or namespace.

    ``is_absolute``: written with a dot before it, so that it never refers to a variable of a macro.
    """

    offset: int
    source: bytes
    name: str
    is_absolute: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``; with ``is_test`` it is ``has(operand.field)``."""

    offset: int
    source: bytes
    operand: Node
    field: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class CelCall:
    """A function or operator (``_==_``, ``_[_]``); ``target`` is the receiver of a method."""

    offset: int
    source: bytes
    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    offset: int
    source: bytes
    elements: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    offset: int
    source: bytes
    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """The expansion of a macro: ``accumulator`` begins as ``start``, becomes ``step`` for every element while
    ``goes_on`` is true, and ``result`` is the value.
    """

    offset: int
    source: bytes
    variable: str
    over: Node
    accumulator: str
    start: Node
    goes_on: Node
    step: Node
    result: Node


Node: TypeAlias = Literal | CelName | Select | CelCall | ListOf | MapOf | Comprehension


def read(serialized: bytes) -> Node:
    """The tree of a serialized expression, parsed or checked.

    Raises:
        ValueError: the bytes are not such an expression.
    """
    envelope = dict(wire.fields(serialized))
    kind, message = _bytes(envelope[1]), dict(wire.fields(_bytes(envelope[2])))
    parsed = kind == _PARSED
    offsets = _offsets(_bytes(message[_PARSED_SOURCE if parsed else _CHECKED_SOURCE]))
    return _Reader(offsets).node(_bytes(message[_PARSED_EXPRESSION if parsed else _CHECKED_EXPRESSION]))


def alone(node: Node) -> bytes:
    """``node`` as a separate serialized expression."""
    return wire.delimited(1, _PARSED) + wire.delimited(2, wire.delimited(_PARSED_EXPRESSION, node.source))


def children(node: Node) -> Iterator[Node]:
    """The parts of a node, in the order of the text."""
    match node:
        case Select(operand=operand):
            yield operand
        case CelCall(target=target, arguments=arguments):
            if target is not None:
                yield target
            yield from arguments
        case ListOf(elements=elements):
            yield from elements
        case MapOf(entries=entries):
            for key, value in entries:
                yield key
                yield value
        case Comprehension():
            yield from (node.over, node.start, node.goes_on, node.step, node.result)
        case _:
            pass


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(tuple(children(current))))


class _Reader:
    """Builds nodes; the library's parser has limited their depth."""

    def __init__(self, offsets: Mapping[int, int]) -> None:
        self._offsets = offsets

    def node(self, source: bytes) -> Node:
        identity, kind, body = 0, 0, b""
        for number, value in wire.fields(source):
            if number == 2 and isinstance(value, int):
                identity = value
            elif isinstance(value, bytes):
                kind, body = number, value
        offset = self._offsets.get(identity, 0)
        match kind:
            case 3:
                return Literal(offset, source, _constant(body))
            case 4:
                name = _text(dict(wire.fields(body)).get(1, b""))
                return CelName(offset, source, name.removeprefix("."), name.startswith("."))
            case 5:
                return self._select(offset, source, dict(wire.fields(body)))
            case 6:
                return self._call(offset, source, body)
            case 7:
                elements = tuple(self.node(_bytes(value)) for number, value in wire.fields(body) if number == 1)
                return ListOf(offset, source, elements)
            case 8:
                entries = tuple(self._entry(_bytes(value)) for number, value in wire.fields(body) if number == 2)
                return MapOf(offset, source, entries)
            case 9:
                return self._comprehension(offset, source, dict(wire.fields(body)))
            case _:
                raise ValueError(f"an expression has the unknown kind {kind}")

    def _select(self, offset: int, source: bytes, parts: dict[int, int | bytes]) -> Select:
        return Select(offset, source, self.node(_bytes(parts[1])), _text(parts[2]), bool(parts.get(3)))

    def _call(self, offset: int, source: bytes, body: bytes) -> CelCall:
        target: Node | None = None
        function, arguments = "", []
        for number, value in wire.fields(body):
            if number == 1:
                target = self.node(_bytes(value))
            elif number == 2:
                function = _text(value)
            elif number == 3:
                arguments.append(self.node(_bytes(value)))
        return CelCall(offset, source, function, target, tuple(arguments))

    def _entry(self, body: bytes) -> tuple[Node, Node]:
        parts = dict(wire.fields(body))
        if 2 in parts:  # the name of a message's field; messages are not supported
            key: Node = Literal(0, b"", _text(parts[2]))
        else:
            key = self.node(_bytes(parts[3]))
        return key, self.node(_bytes(parts[4]))

    def _comprehension(self, offset: int, source: bytes, parts: dict[int, int | bytes]) -> Comprehension:
        over, start, goes_on, step, result = (self.node(_bytes(parts[number])) for number in (2, 4, 5, 6, 7))
        return Comprehension(
            offset, source, _text(parts.get(1, b"")), over, _text(parts.get(3, b"")), start, goes_on, step, result
        )


def _constant(body: bytes) -> bool | int | float | str | bytes | None:
    number, value = next(iter(wire.fields(body)))
    match number, value:
        case 2, int():
            return bool(value)
        case 3, int():
            return wire.signed(value)
        case 4, int():
            return value
        case 5, bytes():
            return float(struct.unpack("<d", value)[0])
        case 6, bytes():
            return value.decode("utf-8", "replace")
        case 7, bytes():
            return value
        case _:
            return None


def _offsets(source: bytes) -> dict[int, int]:
    """The offset of each node, in characters, by the node's number."""
    offsets: dict[int, int] = {}
    for number, value in wire.fields(source):
        if number == 4:
            entry = dict(wire.fields(_bytes(value)))
            identity, offset = entry.get(1, 0), entry.get(2, 0)
            if isinstance(identity, int) and isinstance(offset, int):
                offsets[identity] = offset
    return offsets


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a message was expected, not a number")  # noqa: TRY004 - the documented error of bad bytes
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8", "replace")
