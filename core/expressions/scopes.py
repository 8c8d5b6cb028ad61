"""The roots that an expression may refer to, depending on its field.

Fields of elements inside ``range`` and ``with`` are not checked; neither are paths from ``$`` and the body of a
``define``. Source: templating contract 6.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from core.api.suggestion import closest
from core.expressions import sprig
from core.expressions.cel.reading import Use
from core.expressions.errors import Fault
from core.expressions.roots import INPUTS, OF_CACHE_KEYS, OF_CONTAINERS, OF_ITEMS, OF_ITERATIONS, PACKET, STEPS
from core.expressions.template import nodes

_NOT_OF_LOOPS: Final = frozenset({INPUTS, STEPS, PACKET})
_ELSEWHERE: Final = {
    **dict.fromkeys(OF_ITEMS, "exists only inside a parallel step with forEach"),
    **dict.fromkeys(OF_ITERATIONS, "exists only in with and until of an executeStory step that has until"),
    **dict.fromkeys(OF_CACHE_KEYS, "exists only in the key of an output cache"),
    **dict.fromkeys(OF_CONTAINERS, "exists only in the container of an EngramTemplate, and in the key of a cache"),
}


@dataclass(frozen=True, slots=True)
class ExpressionScope:
    """The roots a field's expressions may use, and whether their result may depend on time or chance."""

    name: str
    roots: frozenset[str]
    chance: bool = True

    def offering(self, further: frozenset[str]) -> ExpressionScope:
        """The same scope with ``further`` roots."""
        return replace(self, roots=self.roots | further)


BATCH_RUNTIME: Final = ExpressionScope("batch-runtime", frozenset({INPUTS, STEPS}))
REALTIME_STATIC: Final = ExpressionScope("realtime-static", frozenset({INPUTS}), chance=False)
REALTIME_RUNTIME: Final = ExpressionScope("realtime-runtime", _NOT_OF_LOOPS)
STORY_OUTPUT: Final = ExpressionScope("story-output", frozenset({INPUTS, STEPS}))
CACHE_KEY: Final = ExpressionScope("cache-key", frozenset({INPUTS}) | OF_CACHE_KEYS)
CONTAINER: Final = ExpressionScope("container", frozenset({INPUTS}) | OF_CONTAINERS)


@dataclass(frozen=True, slots=True)
class ScopeProblem:
    """A reference that the scope does not allow; ``fault`` is ``unknown-root``, ``forbidden-root``, ``inclusion`` or
    ``parse``.
    """

    fault: str
    subject: str
    offset: int
    message: str
    remedy: str = ""


def check_tree(tree: nodes.Tree, scope: ExpressionScope) -> list[ScopeProblem]:
    """All problems of a template in ``scope``, in the order of the text."""
    return list(_Checker(scope).block(tree.root, dot_is_root=True))


def check_uses(uses: Iterable[Use], scope: ExpressionScope) -> list[ScopeProblem]:
    """All problems of a CEL expression in ``scope``, one for each root."""
    first = {str(use.segments[0]): use for use in reversed(tuple(uses))}
    checker = _Checker(scope)
    return [problem for root, use in first.items() for problem in checker.root(root, use.root_offset)]


class _Checker:
    def __init__(self, scope: ExpressionScope) -> None:
        self._scope = scope

    def block(self, block: nodes.Block, *, dot_is_root: bool) -> Iterator[ScopeProblem]:
        for statement in block:
            match statement:
                case nodes.Action(pipe=pipe):
                    yield from self._pipe(pipe, dot_is_root)
                case nodes.If() | nodes.With() | nodes.Range():
                    yield from self._pipe(statement.pipe, dot_is_root)
                    same = dot_is_root and isinstance(statement, nodes.If)
                    yield from self.block(statement.body, dot_is_root=same)
                    yield from self.block(statement.otherwise, dot_is_root=dot_is_root)
                case nodes.Include(offset=offset):
                    message = "templates cannot include each other here"
                    yield ScopeProblem("inclusion", "", offset, message, "write the string where it is used")
                case _:
                    pass

    def _pipe(self, pipe: nodes.Pipe, dot_is_root: bool) -> Iterator[ScopeProblem]:
        for command in pipe.commands:
            first, rest = command.operands[0], command.operands[1:]
            if isinstance(first, nodes.Name) and dot_is_root:
                yield from self._keyed(first.name, rest)
            for operand in command.operands:
                yield from self._operand(operand, dot_is_root)

    def _operand(self, operand: nodes.Operand, dot_is_root: bool) -> Iterator[ScopeProblem]:
        match operand:
            case nodes.Field(names=names, bare=bare, offset=offset):
                if dot_is_root or bare:
                    yield from self.root(names[0], offset)
            case nodes.Name(name=name, offset=offset):
                function = sprig.FUNCTIONS.get(name)
                if function and not function.deterministic and not self._scope.chance:
                    message = f"the function {name} is not available in {self._scope.name} expressions"
                    yield ScopeProblem(Fault.SYNTAX, name, offset, message, "its result changes from call to call")
            case nodes.Pipe():
                yield from self._pipe(operand, dot_is_root)
            case nodes.Chain(
                operand=nodes.Pipe(commands=(nodes.Command(operands=(nodes.Name(name="index"), *_)),)) as inner
            ):
                yield from self._pipe(inner, dot_is_root)
            case _:
                pass

    def _keyed(self, function: str, operands: tuple[nodes.Operand, ...]) -> Iterator[ScopeProblem]:
        """``index . "name"``, ``get . "name"`` and ``dig "name" ... default .`` refer to a root, too."""
        container, key = None, None
        if function in ("index", "get") and len(operands) > 1:
            container, key = operands[0], operands[1]
        elif function == "dig" and len(operands) > 2:
            container, key = operands[-1], operands[0]
        if isinstance(container, nodes.Dot) and isinstance(key, nodes.String):
            yield from self.root(key.value, key.offset)

    def root(self, name: str, offset: int) -> Iterator[ScopeProblem]:
        """The problem of a root with that name, if the scope does not allow it."""
        if name in self._scope.roots:
            return
        remedy = f"use {', '.join(sorted(self._scope.roots))}"
        if name in _NOT_OF_LOOPS or name in _ELSEWHERE:
            message = f"{name} {_ELSEWHERE.get(name) or f'is not available in {self._scope.name} expressions'}"
            fault = "unknown-root" if name in OF_CONTAINERS else "forbidden-root"  # no Story has those of containers
            yield ScopeProblem(fault, name, offset, message, remedy)
        else:
            guess = closest(name, sorted(self._scope.roots))
            remedy = f"did you mean {guess}?" if guess else remedy
            yield ScopeProblem("unknown-root", name, offset, f"there is no {name} here", remedy)
