"""Comparison, hash and text of frozen dataclasses, written once for all of them.

``dataclass`` compiles these methods anew for each class. For the messages alone that was a quarter of the time in which
an engram loads its modules.
"""

from __future__ import annotations

from typing import Any


class Record:
    """Base of ``@dataclass(frozen=True, slots=True, eq=False, repr=False)``: it does what these options leave out."""

    __slots__ = ()
    __match_args__: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self is other or _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        pairs = zip(self.__match_args__, _values(self), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


def _values(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__match_args__)
