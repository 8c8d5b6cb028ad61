"""The size of a regular expression after compilation: the states of its automaton, with counted repetitions expanded.

A linear-time engine needs time proportional to the states for compiling. A search takes at worst states times
characters, when the text reaches a new combination of states each time. So this number determines the cost of a
pattern. Pure; for the syntax that RE2 and Rust's ``regex`` share.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_LENGTH: Final = 1_024
"""Length of the patterns that are examined, in characters."""

_MAX_STATES: Final = 1 << 40
_UTF8_STATES: Final = 15
"""States for one character of a set that includes most of Unicode, such as ``.`` and ``[^a]``."""
_RANGE_STATES: Final = 8
"""States for a character or range in a class that is, or may be, outside ASCII."""
_FOLDED: Final = 3
"""The factor by which ignoring case may multiply states."""

_COUNT: Final = re.compile(r"\{(\d{1,6})(?:(,)(\d{0,6}))?\}")
_GROUP: Final = re.compile(r"\((?:\?(?:P?<\w+>|([a-zA-Z]*)(?:-[a-zA-Z]+)?(?::|(\)))))?")
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]")
_CLASS: Final = re.compile(r"\[(\^?)(\]?(?:\[:\^?\w+:\]|\\[^pPQ]|[^\]\[\\])*)\]", re.DOTALL)
_UNUSUAL_IN_CLASS: Final = re.compile(r"&&|~~|--|\[:\^|\\[DWS]")
_RANGES: Final = re.compile(r"[^\x00-\x7f]|\\x|\\u")
_ESCAPE: Final = re.compile(r"\\(x\{[0-9a-fA-F]{1,8}\}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^pPQEC0-9xu])", re.DOTALL)


def states_of(pattern: str) -> int | None:
    """An upper bound of the states; None when it is unknown, as for classes by Unicode property.

    Zero for a pattern that no linear-time engine accepts: it will be refused.
    """
    return None if len(pattern) > MAX_LENGTH else _states_of(pattern)


@lru_cache(maxsize=1_024)
def _states_of(pattern: str) -> int | None:
    try:
        states, ignores_case = _Reader(pattern).read()
    except _RefusedError:
        return 0
    except _UnknownError:
        return None
    return min(states * (_FOLDED if ignores_case else 1), _MAX_STATES)


class _RefusedError(Exception):
    """A construct that neither engine supports, so nothing is compiled."""


class _UnknownError(Exception):
    """A construct whose number of states is unknown."""


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._open = [0]
        """States of each open group so far, outermost first."""
        self._last = 0
        """States of the part that a repetition would apply to."""
        self._ignores_case = False

    def read(self) -> tuple[int, bool]:
        """The number of states, and whether case is ignored anywhere."""
        while self._at < len(self._text):
            self._one(self._text[self._at])
        if len(self._open) != 1:
            raise _UnknownError
        return 1 + self._open[0], self._ignores_case

    def _one(self, char: str) -> None:
        if char == "(":
            self._begin_group()
        elif char == ")":
            self._at += 1
            if len(self._open) == 1:
                raise _UnknownError
            self._add(2 + self._open.pop())
        elif char in "*+?":
            self._at += 1
            self._add(1, of_last=True)
        elif char == "{":
            self._repeat()
        elif char == "[":
            self._add(_class_states(self._match(_CLASS)))
        elif char == "\\":
            escaped = self._match(_ESCAPE)[1]
            self._add(_UTF8_STATES if escaped in "DWS" else 4)
        elif char == ".":
            self._at += 1
            self._add(_UTF8_STATES)
        else:
            self._at += 1
            self._add(len(char.encode(errors="replace")))

    def _match(self, what: re.Pattern[str]) -> re.Match[str]:
        found = what.match(self._text, self._at)
        if found is None:
            raise _UnknownError
        self._at = found.end()
        return found

    def _add(self, states: int, *, of_last: bool = False) -> None:
        self._last = self._last + states if of_last else states
        self._open[-1] = min(self._open[-1] + states, _MAX_STATES)

    def _begin_group(self) -> None:
        if _LOOK_AROUND.match(self._text, self._at):
            raise _RefusedError
        found = self._match(_GROUP)
        flags = found[1] or ""
        if "x" in flags or self._text.startswith("?", self._at):  # another syntax, or one that neither engine has
            raise _UnknownError
        self._ignores_case |= "i" in flags
        if found[2] is None:
            self._open.append(0)

    def _repeat(self) -> None:
        found = _COUNT.match(self._text, self._at)
        if found is None:  # a brace that is an ordinary character
            self._at += 1
            self._add(1)
            return
        self._at = found.end()
        times = max(int(found[1]), int(found[3] or 0), 1)
        more = (self._last + 1) * times + 1
        self._add(min(more, _MAX_STATES), of_last=True)


def _class_states(found: re.Match[str]) -> int:
    if _UNUSUAL_IN_CLASS.search(found[2]):
        if "\\" not in found[2] and "[:^" not in found[2]:
            raise _UnknownError
        return 2 * _UTF8_STATES + _RANGE_STATES * len(found[2])
    return 2 + (_UTF8_STATES if found[1] else 0) + _RANGE_STATES * len(_RANGES.findall(found[2]))
