"""An object of which a part cannot be read: what is left of it carries a mark that says so.

Whoever reads objects from an API server keeps what it can of one that is damaged, too deep or too large, leaves the
rest out and marks it. Whoever decides on objects asks ``why_unreadable`` first. The mark is not a JSON value, so nobody
can write it into an object. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MARK: Final = "\0unreadable"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """``missing``: paths of the fields left out, e.g. ``("status", "output")``. ``why``: a clause, without field."""

    missing: tuple[tuple[str, ...], ...]
    why: str

    def __str__(self) -> str:
        fields = ", ".join(".".join(path) for path in self.missing) or "a part of it"
        return f"{fields} {'is' if len(self.missing) <= 1 else 'are'} left out, because the object {self.why}"


def marked(obj: dict[str, Any], mark: Unreadable) -> dict[str, Any]:
    """``obj``, of which a part is missing, with the mark."""
    return {**obj, _MARK: mark}


def without_mark(obj: dict[str, Any]) -> dict[str, Any]:
    """``obj`` as JSON can say it."""
    return {key: value for key, value in obj.items() if key != _MARK} if _MARK in obj else obj


def unreadable(obj: Mapping[str, Any]) -> Unreadable | None:
    """The mark of an object; None when all of it was read."""
    found = obj.get(_MARK)
    return found if isinstance(found, Unreadable) else None


def why_unreadable(obj: Mapping[str, Any] | None) -> str:
    """What is missing of ``obj`` and why, for people; empty when all of it was read."""
    mark = unreadable(obj) if obj is not None else None
    return str(mark) if mark is not None else ""


def missing_in(obj: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Names of the fields directly in ``field`` that were left out."""
    mark = unreadable(obj)
    if mark is None:
        return ()
    return tuple(path[1] for path in mark.missing if len(path) == 2 and path[0] == field)
