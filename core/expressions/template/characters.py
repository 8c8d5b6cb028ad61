"""The results of Go's ``unicode`` package for characters, where Python differs: one to one, by category alone."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

SPACES: Final = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
"""White space; Python also counts four control characters."""

_CACHED_CHARACTERS: Final = 4096
_WORD: Final = re.compile(f"[^{SPACES}]+")


@lru_cache(maxsize=_CACHED_CHARACTERS)
def category(char: str) -> str:
    """The general category of a character: ``Lu``, ``Nd``, …"""
    return unicodedata.category(char)


@lru_cache(maxsize=_CACHED_CHARACTERS)
def to_upper(char: str) -> str:
    """Its upper-case letter, if that is one character."""
    upper = char.upper()
    return upper if len(upper) == 1 else _one_for_one(char, char.title())


@lru_cache(maxsize=_CACHED_CHARACTERS)
def to_title(char: str) -> str:
    """Its title-case letter, if that is one character."""
    return _one_for_one(char, char.title())


@lru_cache(maxsize=_CACHED_CHARACTERS)
def to_lower(char: str) -> str:
    """Its lower-case letter."""
    return char.lower()[0]


def words(text: str) -> list[str]:
    """The parts between white space."""
    return _WORD.findall(text)


def _one_for_one(char: str, changed: str) -> str:
    return changed if len(changed) == 1 else char
