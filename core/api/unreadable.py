"""Objects that cannot be read completely: the readable part has a mark that says so.

A reader of objects from an API server keeps the readable part of an object that is damaged, too deep or too large,
leaves out the rest and adds the mark. Code that decides on objects must call ``why_unreadable`` first. The mark is not
a JSON value, so no client can write it into an object. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MARK: Final = "\0unreadable"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """``missing``: paths of the fields that were left out, e.g. ``("status", "output")``. ``why``: a clause, without
    the field.
    """

    missing: tuple[tuple[str, ...], ...]
    why: str

    def __str__(self) -> str:
        fields = ", ".join(".".join(path) for path in self.missing) or "a part of it"
        return f"{fields} {'is' if len(self.missing) <= 1 else 'are'} left out, because the object {self.why}"


def marked(obj: dict[str, Any], mark: Unreadable) -> dict[str, Any]:
    """``obj``, an incomplete object, with the mark."""
    return {**obj, _MARK: mark}


def without_mark(obj: dict[str, Any]) -> dict[str, Any]:
    """``obj`` in a form that JSON can represent."""
    return {key: value for key, value in obj.items() if key != _MARK} if _MARK in obj else obj


def unreadable(obj: Mapping[str, Any]) -> Unreadable | None:
    """The mark of an object; None when it was read completely."""
    found = obj.get(_MARK)
    return found if isinstance(found, Unreadable) else None


def why_unreadable(obj: Mapping[str, Any] | None) -> str:
    """What is missing in ``obj`` and why, for people; empty when it was read completely."""
    mark = unreadable(obj) if obj is not None else None
    return str(mark) if mark is not None else ""


def missing_in(obj: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Names of the missing fields directly in ``field``."""
    mark = unreadable(obj)
    if mark is None:
        return ()
    return tuple(path[1] for path in mark.missing if len(path) == 2 and path[0] == field)
