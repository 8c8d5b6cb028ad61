"""Cuts deeply nested CEL into pieces, because the engine parses only 32 levels and an API server parses more.

Pure. The body of a macro that is nested too deeply becomes a call of ``piece_``: its text, and the macro variables that
it mentions. The call compiles the text and evaluates it with these variables, only when an evaluation comes to it.
Each piece may use the engine's 10 000 iterations, so an expression that needs more is cut as finely as possible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localcluster.server import rules_cel

FUNCTION: Final = "piece_"
BRACKETS: Final = 10
"""How many brackets one piece may nest; between two brackets the engine may count more than one level."""

_CALL_BRACKETS: Final = 2
_MACRO: Final = re.compile(r"\.(?:all|exists|exists_one|filter|map)\(\s*([A-Za-z_]\w*)\s*,")
_DEPTHS: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


@dataclass(frozen=True)
class _Macro:
    """A macro with one expression: its variable, the place of its body, and how deeply it is nested."""

    variable: str
    start: int
    end: int
    depth: int


def cut(source: str, known: tuple[str, ...] = ()) -> str:
    """``source``, in which no bracket is nested more deeply than ``BRACKETS`` if macros can be cut so.

    ``known``: macro variables around ``source``, if it is a piece itself.
    """
    while True:
        depths = _depths(rules_cel.blanked(source))
        macros = _macros(source, depths)
        shallow = [each for each in macros if each.depth + _CALL_BRACKETS <= BRACKETS]
        deep = [each for each in shallow if max(depths[each.start : each.end]) > BRACKETS]
        if not deep:
            return source
        source = _without(source, max(deep, key=lambda each: each.depth), macros, known)


def cut_finely(source: str, known: tuple[str, ...] = ()) -> str:
    """``source``, in which no macro that can be cut contains another. ``known``: see ``cut``."""
    while True:
        macros = _macros(source, _depths(rules_cel.blanked(source)))
        outer = [each for each in macros if any(each.start < inner.start < each.end for inner in macros)]
        if not outer:
            return source
        source = _without(source, min(outer, key=lambda each: each.depth), macros, known)


def _without(source: str, macro: _Macro, macros: list[_Macro], known: tuple[str, ...]) -> str:
    """``source`` with a call in place of the macro's body."""
    body = source[macro.start : macro.end].strip()
    around = [each.variable for each in macros if each.start <= macro.start and macro.end <= each.end]
    names = [name for name in dict.fromkeys([*known, *around]) if rules_cel.mentions(body, name)]
    passed = ", ".join([_quoted(body), _quoted(",".join(names)), f"[{', '.join(names)}]"])
    return f"{source[: macro.start]} {FUNCTION}({passed}){source[macro.end :]}"


def _macros(source: str, depths: list[int]) -> list[_Macro]:
    return list(_found_macros(rules_cel.blanked(source), depths))


def _found_macros(blank: str, depths: list[int]) -> Iterator[_Macro]:
    for found in _MACRO.finditer(blank):
        depth = depths[blank.index("(", found.start())]
        end = next((at for at in range(found.end(), len(blank)) if depths[at] < depth), len(blank))
        whole = not any(blank[at] == "," and depths[at] == depth for at in range(found.end(), end))
        if whole and not blank[found.end() : end].lstrip().startswith(f"{FUNCTION}("):
            yield _Macro(found.group(1), found.end(), end, depth)


def _depths(blank: str) -> list[int]:
    """For each character, the number of brackets open after it."""
    depths, depth = [], 0
    for character in blank:
        depth += _DEPTHS.get(character, 0)
        depths.append(depth)
    return depths


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
