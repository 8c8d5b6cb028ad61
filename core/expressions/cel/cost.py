"""An upper bound of the cost of one evaluation, from the tree and the size of the data, without evaluating.

The library can be neither interrupted nor metered, so this bound decides whether an expression may run on the event
loop. A tick is about 50 ns: evaluating a node costs one; the other constants follow measurements of the library. In
doubt a bound is too high; ``UNBOUNDED`` means that no bound exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from core.expressions.cel.binding import CelBindings, Path, Weight
from core.expressions.cel.library import MAX_ITERATIONS
from core.expressions.cel.tree import CelCall, CelName, Comprehension, ListOf, Literal, MapOf, Node, Select
from core.expressions.patterns import states_of
from core.expressions.roots import ROOTS

UNBOUNDED: Final = 1 << 50

_BIND_VALUE: Final = 10
_TEXT_SHIFT: Final = 6  # characters per tick, when strings are copied or compared: 64
_APPEND_ITEM: Final = 4  # a list is copied to append to it
_CALL: Final = 4
_PATTERN: Final = 200  # compiling the smallest regular expression, which the library does for each call
_STATE: Final = 12  # of its automaton, when compiling
_STATE_AND_CHARACTER_SHIFT: Final = 1  # of a search: the text may reach a new set of states each time
_SCALAR_CHARACTERS: Final = 64  # of any number, time or truth value as a string
_QUOTED: Final = 10  # the most characters that one character can become when quoted
_FORMATTED: Final = 512  # the most characters that one verb of format may add to its arguments


@dataclass(frozen=True, slots=True)
class Bound:
    """The ``ticks`` of an evaluation, and the size of the value."""

    ticks: int
    weight: Weight


SCALAR: Final = Weight(1, 1)


def bound_of(root: Node, bound: CelBindings) -> int:
    """Ticks for evaluating the tree once over ``bound``, including passing the data."""
    handed_over = _BIND_VALUE * bound.values + (bound.characters >> _TEXT_SHIFT)
    return min(_Costs(bound.weights).of(root, {}).ticks + handed_over, UNBOUNDED)


def constant_bound(node: Node) -> int | None:
    """The maximum number of evaluated nodes, for all data, with macros over literal lists multiplied; ``None`` when it
    depends on the data.
    """
    if isinstance(node, Comprehension):
        return _constant_rounds(node)
    return _sum(constant_bound(part) for part in _parts(node))


def _constant_rounds(node: Comprehension) -> int | None:
    if not isinstance(node.over, (ListOf, MapOf)):
        return None
    rounds = len(node.over.elements if isinstance(node.over, ListOf) else node.over.entries)
    once = _sum(constant_bound(part) for part in (node.over, node.start, node.result))
    each = _sum(constant_bound(part) for part in (node.goes_on, node.step))
    return None if once is None or each is None else min(once + rounds * each, UNBOUNDED)


def _sum(bounds: Iterable[int | None]) -> int | None:
    """One more than their sum; None when one is unknown."""
    total = 1
    for bound in bounds:
        if bound is None:
            return None
        total += bound
    return min(total, UNBOUNDED)


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Select(operand=operand):
            return (operand,)
        case CelCall(target=target, arguments=arguments):
            return arguments if target is None else (target, *arguments)
        case ListOf(elements=elements):
            return elements
        case MapOf(entries=entries):
            return tuple(part for entry in entries for part in entry)
        case _:
            return ()


class _Costs:
    def __init__(self, weights: Mapping[Path, Weight]) -> None:
        self._weights = weights

    def of(self, node: Node, variables: Mapping[str, Weight]) -> Bound:
        """The bound of a node; ``variables`` holds the sizes of the variables of macros."""
        match node:
            case Literal(value=value):
                return Bound(1, _text(len(value)) if isinstance(value, (str, bytes)) else SCALAR)
            case CelName(name=name):
                path = _path(node, variables)
                return Bound(1, self._at(path) if path else variables.get(name, SCALAR))
            case Select():
                return self._select(node, variables)
            case CelCall():
                return self._call(node, variables)
            case ListOf(elements=parts):
                return self._collection(parts, len(parts), variables)
            case MapOf(entries=entries):
                return self._collection(tuple(part for entry in entries for part in entry), len(entries), variables)
            case Comprehension():
                return self._comprehension(node, variables)

    def _at(self, path: Path) -> Weight:
        """The size of the value at ``path``, or of the larger bound value that contains it."""
        for length in range(len(path), 0, -1):
            weight = self._weights.get(path[:length])
            if weight is not None:
                return weight if length == len(path) else _part_of(weight)
        inside = [weight for known, weight in self._weights.items() if known[: len(path)] == path]
        return Weight(1 + len(inside), 1 + len(inside) + sum(weight.total for weight in inside))

    def _select(self, node: Select, variables: Mapping[str, Weight]) -> Bound:
        path = _path(node, variables)
        if path is not None:
            return Bound(len(path), SCALAR if node.is_test else self._at(path))
        operand = self.of(node.operand, variables)
        return Bound(operand.ticks + 1, SCALAR if node.is_test else _part_of(operand.weight))

    def _collection(self, parts: tuple[Node, ...], items: int, variables: Mapping[str, Weight]) -> Bound:
        bounds = [self.of(part, variables) for part in parts]
        total = 1 + sum(bound.weight.total for bound in bounds)
        return Bound(1 + _APPEND_ITEM * len(parts) + sum(bound.ticks for bound in bounds), Weight(items, total))

    def _call(self, node: CelCall, variables: Mapping[str, Weight]) -> Bound:
        path = _path(node, variables)
        if path is not None:
            return Bound(len(path), self._at(path))
        bounds = [self.of(part, variables) for part in _parts(node)]
        before = sum(bound.ticks for bound in bounds)
        own = _FUNCTIONS.get(node.function, _linear)(node, [bound.weight for bound in bounds])
        return Bound(min(before + own.ticks, UNBOUNDED), own.weight)

    def _comprehension(self, node: Comprehension, variables: Mapping[str, Weight]) -> Bound:
        over, start = self.of(node.over, variables), self.of(node.start, variables)
        if isinstance(node.over, ListOf) and not node.over.elements:  # cel.bind
            result = self.of(node.result, {**variables, node.accumulator: start.weight})
            return Bound(min(over.ticks + start.ticks + result.ticks, UNBOUNDED), result.weight)
        rounds = min(over.weight.items, MAX_ITERATIONS)
        element = _part_of(over.weight)
        added = _appended(node)
        inner = {**variables, node.variable: element, node.accumulator: SCALAR}
        if added is not None:
            grown = self.of(added, inner).weight
            inner[node.accumulator] = Weight(rounds, 1 + rounds * grown.total)
        elif not isinstance(node.start, Literal):
            return Bound(UNBOUNDED, over.weight)  # not one of the macros; the library has no others today
        each = self.of(node.goes_on, inner).ticks + self.of(node.step, inner).ticks
        result = self.of(node.result, inner)
        ticks = over.ticks + start.ticks + result.ticks + rounds * (each + _CALL)
        return Bound(min(ticks, UNBOUNDED), result.weight)


def _path(node: Node, variables: Mapping[str, Weight]) -> Path | None:
    """The constant path that a node describes, from a root down."""
    match node:
        case CelName(name=name, is_absolute=is_absolute):
            return (name,) if name in ROOTS and (is_absolute or name not in variables) else None
        case Select(operand=operand, field=field):
            before = _path(operand, variables)
            return (*before, field) if before is not None else None
        case CelCall(function="_[_]", arguments=(container, Literal(value=str() | int() as key))):
            before = _path(container, variables)
            return (*before, key) if before is not None else None
        case _:
            return None


def _appended(node: Comprehension) -> Node | None:
    """The list with one element that ``map`` and ``filter`` append in each round."""
    if not isinstance(node.start, ListOf) or node.start.elements:
        return None
    match node.step:
        case CelCall(function="_+_", arguments=(_, ListOf() as added)):
            return added
        case CelCall(function="_?_:_", arguments=(_, CelCall(function="_+_", arguments=(_, ListOf() as added)), _)):
            return added
        case _:
            return None


def _part_of(weight: Weight) -> Weight:
    return Weight(weight.total, weight.total, weight.longest_text)


def _text(length: int) -> Weight:
    return Weight(length, 1 + length)


# The cost that a call adds to its arguments, and the size of its value. An unlisted function is assumed to be linear.


def _linear(_node: CelCall, weights: list[Weight]) -> Bound:
    total = 2 * sum(weight.total for weight in weights) + _SCALAR_CHARACTERS
    return Bound(_CALL + total, _part_of(Weight(total, total)))


def _constant(_node: CelCall, _weights: list[Weight]) -> Bound:
    return Bound(_CALL, SCALAR)


def _passing(_node: CelCall, weights: list[Weight]) -> Bound:
    total = max((weight.total for weight in weights), default=1)
    items = max((weight.items for weight in weights), default=1)
    return Bound(_CALL, Weight(items, total))


def _taking(_node: CelCall, weights: list[Weight]) -> Bound:
    return Bound(_CALL, _part_of(weights[0]))


def _comparing(_node: CelCall, weights: list[Weight]) -> Bound:
    return Bound(_CALL + 2 * min(weight.total for weight in weights), SCALAR)


def _searching(_node: CelCall, weights: list[Weight]) -> Bound:
    sizes = [weight.total for weight in weights]
    return Bound(_CALL + 2 * sizes[-1] + (sizes[0] * sizes[-1] >> 2), SCALAR)


def _adding(node: CelCall, weights: list[Weight]) -> Bound:
    if any(isinstance(argument, Literal) and isinstance(argument.value, (int, float)) for argument in node.arguments):
        return Bound(_CALL, SCALAR)
    items, total = sum(weight.items for weight in weights), sum(weight.total for weight in weights)
    return Bound(_CALL + _APPEND_ITEM * min(items, MAX_ITERATIONS) + (total >> _TEXT_SHIFT), Weight(items, total))


def _replacing(_node: CelCall, weights: list[Weight]) -> Bound:
    text, new = weights[0], weights[2] if len(weights) > 2 else SCALAR
    total = (text.total + 1) * (new.total + 1)
    return Bound(_CALL + total, Weight(total, total))


def _joining(_node: CelCall, weights: list[Weight]) -> Bound:
    separator = weights[1].total if len(weights) > 1 else 0
    total = weights[0].total + weights[0].items * separator
    return Bound(_CALL + total, Weight(total, total))


def _quoting(_node: CelCall, weights: list[Weight]) -> Bound:
    total = sum(weight.total for weight in weights) * _QUOTED
    return Bound(_CALL + total, Weight(total, total))


def _formatting(node: CelCall, weights: list[Weight]) -> Bound:
    text = node.target.value if isinstance(node.target, Literal) else None
    if not isinstance(text, str) or any(character.isdigit() for character in text):
        return Bound(UNBOUNDED, weights[0])  # a precision may request any length
    verbs = text.count("%")
    total = len(text) + verbs * (_FORMATTED + _QUOTED * sum(weight.total for weight in weights))
    return Bound(_CALL + total, Weight(total, total))


def _matching(node: CelCall, weights: list[Weight]) -> Bound:
    """A pattern from data, and one of unknown size, may compile to megabytes."""
    pattern = node.arguments[-1]
    text = pattern.value if isinstance(pattern, Literal) else None
    states = states_of(text) if isinstance(text, str) else None
    if states is None:
        return Bound(UNBOUNDED, SCALAR)
    searching = states * weights[0].text >> _STATE_AND_CHARACTER_SHIFT
    return Bound(_CALL + _PATTERN + _STATE * states + searching, SCALAR)


_FUNCTIONS: Final[Mapping[str, Callable[[CelCall, list[Weight]], Bound]]] = {
    **dict.fromkeys(("_&&_", "_||_", "!_", "-_", "_-_", "_*_", "_/_", "_%_", "@not_strictly_false"), _constant),
    **dict.fromkeys(("hasValue", "type", "optional.none", "startsWith", "endsWith"), _constant),
    **dict.fromkeys(("_?_:_", "dyn", "optional.of", "optional.ofNonZeroValue", "value", "orValue", "or"), _passing),
    **dict.fromkeys(("_[_]", "_?._", "_[?_]"), _taking),
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"), _comparing),
    **dict.fromkeys(("@in", "contains", "indexOf", "lastIndexOf"), _searching),
    "_+_": _adding,
    "replace": _replacing,
    "join": _joining,
    **dict.fromkeys(("strings.quote", "quote"), _quoting),
    "format": _formatting,
    "matches": _matching,
}
