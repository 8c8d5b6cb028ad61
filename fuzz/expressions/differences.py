"""The deliberate differences between the engine and Go, each with a name, a reason and the narrowest possible test.

``docs/differences.md`` describes them for users.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fuzz.expressions.grammar import Case
from fuzz.expressions.oracle import Answer


@dataclass(frozen=True, slots=True)
class Difference:
    """``explains`` returns whether this difference is the reason why our answer differs from Go's."""

    name: str
    reason: str
    explains: Callable[[Case, Answer, Answer], bool]


def _words(template: str) -> set[str]:
    return set(re.findall(r"\w+", template))


def _go_fails_with(pattern: str) -> Callable[[Case, Answer, Answer], bool]:
    compiled = re.compile(pattern)
    return lambda _case, _mine, go: go.kind == "error" and compiled.search(go.message) is not None


DIFFERENCES: Final = (
    Difference(
        "integers compare with floats",
        "JSON numbers are floats and literals are integers, so `eq inputs.n 5` fails in Go",
        _go_fails_with(r"error calling (eq|ne|lt|le|gt|ge): incompatible types for comparison"),
    ),
    Difference(
        "index takes integral floats",
        "an index that comes from JSON is a float",
        _go_fails_with(r"error calling index: cannot index slice/array with type float64"),
    ),
    Difference(
        "deepCopy of nothing and of versions",
        "a copy of nil is nil, and one of a version the same version; Go fails, and makes it 0.0.0",
        lambda case, mine, go: (
            re.search(r"(deepCopy|mustDeepCopy): reflect: call of reflect.Value.Type on zero Value", go.message)
            is not None
            or (mine.kind == go.kind == "value" and {"deepCopy", "semver"} <= _words(case.template))
            or (mine.kind == go.kind == "value" and {"mustDeepCopy", "semver"} <= _words(case.template))
        ),
    ),
    Difference(
        "chunk wants a positive size",
        "what Sprig makes of a negative size depends on rounding",
        lambda _case, mine, _go: "the size of a chunk must be greater than zero" in mine.message,
    ),
    Difference(
        "slices end where their list ends",
        "Go slices on into memory that the list does not fill",
        lambda _case, mine, go: (
            re.search(r"lice: \[.*\] is outside a list", mine.message) is not None and mine.fault != go.fault
        ),
    ),
    Difference(
        "zones at the end of all time",
        "where 64 bits of seconds end, Go looks up the offset of a zone beyond them",
        lambda case, mine, _go: (
            re.search(r"InZone|_in_zone", case.template) is not None
            and re.search(r"292277\d{6}", str(mine.value)) is not None
        ),
    ),
    Difference(
        "no complex numbers",
        "nothing computes with them",
        lambda _case, mine, _go: mine.kind == "parse" and "complex numbers" in mine.message,
    ),
    Difference(
        "larger templates wait for steps",
        "a template over a step that has not delivered is evaluated again instead of failing",
        lambda _case, mine, go: mine.kind == "blocked" and go.kind == "error" and mine.fault == go.fault,
    ),
    Difference(
        "offloaded data is seen in more places",
        "Go's check knows neither arguments of templates nor roots that it only reaches through $",
        lambda case, mine, _go: (
            mine.kind == "offloaded"
            and (case.template != case.for_go or re.search(r"\{\{-?\s*(template|block)\b", case.template) is not None)
        ),
    ),
    Difference(
        "times and versions have no inside",
        "where the verb does not fit, and under %#v, Go shows private fields of its objects; here it is their text",
        lambda case, mine, go: (
            "printf" in case.template
            and mine.kind == go.kind == "value"
            and re.search(r"semver|oDate|odify|now", case.template) is not None
        ),
    ),
    Difference(
        "roots mean roots everywhere",
        "`inputs` and `steps` without a dot are looked up in the element of a loop only when it has such a key",
        lambda _case, _mine, _go: False,  # for Go, the generator writes the meaning that these roots have in the engine
    ),
    Difference(
        "more roots",
        "`step`, `run` and `engram` begin paths, too; without a dot, Go takes them for functions",
        lambda _case, _mine, go: (
            go.kind == "parse" and re.search(r'function "(step|run|engram)" not defined', go.message) is not None
        ),
    ),
    Difference(
        "limits",
        "what costs too much is refused; Go goes on",
        lambda _case, mine, _go: mine.fault == "limit",
    ),
)
