"""Why an expression does not compile, in the terms of its author: place, cause, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from core.api.suggestion import closest
from core.expressions import roots
from core.expressions.cel import library
from core.expressions.cel.library import CompilationError, Report, TooLargeError
from core.expressions.errors import ExpressionError, LimitExceededError, TemplateSyntaxError

OPERATORS: Final[Mapping[str, str]] = {
    "_&&_": "&&",
    "_||_": "||",
    "!_": "!",
    "-_": "-",
    "_==_": "==",
    "_!=_": "!=",
    "_<_": "<",
    "_<=_": "<=",
    "_>_": ">",
    "_>=_": ">=",
    "_+_": "+",
    "_-_": "-",
    "_*_": "*",
    "_/_": "/",
    "_%_": "%",
    "_?_:_": "?:",
    "_[_]": "[]",
    "@in": "in",
}
_FUNCTIONS: Final = (
    *("size", "has", "all", "exists", "exists_one", "map", "filter", "contains", "startsWith", "endsWith", "matches"),
    *("lowerAscii", "upperAscii", "trim", "split", "join", "replace", "substring", "charAt", "indexOf", "lastIndexOf"),
    *("format", "reverse", "int", "uint", "double", "string", "bool", "bytes", "type", "dyn", "duration", "timestamp"),
    *("getFullYear", "getMonth", "getDayOfMonth", "getHours", "getMinutes", "getSeconds", "orValue", "hasValue"),
    *("math.abs", "math.greatest", "math.least", "math.ceil", "math.floor", "math.round", "base64.encode"),
)
_ELSEWHERE: Final[Mapping[str, str]] = {
    "len": "write size(x)",
    "length": "write size(x)",
    "lower": "write x.lowerAscii()",
    "upper": "write x.upperAscii()",
    "toLower": "write x.lowerAscii()",
    "toUpper": "write x.upperAscii()",
    "hasPrefix": 'write x.startsWith("...")',
    "hasSuffix": 'write x.endsWith("...")',
    "regexMatch": 'write x.matches("...")',
    "toString": "write string(x)",
    "float": "write double(x)",
    "now": "a condition cannot read the clock; compare times that steps or inputs give, or use the template {{ now }}",
    "any": "write x.exists(item, ...)",
    "default": "write has(x) ? x : ..., or inputs.?name.orValue(...)",
}
_WORDS: Final[Mapping[str, str]] = {
    "and": "write && for and",
    "or": "write || for or",
    "not": "write ! for not",
    "is": "write == to compare",
    "eq": "write a == b; functions such as eq belong between {{ and }}",
    "ne": "write a != b; functions such as ne belong between {{ and }}",
}
_NAMES: Final[Mapping[str, str]] = {
    "True": "write true",
    "False": "write false",
    "TRUE": "write true",
    "FALSE": "write false",
    "None": "write null",
    "nil": "write null",
    "undefined": "write !has(x)",
}
_SHOWN_CHARACTERS: Final = 20
_TYPES: Final[Mapping[str, str]] = {
    "dyn": "any value",
    "string": "a string",
    "int": "an integer",
    "uint": "an unsigned integer",
    "double": "a floating point number",
    "bool": "a bool",
    "null": "null",
    "null_type": "null",
    "list": "a list",
    "map": "an object",
    "timestamp": "a timestamp",
    "duration": "a duration",
    "type": "a type",
}
_HYPHENATED: Final = re.compile(r"(?<![\w.])((?:" + "|".join(roots.ROOTS) + r")(?:\.\w+)*?)\.([A-Za-z_]\w*(?:-\w+)+)")
_LITERAL: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']*)' applied to '([^']*)'")
_UNEXPECTED: Final = re.compile(r"(?:extraneous|mismatched) input '(.*?)' expecting|alternative at input '(.*)'", re.S)
_UNKNOWN_CHARACTER: Final = re.compile(r"token recognition error at: '(.*?)'?$", re.S)
_MISSING: Final = re.compile(r"missing '(.*)' at")


def why_not(text: str, error: CompilationError | TooLargeError, steps: Iterable[str] = ()) -> ExpressionError:
    """The located error of ``text``; ``steps`` are the step names for suggestions."""
    if isinstance(error, TooLargeError):
        problem: ExpressionError = _too_large(error)
        problem.locate(text)
        return problem
    report = _most_telling(text, error.reports)
    message, remedy, subject, offset = _explained(text, report, steps)
    hyphenated = _HYPHENATED.search(_without_literals(text))
    if hyphenated and not report.message.startswith("Syntax error"):
        before, name = hyphenated[1], hyphenated[2]
        message, offset, subject = f"{before}.{name} is a subtraction", hyphenated.start(), name
        remedy = f'did you mean {before}["{name}"]?'
    problem = TemplateSyntaxError(message, subject=subject, remedy=remedy, offset=offset)
    problem.locate(text)
    return problem


def type_word(name: str) -> str:
    """The name of a CEL type in messages."""
    base = name.lower().partition("(")[0].partition("<")[0]
    return _TYPES.get(base, base)


def _too_large(error: TooLargeError) -> LimitExceededError:
    if error.limit == "depth":
        allowed = library.MAX_DEPTH
        message = f"the expression is nested deeper than {allowed} levels; chains such as a.b.c and 1 + 2 + 3 count"
        return LimitExceededError("expression_depth", allowed, message)
    if error.limit == "macros":
        allowed = library.MAX_OPTIONAL_MACROS
        message = f"the expression uses optMap and optFlatMap more than {allowed} times"
        return LimitExceededError("expression_macros", allowed, message)
    allowed = library.MAX_CHARACTERS
    return LimitExceededError(
        "expression_characters", allowed, f"the expression is longer than {allowed} characters, or has too many parts"
    )


def _most_telling(text: str, reports: tuple[Report, ...]) -> Report:
    """The most useful of several reports: an unknown function is more useful than the variables in its arguments."""
    for report in reports:
        if _UNDECLARED.search(report.message) and text[_offset(text, report) :][:1] == "(":
            return report
    return reports[0]


def _explained(text: str, report: Report, steps: Iterable[str]) -> tuple[str, str, str, int]:
    """Message, remedy, subject, offset."""
    offset = _offset(text, report)
    undeclared = _UNDECLARED.search(report.message)
    if undeclared:
        return _unknown_name(text, undeclared[1], offset, steps)
    overload = _OVERLOAD.search(report.message)
    if overload:
        operator = OPERATORS.get(overload[1], overload[1])
        types = " and ".join(type_word(name) for name in _split_types(overload[2]))
        return (
            f"{operator} does not take {types}",
            "convert one, as in int(x), double(x) or string(x)",
            operator,
            offset,
        )
    return *_syntax(text, report.message, offset), offset


def _unknown_name(text: str, name: str, offset: int, steps: Iterable[str]) -> tuple[str, str, str, int]:
    if text[offset : offset + 1] == "(":
        start = offset - len(name) if text[:offset].endswith(name) else offset
        if name in _FUNCTIONS:
            return f"{name} does not take these arguments", "see how many it takes", name, start
        guess = closest(name, _FUNCTIONS)
        remedy = _ELSEWHERE.get(name) or (f"did you mean {guess}?" if guess else "see docs/expressions.md")
        return f"there is no function {name}", remedy, name, start
    first, _, rest = name.partition(".")
    start = offset - (len(name) - len(name.rpartition(".")[2]) - 1) if rest else offset
    start = start if text.startswith(first, start) else offset
    guess = _suggested(first, steps)
    offered = 'a path starts with inputs or steps; write a string in quotes, as in "ready"'
    remedy = _NAMES.get(first) or (f"did you mean {guess}?" if guess else offered)
    return f"there is no {first}", remedy, first, start


def _suggested(word: str, steps: Iterable[str]) -> str | None:
    names = sorted(steps)
    if word in names:
        return _step_path(word)
    root = closest(word, (roots.INPUTS, roots.STEPS))
    if root:
        return root
    step = closest(word, names)
    return _step_path(step) if step else None


def _step_path(name: str) -> str:
    return f"steps.{name}" if name.isidentifier() else f'steps["{name}"]'


def _syntax(text: str, message: str, offset: int) -> tuple[str, str, str]:
    """Message, remedy and subject for a text that the grammar does not allow."""
    words = _without_literals(text).split()
    remedy = next((_WORDS[word] for word in words if word in _WORDS), "")
    unknown, missing = _UNKNOWN_CHARACTER.search(message), _MISSING.search(message)
    if unknown:
        return _unknown_character(unknown[1].strip(), remedy)
    if missing:
        return f"{missing[1]} is missing", remedy or f"add {missing[1]}", missing[1]
    unexpected = _UNEXPECTED.search(message)
    if not unexpected:
        cause = message.removeprefix("Syntax error: ").partition(" [")[0]
        if cause.startswith("has()"):
            remedy = 'write has(a.b), or "b" in a'
        return cause, remedy or "see docs/expressions.md", ""
    found = unexpected[1] or unexpected[2] or ""
    if found == "<EOF>":
        return "the expression ends too early", remedy or "complete it, or remove the last operator", ""
    if found == ".in":
        return "in is a reserved word", remedy or 'write ["in"] for a key of that name', "in"
    return f"{_shown(found)} does not belong here", remedy or "join two conditions with && or ||", found


def _unknown_character(found: str, remedy: str) -> tuple[str, str, str]:
    remedies = {"=": "write == to compare", "|": "write || for or; pipes belong between {{ and }}", "&": "write &&"}
    if found[:1] in ("'", '"'):
        return "a string is not closed, or has an unknown escape", "close it with the same quote", found[:1]
    return f"{_shown(found)} is not part of the language", remedies.get(found, remedy or "remove it"), found


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def _without_literals(text: str) -> str:
    return _LITERAL.sub(lambda found: " " * len(found[0]), text)


def _split_types(types: str) -> list[str]:
    """``(int, list(string))``, split at its outer commas."""
    parts, depth, current = [], 0, ""
    for character in types.removeprefix("(").removesuffix(")"):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [part for part in (*parts, current.strip()) if part]


def _offset(text: str, report: Report) -> int:
    lines = text.split("\n")[: max(report.line - 1, 0)]
    return min(sum(len(line) + 1 for line in lines) + max(report.column - 1, 0), len(text))
