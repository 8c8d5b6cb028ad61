"""What a CEL expression reads: the exact paths from its roots, followed through brackets, bindings and macros.

In doubt it reports more: a segment that is computed at run time is ``ANY``. Source: templating contract 3.5 and 6.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from core.expressions.cel.tree import CelCall, CelName, Comprehension, ListOf, Literal, MapOf, Node, Select, walk
from core.expressions.references import References
from core.expressions.roots import ROOTS

Segment: TypeAlias = str | int | None
"""A key, a position, or ``ANY``: one that depends on the data."""

ANY: Final = None
OUTPUT_KEYS: Final = frozenset({"output", "outputs"})

_STEPS: Final = "steps"
_STEP_LENGTH: Final = 2  # steps and the name
_OUTPUT_LENGTH: Final = 3
_OPTIONAL_ACCESS: Final = frozenset({"_?._", "_[?_]"})
_INDEX: Final = "_[_]"
_IN: Final = "@in"
_ABOUT_KEYS: Final = frozenset({"size", _IN})


class Purpose(Enum):
    """The purpose of following a path: to read its value, or to check whether it exists."""

    VALUE = auto()
    PRESENCE = auto()


@dataclass(frozen=True, slots=True)
class Use:
    """One path, the first segment a root.

    ``offset`` is the place of its last segment in the text, ``root_offset`` the place of its first.
    """

    segments: tuple[Segment, ...]
    purpose: Purpose
    offset: int
    root_offset: int


@dataclass(frozen=True, slots=True)
class ExpressionReads:
    """Everything an expression reads.

    Attributes:
        uses: in the order of the text.
        functions: functions and operators called, ``_==_`` for ``==``.
        present_steps: steps whose presence, or whose output's presence, is checked.
        any_step_counts: the result depends on the keys of ``steps`` as a whole, as in ``size(steps)``.
    """

    uses: tuple[Use, ...]
    functions: frozenset[str]
    present_steps: frozenset[str]
    any_step_counts: bool

    @property
    def references(self) -> References:
        """The same as ``References``, which templates share."""
        of_steps = [use.segments for use in self.uses if use.segments[0] == _STEPS]
        names = frozenset(path[1] for path in of_steps if len(path) > 1 and isinstance(path[1], str))
        unknown = self.any_step_counts or any(len(path) > 1 and not isinstance(path[1], str) for path in of_steps)
        roots = frozenset(str(use.segments[0]) for use in self.uses)
        return References(names, roots, self.functions, unknown, names, self.any_step_counts)

    @property
    def step_offsets(self) -> dict[str, int]:
        """The place of the first reference to each step."""
        found: dict[str, int] = {}
        for use in self.uses:
            if use.segments[0] == _STEPS and len(use.segments) > 1 and isinstance(use.segments[1], str):
                found[use.segments[1]] = min(use.root_offset, found.get(use.segments[1], use.root_offset))
        return found


def read(root: Node) -> ExpressionReads:
    """Everything that the expression at ``root`` reads."""
    reader = _Reader()
    reader.consume(root, {})
    uses = tuple(dict.fromkeys(reader.uses))
    present: set[str] = set()
    whole = False
    for use in uses:
        path = use.segments
        if path[0] != _STEPS:
            continue
        if len(path) == 1:
            whole = whole or use.purpose is Purpose.VALUE
        elif use.purpose is Purpose.PRESENCE and _is_about_a_step(path):
            if isinstance(path[1], str):
                present.add(path[1])
            else:
                whole = True
    return ExpressionReads(uses, frozenset(reader.functions), frozenset(present), whole)


def _is_about_a_step(path: tuple[Segment, ...]) -> bool:
    return len(path) == _STEP_LENGTH or (len(path) == _OUTPUT_LENGTH and path[2] in OUTPUT_KEYS)


@dataclass(frozen=True, slots=True)
class _Place:
    path: tuple[Segment, ...]
    offset: int
    root_offset: int


_Variables: TypeAlias = Mapping[str, _Place | None]


class _Reader:
    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.functions: set[str] = set()

    def consume(self, node: Node, variables: _Variables) -> None:
        """Record that ``node`` is used as a value."""
        place = self._place(node, variables)
        if place is not None:
            self.uses.append(Use(place.path, Purpose.VALUE, place.offset, place.root_offset))

    def _place(self, node: Node, variables: _Variables) -> _Place | None:
        """The place that the value of ``node`` comes from, if it is a path; not yet recorded. ``None`` for other
        nodes.
        """
        match node:
            case CelName(name=name, offset=offset, is_absolute=is_absolute):
                if name in variables and not is_absolute:
                    return variables[name]
                return _Place((name,), offset, offset) if name in ROOTS else None
            case Select(operand=operand, field=field, is_test=is_test, offset=offset):
                place = self._deeper(self._place(operand, variables), field, offset)
                if not is_test:
                    return place
                self._test(place)
            case CelCall():
                return self._call(node, variables)
            case Comprehension():
                return self._comprehension(node, variables)
            case ListOf(elements=elements):
                for element in elements:
                    self.consume(element, variables)
            case MapOf(entries=entries):
                for key, value in entries:
                    self.consume(key, variables)
                    self.consume(value, variables)
            case Literal():
                pass
        return None

    def _call(self, node: CelCall, variables: _Variables) -> _Place | None:
        self.functions.add(node.function)
        if node.function == _INDEX or node.function in _OPTIONAL_ACCESS:
            container, key = node.arguments
            place = self._deeper(self._place(container, variables), self._key(key, variables), node.offset)
            if node.function in _OPTIONAL_ACCESS:
                self._test(place)
            return place
        if node.function == _IN and isinstance(node.arguments[0], Literal):
            place = self._place(node.arguments[1], variables)
            self._test(place)
            self._test(self._deeper(place, self._key(node.arguments[0], variables), node.offset))
            return None
        look = self._survey if node.function in _ABOUT_KEYS else self.consume
        if node.target is not None:
            look(node.target, variables)
        for argument in node.arguments:
            look(argument, variables)
        return None

    def _comprehension(self, node: Comprehension, variables: _Variables) -> _Place | None:
        if isinstance(node.over, ListOf) and not node.over.elements:  # cel.bind: a name for ``start`` in ``result``
            if not any(isinstance(part, CelName) and part.name == node.accumulator for part in walk(node.result)):
                self.consume(node.start, variables)
            bound = {**variables, node.accumulator: self._place(node.start, variables)}
            return self._place(node.result, bound)
        self._survey(node.over, variables)
        self.consume(node.start, variables)
        inner = {**variables, node.variable: None, node.accumulator: None}
        for part in (node.goes_on, node.step, node.result):
            self.consume(part, inner)
        return None

    def _survey(self, node: Node, variables: _Variables) -> None:
        """Record that ``node`` is counted or iterated: of ``steps``, only the names are read."""
        place = self._place(node, variables)
        if place is None:
            return
        if place.path == (_STEPS,):
            self._test(self._deeper(place, ANY, place.offset))
        else:
            self.uses.append(Use(place.path, Purpose.VALUE, place.offset, place.root_offset))

    def _key(self, node: Node, variables: _Variables) -> Segment:
        if isinstance(node, Literal) and isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
            return node.value
        self.consume(node, variables)
        return ANY

    def _deeper(self, place: _Place | None, segment: Segment, offset: int) -> _Place | None:
        return _Place((*place.path, segment), offset, place.root_offset) if place is not None else None

    def _test(self, place: _Place | None) -> None:
        if place is not None:
            self.uses.append(Use(place.path, Purpose.PRESENCE, place.offset, place.root_offset))
