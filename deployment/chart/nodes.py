"""Places of an object that depend on the values of a release.

Each node has two sides: the text of a Go template, which ``deployment.chart.templates`` writes, and its result for
given values, which ``resolved`` computes. Tests compare the latter with the Kustomize set where no ``helm`` is at hand,
and with what ``helm template`` renders where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Values = Mapping[str, Any]
"""The values of a release: nested, as in ``values.yaml``."""

_ABSENT: Final = object()


def value_at(values: Values, path: str) -> Any:
    """The value at a path such as ``hub.enabled``."""
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


@dataclass(frozen=True, slots=True)
class ReleaseCondition:
    """``text`` is a Go expression that is true exactly when ``holds`` is."""

    text: str
    holds: Callable[[Values], bool]

    def __and__(self, other: ReleaseCondition) -> ReleaseCondition:
        return ReleaseCondition(
            f"and ({self.text}) ({other.text})", lambda values: self.holds(values) and other.holds(values)
        )

    def __invert__(self) -> ReleaseCondition:
        return ReleaseCondition(f"not ({self.text})", lambda values: not self.holds(values))


def given(path: str) -> ReleaseCondition:
    """The value is true, or not empty."""
    return ReleaseCondition(f"$.Values.{path}", lambda values: bool(value_at(values, path)))


ALWAYS: Final = ReleaseCondition("true", lambda _: True)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One word or number. ``text`` is a Go expression; ``of`` is its result."""

    text: str
    of: Callable[[Values], Any]


def value(path: str, *, quoted: bool = True) -> Scalar:
    """The value at a path; without ``quoted`` it is a number or a boolean."""
    return Scalar(f"$.Values.{path}{' | quote' if quoted else ''}", lambda values: value_at(values, path))


@dataclass(frozen=True, slots=True)
class ValuePart:
    """A list or mapping; if it is empty, the key before it is left out.

    ``text`` is a Go expression, whose result is YAML if ``is_text``.
    """

    text: str
    of: Callable[[Values], Any]
    is_text: bool = False


def part(path: str) -> ValuePart:
    """The list or mapping at a path of the values."""
    return ValuePart(f"$.Values.{path}", lambda values: value_at(values, path))


def partial(name: str, of: Callable[[Values], Any]) -> ValuePart:
    """The YAML that a named template writes."""
    return ValuePart(f'include "{name}" $', of, is_text=True)


@dataclass(frozen=True, slots=True)
class When:
    """A value that is there if the condition holds; otherwise its key, or its place in a list, is left out."""

    condition: ReleaseCondition
    value: Any


@dataclass(frozen=True, slots=True)
class Also:
    """As a key of a mapping, or an entry of a list: the members of ``part`` as members of that mapping or list."""

    part: ValuePart


def resolved(tree: Any, values: Values) -> Any:
    """The object for these values."""
    result = _resolved(tree, values)
    return None if result is _ABSENT else result


def _resolved(tree: Any, values: Values) -> Any:
    match tree:
        case When(condition, inner):
            return _resolved(inner, values) if condition.holds(values) else _ABSENT
        case Scalar():
            return tree.of(values)
        case ValuePart():
            return tree.of(values) or _ABSENT
        case dict():
            return _mapping(tree, values)
        case list():
            return _sequence(tree, values)
        case _:
            return tree


def _mapping(tree: Mapping[Any, Any], values: Values) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, inner in tree.items():
        if isinstance(key, Also):
            result |= key.part.of(values) or {}
        elif (found := _resolved(inner, values)) is not _ABSENT:
            result[key] = found
    return result


def _sequence(tree: list[Any], values: Values) -> list[Any]:
    result: list[Any] = []
    for inner in tree:
        if isinstance(inner, Also):
            result += inner.part.of(values) or []
        elif (found := _resolved(inner, values)) is not _ABSENT:
            result.append(found)
    return result
