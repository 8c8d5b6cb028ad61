"""The JSON paths of printer columns and selectable fields.

``.a.b``, ``['a.b']``, ``[0]``, ``[-1]``, ``[1:3]``, ``[*]`` and ``[?(@.type=="Ready")]`` with the comparisons
``== != < <= > >=`` or a test that a field exists. A compiled path never raises: where it finds nothing, it has no
values. Source: kubectl JSONPath, as far as CustomResourceDefinitions accept it.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

_Step = Callable[[Any], Iterator[Any]]
_NAME = re.compile(r"\.((?:[^.\[\]\\]|\\.)+)")
_QUOTED = re.compile(r"\[(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\]")
_INDEX = re.compile(r"\[(-?\d+)\]")
_SLICE = re.compile(r"\[(-?\d*):(-?\d*)\]")
_ALL = re.compile(r"\[\*\]|\.\*")
_FILTER = re.compile(r"\[\?\(\s*@([^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)\]")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class JSONPathError(ValueError):
    """A string is not a JSON path (*user*)."""


def values_at(path: str, obj: Any) -> list[Any]:
    """All values that ``path`` selects in ``obj``, in document order.

    Raises:
        JSONPathError: ``path`` does not parse.
    """
    found = [obj]
    for step in compile_path(path):
        found = [value for item in found for value in step(item)]
    return found


@functools.lru_cache(maxsize=2048)
def compile_path(path: str) -> tuple[_Step, ...]:
    """The steps of ``path``; empty for the whole object.

    Raises:
        JSONPathError: it does not parse.
    """
    steps: list[_Step] = []
    position = 0
    text = path.removeprefix("{").removesuffix("}") if path.startswith("{") else path
    while position < len(text):
        if text[position:] == "." and not steps:
            break
        step, position = _next_step(text, position)
        steps.append(step)
    return tuple(steps)


def _next_step(text: str, position: int) -> tuple[_Step, int]:
    if found := _ALL.match(text, position):
        return _every, found.end()
    if found := _NAME.match(text, position):
        return _field(re.sub(r"\\(.)", r"\1", found[1])), found.end()
    if found := _QUOTED.match(text, position):
        return _field(re.sub(r"\\(.)", r"\1", found[1] or found[2] or "")), found.end()
    if found := _INDEX.match(text, position):
        return _item(int(found[1])), found.end()
    if found := _SLICE.match(text, position):
        start, end = (int(bound) if bound else None for bound in found.groups())
        return _span(start, end), found.end()
    if found := _FILTER.match(text, position):
        return _where(found[1], found[2], found[3]), found.end()
    raise JSONPathError(
        f"{text!r} is not a JSON path: cannot read {text[position:]!r}; write for example .spec.items[0].name"
    )


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _field(name: str) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(index: int) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _span(start: int | None, end: int | None) -> _Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:end]

    return step


def _where(path: str, comparison: str | None, literal: str | None) -> _Step:
    wanted = _literal(literal) if literal is not None else None

    def step(value: Any) -> Iterator[Any]:
        if not isinstance(value, list):
            return
        for item in value:
            found = values_at(path, item)
            if comparison is None:
                if found:
                    yield item
            elif found and _compares(_COMPARISONS[comparison], found[0], wanted):
                yield item

    return step


def _literal(text: str) -> Any:
    if text[:1] in "'\"" and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _compares(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    try:
        return compare(left, right)
    except TypeError:  # values of different types have no order
        return False
