"""CEL behind a small interface: compile once, evaluate within a limit, errors in the API server's words.

The engine stops an evaluation after 10 000 iterations of comprehensions. A rule of the form ``LIST.all(x, …)`` may need
more on a long list (uniqueness of 100 names takes 10 100). Such a rule is then evaluated on pieces of the list, with
the same result. The number of pieces is limited, too. So every evaluation ends within about 0.2 s.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

MAX_PIECES = 128
"""The highest number of pieces of a long list; each piece may use the engine's own 10 000 iterations."""

_PIECE_ITERATIONS = 8_000
_ANSWERS = 256
_ANSWERED_BYTES = 4096
"""The cache of one expression has at most ``_ANSWERS`` answers, for values of at most this size."""
_RULE_VARIABLES = ("self", "oldSelf", "predecessor", "piece")
_OUT_OF_BUDGET = "Iteration budget exceeded"
_STRING_LITERAL = re.compile(
    r"""r?'''.*?'''|r?\"{3}.*?\"{3}|r'[^']*'|r"[^"]*"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.S
)
_MISSING_KEY = re.compile(r'Key not found in map : "?([^"]*)"?')
_LEADING_ALL = re.compile(r"\s*(self(?:\.[A-Za-z_]\w*)*)\.all\(\s*([A-Za-z_]\w*)\s*,")


class CelSyntaxError(Exception):
    """An expression does not compile (*user*); the message is the compiler's."""


class CelEvaluationError(Exception):
    """An expression has no value (*user*): an unknown key, an overflow, too much work."""


@dataclass(frozen=True)
class Binding:
    """The values to which an expression is applied."""

    value: Any
    old: Any = None
    has_old: bool = False

    def only(self, fields: frozenset[str] | None) -> Binding:
        """The same binding, in which objects keep only ``fields``."""
        if fields is None:
            return self
        return Binding(_cut(self.value, fields), _cut(self.old, fields), self.has_old)

    def key(self) -> bytes | None:
        """A key for the cache; None when it is too large, or holds values that JSON does not have."""
        try:
            key = orjson.dumps((self.value, self.old, self.has_old))
        except TypeError:
            return None
        return key if len(key) <= _ANSWERED_BYTES else None

    def variables(self) -> dict[str, Any]:
        return {"self": self.value, "oldSelf": self.old, "predecessor": {"value": self.old} if self.has_old else {}}


@dataclass(frozen=True)
class Program:
    """A compiled expression; ``pieces`` is the same expression for one piece of a list, where that is possible."""

    whole: Any
    pieces: _Pieces | None
    fields: frozenset[str] | None
    """The fields of self and oldSelf that the expression reads; None: perhaps all. Large values are slow to bind."""
    answers: dict[bytes, Any] = field(default_factory=dict, compare=False, repr=False)
    """A cache of results: CEL has no clock and no random numbers, and most values are evaluated many times."""

    def evaluate(self, bound: Binding) -> Any:
        """The value of the expression as a plain Python value.

        Raises:
            CelEvaluationError: it has no value.
        """
        asked = bound.only(self.fields)
        key = asked.key()
        if key is not None and key in self.answers:
            return self.answers[key]
        answer = self._evaluate(asked.variables())
        if key is not None:
            if len(self.answers) >= _ANSWERS:
                self.answers.clear()
            self.answers[key] = answer
        return answer

    def _evaluate(self, variables: dict[str, Any]) -> Any:
        try:
            return _value(self.whole, variables)
        except OutOfBudgetError:
            if self.pieces is None:
                raise
        return self.pieces.evaluate(variables)


@dataclass(frozen=True)
class _Pieces:
    path: tuple[str, ...]
    program: Any

    def evaluate(self, variables: dict[str, Any]) -> bool:
        items: Any = variables["self"]
        for name in self.path:
            items = items.get(name) if isinstance(items, dict) else None
        if not isinstance(items, list) or not items:
            raise OutOfBudgetError
        length = max(1, _PIECE_ITERATIONS // len(items))
        if len(items) > length * MAX_PIECES:
            raise OutOfBudgetError
        return all(
            _value(self.program, {**variables, "piece": items[start : start + length]})
            for start in range(0, len(items), length)
        )


@dataclass(frozen=True)
class Predicate:
    """A compiled expression whose value is true or false."""

    program: Any

    def holds(self, variables: dict[str, Any]) -> bool:
        """Whether it is true for ``variables``.

        Raises:
            CelEvaluationError: it is neither true nor false.
        """
        value = _value(self.program, variables)
        if not isinstance(value, bool):
            raise CelEvaluationError("no such overload")
        return value


class OutOfBudgetError(CelEvaluationError):
    """An expression needs more iterations than the engine allows for one evaluation."""

    def __init__(self) -> None:
        super().__init__("call cost exceeds limit")


@functools.lru_cache(maxsize=1024)
def compile_expression(source: str, *, result: Literal["bool", "string"], optional_old: bool = False) -> Program:
    """Compile ``source``; with ``optional_old``, oldSelf is an optional.

    Raises:
        CelSyntaxError: it does not parse, names something unknown, or cannot have a ``result``.
    """
    refuse_bindings(source)
    whole = _compile(source, optional_old=optional_old)
    given = whole.return_type().name().lower()
    if given not in (result, "dyn"):
        raise CelSyntaxError(f"cel expression must evaluate to a {result}")
    pieces = _compile_pieces(source, optional_old=optional_old) if result == "bool" else None
    return Program(whole, pieces, _fields(source))


def compile_in(environment: Any, source: str) -> Any:
    """Compile ``source`` in an environment of the engine.

    Raises:
        CelSyntaxError: it does not parse, or names something unknown.
    """
    try:
        return environment.compile(source)
    except RuntimeError as error:
        raise CelSyntaxError(f"compilation failed: {message_of(str(error))}") from error


def compile_predicate(source: str, variables: tuple[str, ...], *, typed: str) -> Predicate:
    """Compile ``source`` as a condition on ``variables``.

    Args:
        typed: the variable whose fields have known types. A result of unknown type is accepted only if ``source``
            mentions this variable, as in an API server.
    Raises:
        CelSyntaxError: it does not parse, names something unknown, or cannot be true or false.
    """
    refuse_bindings(source)
    program = compile_in(_environment(variables), source)
    given = program.return_type().name().lower()
    if given != "bool" and not (given == "dyn" and mentions(source, typed)):
        raise CelSyntaxError(f"must evaluate to bool but got {given}")
    return Predicate(program)


def refuse_bindings(source: str) -> None:
    """Refuse bindings in ``source``: we only use them to wrap expressions, and an API server does not offer them."""
    if mentions(source, "cel"):
        raise CelSyntaxError("compilation failed: undeclared reference to 'cel'")


def without_literals(source: str) -> str:
    """``source`` with empty string literals, so that only code is left."""
    return _STRING_LITERAL.sub("''", source)


def blanked(source: str) -> str:
    """``source`` with every character of a string literal replaced, so that code keeps its positions."""
    return _STRING_LITERAL.sub(lambda literal: "_" * len(literal.group()), source)


def mentions(source: str, identifier: str) -> bool:
    """Whether ``identifier`` occurs in ``source`` outside string literals."""
    return re.search(rf"(?<![\w.]){identifier}\b", _STRING_LITERAL.sub("''", source)) is not None


def _cut(value: Any, fields: frozenset[str]) -> Any:
    return {name: value[name] for name in fields if name in value} if isinstance(value, dict) else value


def _fields(source: str) -> frozenset[str] | None:
    code = _STRING_LITERAL.sub("''", source)
    found = re.findall(r"(?<![\w.])(?:self|oldSelf)\b(?:\.([A-Za-z_]\w*)(?!\w|\s*\())?", code)
    return frozenset(found) if all(found) else None


def _compile_pieces(source: str, *, optional_old: bool) -> _Pieces | None:
    found = _LEADING_ALL.match(source)
    if found is None or not _closes_at_end(source, found.end(1) + len(".all")):
        return None
    path = tuple(found.group(1).split(".")[1:])
    return _Pieces(path, _compile("piece" + source[found.end(1) :], optional_old=optional_old))


def _closes_at_end(source: str, opening: int) -> bool:
    """Whether the last character closes the parenthesis at ``opening``."""
    blank = blanked(source).rstrip()
    depth = 0
    for position in range(opening, len(blank)):
        depth += {"(": 1, ")": -1}.get(blank[position], 0)
        if depth == 0:
            return position == len(blank) - 1
    return False


def _compile(source: str, *, optional_old: bool) -> Any:
    wrapped = f'cel.bind(oldSelf, predecessor[?"value"], {source})' if optional_old else source
    return compile_in(_environment(_RULE_VARIABLES), wrapped)


@functools.cache
def _environment(variables: tuple[str, ...]) -> Any:
    return new_environment(dict.fromkeys(variables, cel.Type.DYN))


def new_environment(variables: dict[str, Any], functions: Sequence[Any] = ()) -> Any:
    """An environment of the engine with typed ``variables``, an API server's extensions, and more ``functions``."""
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
    ]
    return cel.NewEnv(variables=variables, extensions=extensions, functions=functions)


def _value(program: Any, variables: dict[str, Any]) -> Any:
    result = run(program, data=variables)
    value = result.plain_value()
    if result.type().name() == "ERROR":
        raise CelEvaluationError(message_of(str(value)))
    return value


def run(program: Any, **bound: Any) -> Any:
    """The result of the engine for ``program``; it may still be an error as a value.

    Args:
        bound: the engine's ``data`` or ``activation``.
    Raises:
        CelEvaluationError: the engine gave no result.
    """
    try:
        return program.eval(**bound)
    except RuntimeError as error:
        if _OUT_OF_BUDGET in str(error):
            raise OutOfBudgetError from error
        raise CelEvaluationError(message_of(str(error))) from error
    except (TypeError, ValueError, OverflowError) as error:  # CEL has no type for the value, for example a huge integer
        raise CelEvaluationError(str(error)) from error


def message_of(text: str) -> str:
    """The engine's message without its status code and in the API server's words."""
    missing = _MISSING_KEY.search(text)
    if missing:
        return f"no such key: {missing.group(1)}"
    if "divide by zero" in text:
        return "division by zero"
    if "No matching overloads" in text:
        return "no such overload"
    return re.sub(r"^[A-Z_]+: ", "", text).removesuffix(" [INVALID_ARGUMENT]")
