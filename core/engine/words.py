"""Stored words as members of the enums they should belong to, anything else counts as absent; and words we look for."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeVar

SKIPPED_BY_IF: Final = "Skipped: its 'if' condition is false"
UNDECIDED: Final = "nobody decided in time"
SKIPPED_UNDECIDED: Final = f"Skipped: {UNDECIDED}"
"""The message of a ``gate`` with ``onTimeout: skip`` that nobody decided on."""
ENDED: Final = "Ended: "
"""Begins the message of a step that was ended because its run, or its list of steps, was."""

E = TypeVar("E", bound=StrEnum)


def member_or_none(enum: type[E], word: object) -> E | None:
    """The member that ``word`` spells, or None."""
    if not isinstance(word, str):
        return None
    try:
        return enum(word)
    except ValueError:
        return None
