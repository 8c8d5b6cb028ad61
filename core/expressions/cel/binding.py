"""The data that an expression is evaluated over: only the parts that it reads, in a form that the library accepts.

Passing data to the library costs in proportion to its size, so objects are reduced to the paths that are read. The
bound data differs from the original in three ways:

* values in object storage are left out and recorded, so that reading one fails, and ``has()`` of the reference itself
  is true;
* between a root and a name in ``has()``, empty objects replace missing ones, so that ``has(inputs.a.b)`` is false
  without ``inputs.a``; but not below a step that has not delivered its output,
  because nothing is known about it yet;
* integers beyond 64 bits become floating point numbers, as in every other JSON reader of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from bubu_contract.references import STORAGE_REFERENCE
from core.expressions.cel.reading import ANY, OUTPUT_KEYS, ExpressionReads, Purpose, Segment
from core.expressions.errors import EvaluationError, ExpressionError, Fault, LimitExceededError
from core.expressions.limits import Meter
from core.expressions.paths import Json, is_reference

Path: TypeAlias = tuple[Segment, ...]

_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_STEPS: Final = "steps"
_VALUES_PER_TICK: Final = 4  # visiting one costs less than evaluating
_PLACEHOLDER: Final = True  # a value that exists and is not read


@dataclass(slots=True)
class Need:
    """What an expression reads at one place: the value, its presence, and the places below it."""

    value: bool = False
    presence: bool = False
    below: dict[Segment, Need] = field(default_factory=dict)

    @property
    def has_content(self) -> bool:
        """Whether more than its presence is read."""
        return self.value or bool(self.below)


@dataclass(frozen=True, slots=True)
class Weight:
    """The size of a value: ``items`` on its top level, ``total`` items and characters on all levels."""

    items: int
    total: int
    longest_text: int | None = None
    """The characters of its longest string, on any level; None: unknown."""

    @property
    def text(self) -> int:
        """The largest possible length of a string in it, in characters."""
        return self.total if self.longest_text is None else self.longest_text


@dataclass(slots=True)
class CelBindings:
    """The data for the library, and its size.

    Attributes:
        weights: the size of each value that is bound as a whole, by its path.
        values: number of values in them, on all levels; ``characters``: number of characters in their strings.
        offloaded: the paths that were left out, because their values are in object storage.
        is_undecided: ``has()`` is applied to a path that was left out, so its result would be wrong.
    """

    data: dict[str, Json] = field(default_factory=dict)
    weights: dict[Path, Weight] = field(default_factory=dict)
    values: int = 0
    characters: int = 0
    offloaded: list[Path] = field(default_factory=list)
    is_undecided: bool = False


def needs_of(reading: ExpressionReads) -> Need:
    """The needs of an expression, from the roots down."""
    top = Need()
    for use in reading.uses:
        need = top
        for segment in use.segments:
            need = need.below.setdefault(segment, Need())
        need.value = need.value or use.purpose is Purpose.VALUE
        need.presence = need.presence or use.purpose is Purpose.PRESENCE
    return top


def bind(
    needs: Need,
    variables: Mapping[str, Json],
    meter: Meter,
    *,
    finished: bool,
    offset_of: Callable[[Path], int],
) -> CelBindings:
    """The part of ``variables`` that is read; ``offset_of`` returns the place of a path in the text.

    Raises:
        LimitExceededError: the data is larger, or nested deeper, than one evaluation allows.
        EvaluationError: the data holds a string that is not valid Unicode.
        SliceSpentError: the data is larger than the meter's grant.
    """
    binder = _Binder(meter, variables.get(_STEPS), finished=finished, offset_of=offset_of)
    bound = binder.bound
    bound.data = binder.cut(variables, needs, ())
    allowed = meter.limits.input_bytes
    if bound.values + bound.characters > allowed:
        error = LimitExceededError("input_bytes", allowed, f"the expression reads more than {allowed} bytes of data")
        error.offset = offset_of(max(bound.weights, key=lambda path: bound.weights[path].total))
        raise error
    return bound


def delivered(steps: Json, name: Segment) -> bool:
    """Whether the step of that name has delivered its output."""
    entry = steps.get(name) if isinstance(steps, Mapping) else None
    return isinstance(entry, Mapping) and not OUTPUT_KEYS.isdisjoint(entry)


class _Binder:
    def __init__(self, meter: Meter, steps: Json, *, finished: bool, offset_of: Callable[[Path], int]) -> None:
        self.bound = CelBindings()
        self._meter = meter
        self._steps = steps
        self._finished = finished
        self._offset_of = offset_of

    def cut(self, value: Mapping[Any, Json], need: Need, path: Path) -> dict[Any, Json]:
        """``value`` without the parts that are not read."""
        kept: dict[Any, Json] = {}
        for key, below in _by_key(value, need):
            deeper = (*path, key)
            self._meter.spend()
            if key not in value or (value[key] is None and _is_only_asked_through(below)):
                if self._may_stand_in(below, deeper):
                    kept[key] = _stand_in(below)
                elif key in value:
                    kept[key] = None
            elif not below.has_content:
                kept[key] = _PLACEHOLDER
            elif is_reference(value[key]):
                self._leave_out(below, deeper)
            elif below.value or not isinstance(value[key], Mapping):
                self._keep_whole(kept, key, value[key], below, deeper)
            else:
                kept[key] = self.cut(value[key], below, deeper)
        return kept

    def _may_stand_in(self, need: Need, path: Path) -> bool:
        if len(path) == 1 or not _is_only_asked_through(need):
            return False
        below_output = len(path) > len(("steps", "name", "output"))
        return path[0] != _STEPS or self._finished or below_output or delivered(self._steps, path[1])

    def _leave_out(self, need: Need, path: Path) -> None:
        self.bound.offloaded.append(path)
        self.bound.is_undecided |= need.presence

    def _keep_whole(self, kept: dict[Any, Json], key: Segment, value: Json, need: Need, path: Path) -> None:
        weighing = _Weighing(self._meter)
        try:
            weighing.weigh(value)
        except ExpressionError as error:
            error.offset = self._offset_of(path)
            raise
        if weighing.has_reference:
            self._leave_out(need, path)
            return
        items = len(value) if isinstance(value, (str, list, dict)) else 1
        self.bound.weights[path] = Weight(items, weighing.values + weighing.characters, weighing.longest_text)
        self.bound.values += weighing.values
        self.bound.characters += weighing.characters
        kept[key] = _narrowed(value) if weighing.has_wide_numbers else value


def _by_key(value: Mapping[Any, Json], need: Need) -> Iterator[tuple[Segment, Need]]:
    """The needs at every key; a need at any key applies to all existing keys."""
    of_any = need.below.get(ANY)
    for key, below in need.below.items():
        if key is not ANY:
            yield key, below if of_any is None else _both(below, of_any)
    if of_any is not None:
        for key in value:
            if key not in need.below:
                yield key, of_any


def _both(one: Need, other: Need) -> Need:
    below = dict(one.below)
    for key, need in other.below.items():
        below[key] = _both(below[key], need) if key in below else need
    return Need(one.value or other.value, one.presence or other.presence, below)


def _is_only_asked_through(need: Need) -> bool:
    """Whether it is only visited for ``has()`` of a place below it."""
    return (
        not need.value
        and not need.presence
        and bool(need.below)
        and all(_is_only_asked_through(below) or not below.has_content for below in need.below.values())
    )


def _stand_in(need: Need) -> dict[Any, Json]:
    return {key: _stand_in(below) for key, below in need.below.items() if below.has_content and key is not ANY}


class _Weighing:
    """One walk over a value, level by level, counted by the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.values = 0
        self.characters = 0
        self.longest_text = 0
        self.has_wide_numbers = False
        self.has_reference = False

    def weigh(self, value: Json) -> None:
        """Count values and characters on all levels, up to the first storage reference."""
        level = [value]
        for _depth in range(self._meter.limits.depth + 1):
            deeper: list[Json] = []
            for number, item in enumerate(level):
                if not number % _VALUES_PER_TICK:
                    self._meter.spend(1)
                self._one(item, deeper)
            if self.has_reference or not deeper:
                return
            level = deeper
        allowed = self._meter.limits.depth
        raise LimitExceededError("depth", allowed, f"the data read is nested deeper than {allowed} levels")

    def _one(self, item: Json, deeper: list[Json]) -> None:
        self.values += 1
        if isinstance(item, str):
            self._text(item)
        elif isinstance(item, dict):
            self.has_reference |= STORAGE_REFERENCE in item
            for key in item:
                self._text(key)
            deeper.extend(item.values())
        elif isinstance(item, list):
            deeper.extend(item)
        elif isinstance(item, int) and not _INT64_MIN <= item <= _INT64_MAX:
            self.has_wide_numbers = True

    def _text(self, text: str) -> None:
        self.characters += len(text)
        self.longest_text = max(self.longest_text, len(text))
        if text.isascii():
            return
        self._meter.spend_text(len(text))
        try:
            text.encode()
        except UnicodeEncodeError:
            message = "the data read holds a string that is not valid Unicode"
            raise EvaluationError(message, fault=Fault.ARGUMENT_TYPE) from None


def _narrowed(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _narrowed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_narrowed(item) for item in value]
    if isinstance(value, int) and not _INT64_MIN <= value <= _INT64_MAX:
        try:
            return float(value)
        except OverflowError:  # beyond 1e308; JSON readers with 64-bit numbers return infinity
            return float("inf") if value > 0 else float("-inf")
    return value
