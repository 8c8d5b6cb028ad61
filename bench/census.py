"""Counts what a program holds: the entries of every container that is reached from given objects, by owner and name.

A structure that keeps something for each run which has ever been would be named here with its size, whichever module
has it. Only objects of this project are followed, so the containers of libraries count for those that hold them.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import MethodType
from typing import Any, Final

_OURS: Final = ("core.", "reconcilers.", "manager.", "process.")
_CONTAINERS: Final = (dict, list, set, frozenset, tuple, deque)
_FOLLOWED: Final = 200
"""The elements of larger containers are counted and not followed: they are data, not parts of the program."""


def census(roots: Iterable[object]) -> Counter[str]:
    """The number of entries, such as ``WorkQueue._due: 12``; of all instances of a class together."""
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[object] = list(roots)
    while waiting:
        obj = waiting.pop()
        if id(obj) in seen:
            continue
        seen.add(id(obj))
        for name, value in _attributes(obj):
            if isinstance(value, _CONTAINERS):
                if id(value) in seen:
                    continue
                seen.add(id(value))
                if not isinstance(value, tuple):
                    counts[f"{type(obj).__name__}.{name}"] += len(value)
            waiting.extend(_parts(value))
    return counts + _of_modules()


def _of_modules() -> Counter[str]:
    """Containers and caches that belong to modules."""
    counts: Counter[str] = Counter()
    for module_name, module in list(sys.modules.items()):
        if not f"{module_name}.".startswith(_OURS):
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, dict | list | set | deque) and not name.startswith("__"):
                counts[f"{module_name}.{name}"] = len(value)
            elif (info := getattr(value, "cache_info", None)) is not None and not isinstance(value, type):
                counts[f"{module_name}.{name}()"] = info().currsize
    return counts


def _attributes(obj: object) -> Iterator[tuple[str, Any]]:
    if not f"{type(obj).__module__}.".startswith(_OURS):
        return
    yield from list(getattr(obj, "__dict__", {}).items())
    for class_ in type(obj).__mro__:
        slots = class_.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(obj, name):
                yield name, getattr(obj, name)


def _parts(value: object) -> Iterator[object]:
    """``value``, and what is worth a look inside it, if it belongs to a container or a call."""
    if isinstance(value, MethodType):
        yield value.__self__
    elif isinstance(value, partial):
        yield from _parts(value.func)
        for argument in value.args:
            yield from _parts(argument)
    elif isinstance(value, dict):
        if len(value) <= _FOLLOWED:
            for each in list(value.values()):
                yield from _parts(each)
    elif isinstance(value, list | set | frozenset | tuple | deque):
        if len(value) <= _FOLLOWED:
            for each in list(value):
                yield from _parts(each)
    elif f"{type(value).__module__}.".startswith(_OURS):
        yield value
