"""The CEL library behind one narrow interface: compile, take apart, evaluate; its errors as data.

Google's cel-cpp through ``cel-expr-python``. It was chosen over ``common-expression-language`` (a Rust interpreter):

* conformance: it returns the specified answer in 1561 of the 1604 public cases that need no protobuf messages (38 of
  the other 43 need macros of two variables, which it does not support). The other library does so in 1323 of 1475;
  among others it lacks ``format``, time zones of timestamps and ``cel.bind``;
* analysis: it serializes its syntax tree with the place of every node and evaluates parts of it (``tree``), while the
  other one only lists names; it also checks types before there is any data;
* attacks: it stops after ``MAX_ITERATIONS`` rounds of macros and limits nesting and size, while the other one ran 27
  million rounds in a test. Both crash on data nested 100 000 deep, so ``binding`` refuses such data first.

It holds the interpreter lock while it works and cannot be interrupted. So nothing here may run on an event loop unless
its cost is bounded (``cost``). ``map`` and ``filter`` take time quadratic in their length; the length of a string is
its number of code points.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.expressions.paths import Json
from core.expressions.roots import ROOTS

MAX_CHARACTERS: Final = 2048
"""Length of one expression. Compiling cannot be interrupted and takes at worst about 5 µs for each character."""
MAX_DEPTH: Final = 32
"""Nesting of an expression, set in the library; each link of a chain such as ``a.b.c`` or ``1 + 2 + 3`` counts."""
MAX_ITERATIONS: Final = 10_000
"""The total rounds of all macros in one evaluation, set in the library."""
MAX_OPTIONAL_MACROS: Final = 4
"""``optMap`` and ``optFlatMap`` copy their operand twice, so a chain of them grows exponentially."""

_DOUBLING: Final = re.compile(r"optMap|optFlatMap")
_REPORT: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_STATUS: Final = re.compile(r"^([A-Z_]+): ")
_OUT_OF_ITERATIONS: Final = "Iteration budget exceeded"
_TOO_DEEP: Final = ("recursion limit exceeded", "max recursion depth")
_TOO_LARGE: Final = ("node count exceeded", "codepoint limit")


@dataclass(frozen=True, slots=True)
class Report:
    """One report of the compiler; ``line`` and ``column`` count from 1, the column in characters."""

    line: int
    column: int
    message: str


class CompilationError(Exception):
    """The expression does not parse, or its types do not match: *user*."""

    def __init__(self, reports: tuple[Report, ...]) -> None:
        super().__init__(reports[0].message)
        self.reports = reports


class TooLargeError(Exception):
    """The expression exceeds a limit of the library: *user*. ``limit`` is ``depth``, ``size`` or ``macros``."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class NoValueError(Exception):
    """The evaluation ended with an error: *user*. ``text`` is the library's and may contain data: never show it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @property
    def is_out_of_iterations(self) -> bool:
        return _OUT_OF_ITERATIONS in self.text


@dataclass(frozen=True, slots=True)
class CelProgram:
    """A program that can be evaluated. ``result_type`` is ``bool``, ``dyn`` and so on; ``serialized`` holds the
    tree.
    """

    handle: Any
    result_type: str
    serialized: bytes


def compile_text(text: str, extra_names: Iterable[str] = ()) -> CelProgram:
    """``text`` parsed, with the roots (and ``extra_names``) as variables of any type, and type checked.

    Raises:
        CompilationError: it does not parse, uses an unknown name, or mixes types.
        TooLargeError: it is nested too deeply or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLargeError("size")
    if len(_DOUBLING.findall(text)) > MAX_OPTIONAL_MACROS:
        raise TooLargeError("macros")
    try:
        text.encode()
        handle = _environment(frozenset(extra_names)).compile(text)
    except UnicodeEncodeError as error:
        raise CompilationError((Report(1, 1 + error.start, "the string is not valid Unicode"),)) from None
    except RuntimeError as error:
        raise _compilation_failure(str(error)) from None
    return CelProgram(handle, handle.return_type().name().lower(), handle.serialize())


def restore(serialized: bytes) -> Any:
    """The program for a tree, or a part of one, that this library has serialized."""
    return _environment(frozenset()).deserialize(serialized)


def evaluate(handle: Any, bindings: Mapping[str, Json]) -> tuple[Json, str]:
    """The value over ``bindings`` and its CEL type in lower case.

    Raises:
        NoValueError: there is no value.
    """
    try:
        result = handle.eval(data=bindings)
        type_name = str(result.type().name()).lower()
        value = result.plain_value()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise NoValueError(str(error)) from None
    if type_name == "error":
        raise NoValueError(str(value))
    return value, type_name


def status_of(text: str) -> str:
    """The status word at the beginning of an error's text, such as ``NOT_FOUND``."""
    found = _STATUS.match(text)
    return found[1] if found else ""


def _compilation_failure(text: str) -> CompilationError | TooLargeError:
    if any(word in text for word in _TOO_DEEP):
        return TooLargeError("depth")
    if any(word in text for word in _TOO_LARGE):
        return TooLargeError("size")
    reports = tuple(Report(int(line), int(column), message) for line, column, message in _REPORT.findall(text))
    return CompilationError(reports or (Report(1, 1, text),))


@functools.lru_cache(maxsize=16)
def _environment(extra_names: frozenset[str]) -> Any:
    # Imported here: the library takes 15 MiB, and a process that has no conditions does not need it.
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

    variables = dict.fromkeys((*ROOTS, *sorted(extra_names)), cel.Type.DYN)
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
    ]
    return cel.NewEnv(variables=variables, extensions=extensions)
