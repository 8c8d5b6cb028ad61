"""Random variables: inputs of every JSON type, steps that have outputs, and the paths of their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from core.api.objects import Object
from fuzz.expressions import pools
from fuzz.expressions.choices import Choices

_KEYS: Final = ("a", "b", "c", "n", "s", "l", "m", "t", "x y", "k-v", "num", "0", "é", "output")
_STEPS: Final = ("fetch", "load", "fetch-feed", "a", "x_1")
_NUMBERS: Final = (
    0, 1, 2, -1, 5, 42, 100, 3.5, -2.25, 0.1, 1e6, 999999.5, 12345678, 1e21, 1e-7, 1e100, 0.000123,
    -0.0, 4294967296, 9007199254740991, 1e15, 123456789.125, -7.0, 3.0, 64,
)  # fmt: skip
_MAX_PATHS: Final = 60


@dataclass(frozen=True, slots=True)
class Place:
    """A value in the variables: its path from the root, and its kind (``signatures``)."""

    path: tuple[str | int, ...]
    kind: str


def variables(choices: Choices) -> Object:
    """``inputs`` and ``steps`` as the operator passes them."""
    inputs = _object(choices, 3)
    steps: Object = {}
    for _ in range(choices.below(3)):
        output = _object(choices, 2)
        if choices.rarely(0.04):
            output = {"$bubuStorageRef": "key", **({"$bubuStoragePath": "p.q"} if choices.rarely(0.3) else {})}
        elif choices.rarely(0.03):
            output["body"] = {"$bubuStorageRef": "deeper"}
        steps[choices.one_of(_STEPS)] = {"output": output, "outputs": output}
    return {"inputs": inputs, "steps": steps}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Every value below ``value``, outermost first, without ``value`` itself if it is the root."""
    pending: list[tuple[Any, tuple[str | int, ...]]] = [(value, path)]
    found = 0
    while pending and found < _MAX_PATHS:
        item, where = pending.pop(0)
        if where:
            found += 1
            yield Place(where, kind_of(item))
        if isinstance(item, dict):
            pending += [(child, (*where, key)) for key, child in item.items()]
        elif isinstance(item, list):
            pending += [(child, (*where, index)) for index, child in enumerate(item)]


def kind_of(value: Any) -> str:
    """The kind of a JSON value; all its numbers are floats."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "str"
    if isinstance(value, (int, float)):
        return "float"
    return "list" if isinstance(value, list) else "map"


def _object(choices: Choices, depth: int) -> Object:
    return {choices.one_of(_KEYS): _value(choices, depth - 1) for _ in range(choices.below(6))}


def _value(choices: Choices, depth: int) -> Any:
    shape = choices.weighted(
        [(5, "text"), (5, "number"), (2, "bool"), (1, "nil"), *([(4, "list"), (4, "map")] * (depth > 0))]
    )
    if shape == "text":
        return pools.text("str", choices)
    if shape == "number":
        return pools.number(choices) if choices.rarely(0.25) else choices.one_of(_NUMBERS)
    if shape == "bool":
        return bool(choices.below(2))
    if shape == "list":
        return [_value(choices, depth - 1) for _ in range(choices.below(5))]
    return _object(choices, depth) if shape == "map" else None
