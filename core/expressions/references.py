"""What a template refers to, from its text alone.

Errs on the side of more: a step that the evaluation may touch is either named in ``steps`` or covered by
``unknown_steps``. Source: templating contract 3.5 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from core.expressions.template import nodes

_STEPS: Final = "steps"
_KEYED_FUNCTIONS: Final = frozenset({"get", "hasKey"})


@dataclass(frozen=True, slots=True)
class References:
    """Names a text refers to.

    Attributes:
        steps: step names, as written (an alias stays an alias).
        roots: first names of paths: ``inputs``, ``steps``, ``packet`` and others.
        functions: functions called.
        unknown_steps: the text may touch any step, because it computes the name or takes ``steps`` as a whole.
        static_steps: those of ``steps`` that the reference finds too; they decide about offloaded data.
    """

    steps: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    unknown_steps: bool = False
    static_steps: frozenset[str] = frozenset()

    def __or__(self, other: References) -> References:
        return References(
            self.steps | other.steps,
            self.roots | other.roots,
            self.functions | other.functions,
            self.unknown_steps or other.unknown_steps,
            self.static_steps | other.static_steps,
        )


NO_REFERENCES: Final = References()


def of_tree(tree: nodes.Tree) -> References:
    """The references of a template, its definitions included."""
    collector = _Collector()
    collector.block(tree.root, dot_is_root=True, counts_as_static=True)
    for _name, body in tree.definitions:
        collector.block(body, dot_is_root=False, counts_as_static=False)
    return collector.result()


def union(parts: Iterable[References]) -> References:
    """All references of ``parts`` together."""
    total = NO_REFERENCES
    for part in parts:
        total = total | part
    return total


class _Collector:
    def __init__(self) -> None:
        self._steps: set[str] = set()
        self._static: set[str] = set()
        self._roots: set[str] = set()
        self._functions: set[str] = set()
        self._unknown = False
        self._counts_as_static = True

    def result(self) -> References:
        return References(
            frozenset(self._steps),
            frozenset(self._roots),
            frozenset(self._functions),
            self._unknown,
            frozenset(self._static),
        )

    def block(self, block: nodes.Block, *, dot_is_root: bool, counts_as_static: bool) -> None:
        self._counts_as_static = counts_as_static
        for statement in block:
            match statement:
                case nodes.Action(pipe=pipe) | nodes.Include(pipe=nodes.Pipe() as pipe):
                    self._pipe(pipe, dot_is_root)
                case nodes.If():
                    self._pipe(statement.pipe, dot_is_root)
                    self.block(statement.body, dot_is_root=dot_is_root, counts_as_static=counts_as_static)
                    self.block(statement.otherwise, dot_is_root=dot_is_root, counts_as_static=counts_as_static)
                case nodes.With() | nodes.Range():
                    self._pipe(statement.pipe, dot_is_root)
                    self.block(statement.body, dot_is_root=False, counts_as_static=counts_as_static)
                    self.block(statement.otherwise, dot_is_root=dot_is_root, counts_as_static=counts_as_static)
                case _:
                    pass

    def _pipe(self, pipe: nodes.Pipe, dot_is_root: bool) -> None:
        for command in pipe.commands:
            self._command(command, dot_is_root)

    def _command(self, command: nodes.Command, dot_is_root: bool) -> None:
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, nodes.Name):
            self._functions.add(first.name)
            container, keys, others = _keyed_access(first.name, rest)
            if container is not None:
                self._walk(container, keys, dot_is_root, static=first.name == "index")
                rest = others
        else:
            rest = command.operands
        for operand in rest:
            self._walk(operand, (), dot_is_root)

    def _walk(self, operand: nodes.Operand, keys: tuple[str, ...], dot_is_root: bool, *, static: bool = True) -> None:
        """Account for ``operand`` followed by constant ``keys``."""
        match operand:
            case nodes.Field(names=names):
                self._path((*names, *keys), static=static)
            case nodes.Variable(name="$", fields=fields):
                self._path((*fields, *keys), static=False)
            case nodes.Dot():
                if dot_is_root:
                    self._path(keys, static=False)
            case nodes.Chain(operand=inner, fields=fields):
                self._walk(inner, (*fields, *keys), dot_is_root, static=static)
            case nodes.Pipe(commands=(_,), declared=()):
                self._parenthesised(operand, keys, dot_is_root, static=static)
            case nodes.Pipe():
                self._pipe(operand, dot_is_root)
            case nodes.Name(name=name):
                self._functions.add(name)
            case _:
                pass

    def _parenthesised(self, pipe: nodes.Pipe, keys: tuple[str, ...], dot_is_root: bool, *, static: bool) -> None:
        command = pipe.commands[0]
        first = command.operands[0]
        if len(command.operands) == 1 and not isinstance(first, nodes.Name):
            self._walk(first, keys, dot_is_root, static=static)
            return
        if isinstance(first, nodes.Name) and first.name in ("index", "get"):
            container, inner, others = _keyed_access(first.name, command.operands[1:])
            if container is not None and not others:
                self._functions.add(first.name)
                self._walk(container, (*inner, *keys), dot_is_root, static=static and first.name == "index")
                return
        self._pipe(pipe, dot_is_root)

    def _path(self, names: tuple[str, ...], *, static: bool) -> None:
        if not names:
            self._unknown = True
            return
        self._roots.add(names[0])
        if names[0] != _STEPS:
            return
        if len(names) == 1:
            self._unknown = True
            return
        self._steps.add(names[1])
        if static and self._counts_as_static:
            self._static.add(names[1])


def _keyed_access(
    function: str, operands: tuple[nodes.Operand, ...]
) -> tuple[nodes.Operand | None, tuple[str, ...], tuple[nodes.Operand, ...]]:
    """The container a call takes an item from, the constant keys it takes, and its other operands."""
    if function == "index" and operands:
        keys = _constant_keys(operands[1:])
        return operands[0], keys, operands[1 + len(keys) :]
    if function in _KEYED_FUNCTIONS and len(operands) == 2:
        keys = _constant_keys(operands[1:])
        return operands[0], keys, operands[1 + len(keys) :]
    if function == "dig" and len(operands) > 2:
        keys = _constant_keys(operands[:-2])
        return operands[-1], keys, operands[len(keys) : -1]
    return None, (), operands


def _constant_keys(operands: Iterable[nodes.Operand]) -> tuple[str, ...]:
    """The leading operands that are literal texts."""
    return tuple(_leading_strings(operands))


def _leading_strings(operands: Iterable[nodes.Operand]) -> Iterator[str]:
    for operand in operands:
        if not isinstance(operand, nodes.String):
            return
        yield operand.value
