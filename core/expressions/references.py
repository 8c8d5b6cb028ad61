"""The references of a template, from its tree alone.

It follows where values come from: through variables, the dot of ``with`` and ``range``, ``index``, ``get`` and ``dig``,
and the argument of a ``define``. In doubt it reports more: a step that the evaluation may read is either named in
``steps`` or covered by ``unknown_steps``. Source: templating contract 3.5 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from core.expressions.template import nodes

_STEPS: Final = "steps"
_KEYED_FUNCTIONS: Final = frozenset({"get", "hasKey"})
_MAX_PASSES: Final = 4  # over a template, until the content of its variables is known

_Place: TypeAlias = tuple[str, ...]
"""Where a value comes from: ``()`` for all variables, a root, or ``steps`` and a name; deeper keys do not matter."""
_Places: TypeAlias = frozenset[_Place]

_NOWHERE: Final[_Places] = frozenset()
_EVERYTHING: Final[_Places] = frozenset({()})


@dataclass(frozen=True, slots=True)
class References:
    """The names that a text refers to.

    Attributes:
        steps: step names, as written (an alias stays an alias).
        roots: first names of paths: ``inputs``, ``steps``, ``packet`` and others.
        functions: functions called.
        unknown_steps: the text may read any step, because it computes the name or uses ``steps`` as a whole.
        any_step_counts: it uses ``steps`` as a whole, so its value is right only when no step can still deliver output.
        static_steps: the part of ``steps`` that the reference implementation finds too; relevant for offloaded data.
    """

    steps: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    unknown_steps: bool = False
    static_steps: frozenset[str] = frozenset()
    any_step_counts: bool = False

    def __or__(self, other: References) -> References:
        return References(
            self.steps | other.steps,
            self.roots | other.roots,
            self.functions | other.functions,
            self.unknown_steps or other.unknown_steps,
            self.static_steps | other.static_steps,
            self.any_step_counts or other.any_step_counts,
        )


NO_REFERENCES: Final = References()


def of_tree(tree: nodes.Tree) -> tuple[References, tuple[tuple[str, int], ...]]:
    """The references of a template, including its definitions, and its steps with the place of their first reference,
    in the order of the text.
    """
    collector = _collected(tree)
    return collector.result(), in_order(collector.offsets)


def in_order(offsets: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Names with their places, ordered by place."""
    return tuple(sorted(offsets.items(), key=lambda item: item[1])) if len(offsets) > 1 else tuple(offsets.items())


def _collected(tree: nodes.Tree) -> _Collector:
    collector = _Collector()
    for _ in range(_MAX_PASSES):
        collector.body("", tree.root, _EVERYTHING, counts_as_static=True)
        for name, block in tree.definitions:
            collector.body(name, block, collector.arguments.get(name, _NOWHERE), counts_as_static=False)
        if collector.is_settled():
            return collector
    collector.use(_EVERYTHING)  # a chain of assignments that is too long to follow
    return collector


def union(parts: Iterable[References]) -> References:
    """All references of ``parts`` together."""
    total = NO_REFERENCES
    for part in parts:
        if part is not NO_REFERENCES:
            total = part if total is NO_REFERENCES else total | part
    return total


class _Collector:
    """The findings of one pass, and the known content of variables and arguments, which only grows from pass to
    pass.
    """

    def __init__(self) -> None:
        self.arguments: dict[str, _Places] = {}
        self.offsets: dict[str, int] = {}
        self._offset = 0  # of the operand that is being followed
        self._unknown = False
        self._any_counts = False
        self._steps: set[str] = set()
        self._static: set[str] = set()
        self._roots: set[str] = set()
        self._functions: set[str] = set()
        self._variables: dict[tuple[str, str], _Places] = {}
        self._grown = False
        self._body = ""
        self._counts_as_static = True

    def is_settled(self) -> bool:
        """Whether the last pass found nothing new about variables and arguments."""
        grown, self._grown = self._grown, False
        return not grown

    def result(self) -> References:
        return References(
            frozenset(self._steps),
            frozenset(self._roots),
            frozenset(self._functions),
            self._unknown,
            frozenset(self._static),
            self._any_counts,
        )

    def body(self, name: str, block: nodes.Block, argument: _Places, *, counts_as_static: bool) -> None:
        """Walk the template itself (``name`` is empty) or one of its definitions; ``argument`` is its initial dot."""
        self._body, self._counts_as_static = name, counts_as_static
        self._variables[name, "$"] = self._variables.get((name, "$"), _NOWHERE) | argument
        # This needs no further pass: everything that reads it is walked after this.
        self._block(block, argument)

    def _block(self, block: nodes.Block, dot: _Places) -> None:
        for statement in block:
            match statement:
                case nodes.Action(pipe=pipe):
                    value = self._pipe(pipe, dot)
                    if not pipe.declared:
                        self.use(value)
                case nodes.Include(name=name, pipe=pipe):
                    self._give(name, self._pipe(pipe, dot) if pipe is not None else _NOWHERE)
                case nodes.If():
                    self.use(self._pipe(statement.pipe, dot))
                    self._block(statement.body, dot)
                    self._block(statement.otherwise, dot)
                case nodes.With():
                    value = self._pipe(statement.pipe, dot)
                    if statement.otherwise:  # then it matters whether there are elements
                        self.use(value)
                    self._block(statement.body, value)
                    self._block(statement.otherwise, dot)
                case nodes.Range():
                    element = self._range(statement.pipe, dot)
                    self._block(statement.body, element)
                    self._block(statement.otherwise, dot)
                case _:
                    pass

    def _range(self, pipe: nodes.Pipe, dot: _Places) -> _Places:
        """The places of the elements; the last declared variable holds each of them."""
        value = self._commands(pipe, dot)
        self.use(value)
        elements = self._deeper(value, None)
        if pipe.declared:
            self._hold(pipe.declared[-1], elements)
        return elements

    def _pipe(self, pipe: nodes.Pipe, dot: _Places) -> _Places:
        value = self._commands(pipe, dot)
        for name in pipe.declared:
            self._hold(name, value)
        return value

    def _commands(self, pipe: nodes.Pipe, dot: _Places) -> _Places:
        value: _Places | None = None
        for command in pipe.commands:
            value = self._command(command, dot, value)
        return value or _NOWHERE

    def _command(self, command: nodes.Command, dot: _Places, piped: _Places | None) -> _Places:
        first, rest = command.operands[0], command.operands[1:]
        if not isinstance(first, nodes.Name):
            value = self._operand(first, dot)
            if not rest and piped is None:
                return value
            self.use(value)  # a method with arguments
            self._use_all(rest, piped, dot)
            return _NOWHERE
        self._functions.add(first.name)
        if first.name == "dig" and piped is not None:
            keys = _constant_keys(rest[:-1])
            return self._access(piped, keys, rest[len(keys) :], dot)
        container, keys, others = _keyed_access(first.name, rest)
        if container is not None and piped is None:
            if first.name == "index":
                self._note_static(container, keys)
            found = self._access(self._operand(container, dot), keys, others, dot)
            return _NOWHERE if first.name == "hasKey" else found
        self._use_all(rest, piped, dot)
        return _NOWHERE

    def _use_all(self, operands: tuple[nodes.Operand, ...], piped: _Places | None, dot: _Places) -> None:
        for operand in operands:
            self.use(self._operand(operand, dot))
        if piped is not None:
            self.use(piped)

    def _access(
        self, container: _Places, keys: tuple[str, ...], others: tuple[nodes.Operand, ...], dot: _Places
    ) -> _Places:
        """An item at constant ``keys``; ``others`` are keys that depend on the data, and defaults."""
        value = container
        for key in keys:
            value = self._deeper(value, key)
        if others:
            for operand in others:
                self.use(self._operand(operand, dot))
            return self._deeper(value, None)
        return value

    def _operand(self, operand: nodes.Operand, dot: _Places) -> _Places:
        """The places that the value of ``operand`` comes from; it does not count as used yet."""
        self._offset = operand.offset
        match operand:
            case nodes.Field(names=names, bare=bare):
                self._note_static(operand, ())
                value = self._follow(dot, names)
                if bare and dot != _EVERYTHING:  # without its dot, a root means the root also inside range and with
                    whole = self._variables.get((self._body, "$"), _NOWHERE)  # in a definition, its argument
                    value |= self._follow(whole | _EVERYTHING, names)
                return value
            case nodes.Variable(name=name, fields=fields):
                return self._follow(self._variables.get((self._body, name), _NOWHERE), fields)
            case nodes.Dot():
                return dot
            case nodes.Chain(operand=inner, fields=fields):
                if isinstance(inner, nodes.Pipe):
                    self._note_static(inner, fields)
                return self._follow(self._operand(inner, dot), fields)
            case nodes.Pipe():
                return self._pipe(operand, dot)
            case nodes.Name(name=name):
                self._functions.add(name)
                return _NOWHERE
            case _:
                return _NOWHERE

    def _follow(self, places: _Places, names: tuple[str, ...]) -> _Places:
        for name in names:
            places = self._deeper(places, name)
        return places

    def _deeper(self, places: _Places, key: str | None) -> _Places:
        """One level down; ``None`` means any key."""
        found: set[_Place] = set()
        for place in places:
            if place not in ((), (_STEPS,)):
                found.add(place)
            elif key is None:
                self._unknown = True
            elif place:
                self._steps.add(key)
                self.offsets[key] = min(self._offset, self.offsets.get(key, self._offset))
                found.add((_STEPS, key))
            else:
                self._roots.add(key)
                found.add((key,))
        return frozenset(found)

    def use(self, places: _Places) -> None:
        """Record that the whole of a value is used."""
        if not places.isdisjoint({(), (_STEPS,)}):
            self._unknown = self._any_counts = True

    def _hold(self, variable: str, places: _Places) -> None:
        known = self._variables.get((self._body, variable), _NOWHERE)
        if not places <= known:
            self._variables[self._body, variable] = known | places
            self._grown = True

    def _give(self, definition: str, places: _Places) -> None:
        known = self.arguments.get(definition, _NOWHERE)
        if not places <= known:
            self.arguments[definition] = known | places
            self._grown = True

    def _note_static(self, operand: nodes.Operand, keys: tuple[str, ...]) -> None:
        """Remember a step that the reference implementation finds: ``.steps.a``, ``index .steps "a"``, and chains over
        the latter.
        """
        path = _static_path(operand, keys)
        if self._counts_as_static and len(path) > 1 and path[0] == _STEPS:
            self._static.add(path[1])


def _static_path(operand: nodes.Operand, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The path of fields and ``index`` calls in ``operand``, followed by ``keys``."""
    match operand:
        case nodes.Field(names=names):
            return (*names, *keys)
        case nodes.Chain(operand=inner, fields=fields):
            return _static_path(inner, (*fields, *keys))
        case nodes.Pipe(declared=(), commands=(nodes.Command(operands=(nodes.Name(name="index"), inner, *rest)),)):
            inner_keys = _constant_keys(rest)
            return _static_path(inner, (*inner_keys, *keys) if len(inner_keys) == len(rest) else inner_keys)
        case nodes.Pipe(declared=(), commands=(nodes.Command(operands=(inner,)),)) if not isinstance(inner, nodes.Name):
            return _static_path(inner, keys)
        case _:
            return ()


def _keyed_access(
    function: str, operands: tuple[nodes.Operand, ...]
) -> tuple[nodes.Operand | None, tuple[str, ...], tuple[nodes.Operand, ...]]:
    """The container from which a call takes an item, the constant keys, and the other operands."""
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
    """The leading operands that are literal strings."""
    return tuple(_leading_strings(operands))


def _leading_strings(operands: Iterable[nodes.Operand]) -> Iterator[str]:
    for operand in operands:
        if not isinstance(operand, nodes.String):
            return
        yield operand.value
