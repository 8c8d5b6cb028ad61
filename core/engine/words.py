"""Stored words as members of the enums they should belong to; anything else counts as absent."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


def member_or_none(enum: type[E], word: object) -> E | None:
    """The member that ``word`` spells, or None."""
    if not isinstance(word, str):
        return None
    try:
        return enum(word)
    except ValueError:
        return None
