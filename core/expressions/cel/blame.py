"""Finds the part of an expression that has no value, and the reason.

The library reports neither the place of a run-time error nor a text that may be shown (its texts contain data). So the
parts are evaluated again, from the outside in: the cause is the innermost part whose own parts all have a value.
Messages contain only kinds of values, never values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.expressions.cel import library, tree
from core.expressions.cel.compilation import OPERATORS, type_word
from core.expressions.cel.library import NoValueError
from core.expressions.cel.tree import CelCall, Comprehension, Node, Select
from core.expressions.errors import Fault
from core.expressions.paths import Json

_CONVERSIONS: Final = frozenset({"int", "uint", "double", "bool", "string", "timestamp", "duration", "bytes"})
_INDEXES: Final = frozenset({"_[_]", "_[?_]", "_?._"})
_LOGICAL: Final = frozenset({"_&&_", "_||_", "_?_:_"})
_NO_OVERLOAD: Final = "No matching overloads"
_NOT_FOUND: Final = "NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Blame:
    """The cause of a failure, for a message.

    ``missing`` is the missing key; ``within`` is the type that was searched for it, if that is not an object; ``limit``
    is the name of a limit that was exceeded.
    """

    offset: int
    message: str
    fault: Fault
    remedy: str = ""
    missing: str = ""
    within: str = ""
    limit: str = ""


def find(root: Node, data: Mapping[str, Json], error: NoValueError) -> Blame:
    """The cause of ``error`` of the expression at ``root`` over ``data``."""
    if error.is_out_of_iterations:
        message = f"macros such as all() and map() went through more than {library.MAX_ITERATIONS} elements"
        remedy = "read fewer elements, or count them in a step"
        return Blame(_first_macro(root), message, Fault.LIMIT, remedy, limit="iterations")
    node = root
    while not isinstance(node, Comprehension):
        failing = next(((part, found) for part in tree.children(node) if (found := _failure(part, data))), None)
        if failing is None:
            break
        node, error = failing
    return _blame_of(node, data, error)


def _failure(node: Node, data: Mapping[str, Json]) -> NoValueError | None:
    if not node.source:
        return None
    try:
        library.evaluate(library.restore(tree.alone(node)), data)
    except NoValueError as error:
        return error
    return None


def _blame_of(node: Node, data: Mapping[str, Json], error: NoValueError) -> Blame:
    match node:
        case Select(operand=operand, field=field):
            return _about_key(node, operand, field, data, error)
        case CelCall(function=function, arguments=arguments) if function in _INDEXES:
            key = arguments[1]
            known = str(key.value) if isinstance(key, tree.Literal) else "the computed key"
            return _about_key(node, arguments[0], known, data, error)
        case Comprehension(over=over) if _failure(over, data) is None:
            return _inside_macro(node, data, error)
        case CelCall():
            return _about_call(node, data, error)
        case tree.CelName(name=name):
            return Blame(node.offset, f"there is no {name} here", Fault.MISSING, "use inputs or steps")
        case _:
            return Blame(node.offset, "the expression has no value", Fault.CALL)


def _about_key(node: Node, container: Node, key: str, data: Mapping[str, Json], error: NoValueError) -> Blame:
    kind = _type(container, data)
    if kind in ("map", "list") or library.status_of(error.text) == _NOT_FOUND:
        message = f"{key} is missing" if kind != "list" else f"there is no element {key}"
        return Blame(node.offset, message, Fault.MISSING, missing=key)
    message = f"{key} is read from {type_word(kind)}, which is not an object"
    return Blame(node.offset, message, Fault.PATH_TYPE, missing=key, within=type_word(kind))


def _about_call(node: CelCall, data: Mapping[str, Json], error: NoValueError) -> Blame:
    name = OPERATORS.get(node.function, node.function)
    kinds = [type_word(_type(part, data)) for part in tree.children(node)]
    taken = " and ".join(kinds) or "this"
    if "divi" in error.text or "modulus" in error.text:
        return Blame(node.offset, f"{name} by zero", Fault.CALL, "test the divisor first")
    if node.function in _CONVERSIONS and _NO_OVERLOAD not in error.text:
        return Blame(
            node.offset, f"{name}() cannot read {taken} of this content", Fault.CALL, "check the content first"
        )
    if "overflow" in error.text or library.status_of(error.text) == "OUT_OF_RANGE":
        return Blame(node.offset, f"{name} leaves the range of its type", Fault.OVERFLOW, "use double(x)")
    if "regular expression" in error.text:
        return Blame(node.offset, "the regular expression is not valid", Fault.CALL, "see the syntax of RE2")
    remedy = "convert one, as in int(x), double(x) or string(x)"
    if node.function in _LOGICAL:
        remedy = 'compare it, as in inputs.mode == "fast"'
    return Blame(node.offset, f"{name} does not take {taken}", Fault.ARGUMENT_TYPE, remedy)


def _inside_macro(node: Comprehension, data: Mapping[str, Json], error: NoValueError) -> Blame:
    kind = _type(node.over, data)
    if kind not in ("list", "map"):
        message = f"a macro iterates over lists and objects, not over {type_word(kind)}"
        return Blame(node.offset, message, Fault.RANGE_TYPE)
    if library.status_of(error.text) == _NOT_FOUND:
        for part in tree.walk(node):  # the library's text has the name, but may hold data: search for known names
            if isinstance(part, Select) and f'"{part.field}"' in error.text:
                remedy = f"test it with has(x.{part.field})"
                return Blame(part.offset, f"{part.field} is missing in an element", Fault.MISSING, remedy)
    message = "the macro cannot process the type of an element"
    return Blame(node.offset, message, Fault.ARGUMENT_TYPE, "test its type or filter() the elements first")


def _type(node: Node, data: Mapping[str, Json]) -> str:
    try:
        _value, kind = library.evaluate(library.restore(tree.alone(node)), data)
    except NoValueError:
        return "dyn"
    return kind.partition("<")[0].partition("(")[0]


def _first_macro(root: Node) -> int:
    return next((node.offset for node in tree.walk(root) if isinstance(node, Comprehension)), root.offset)
