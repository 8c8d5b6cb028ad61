"""The functions of the language itself: logic, comparison, indexing, printing, escaping.

``len`` and ``slice`` are not here: the engine replaces them (``sprig.engine``, ``sprig.lists``). Two rules are wider
than in Go: integers and floats compare by value, and ``index`` accepts an integral float. Source: templating contract
7.4.
"""

from __future__ import annotations

import unicodedata
from typing import Final
from urllib.parse import quote as percent_encode

from core.expressions.template import formatting, printing, values
from core.expressions.template.functions import ANY, STRING, Context, FunctionTable
from core.expressions.template.values import GoObject, Int, StringMap, UInt8, Value, ValueKind

FUNCTIONS: Final = FunctionTable()

_NOTHING_TO_INDEX: Final = "there is no value to take an item from"
_NUMBERS: Final = (ValueKind.INT, ValueKind.FLOAT)
_HTML: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;", "\0": "\N{REPLACEMENT CHARACTER}"}
)
_JS: Final = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


@FUNCTIONS.add("and", takes=(ANY,), rest=ANY, takes_missing=True)
def _and(first: Value, *others: Value) -> Value:
    """The first false argument, or the last one; calls are compiled so that later arguments may not be evaluated."""
    return next((value for value in (first, *others[:-1]) if not values.is_true(value)), (first, *others)[-1])


@FUNCTIONS.add("or", takes=(ANY,), rest=ANY, takes_missing=True)
def _or(first: Value, *others: Value) -> Value:
    """The first true argument, or the last one; compiled in the same way as ``and``."""
    return next((value for value in (first, *others[:-1]) if values.is_true(value)), (first, *others)[-1])


@FUNCTIONS.add("not", takes=(ANY,), takes_missing=True)
def _not(value: Value) -> bool:
    return not values.is_true(value)


@FUNCTIONS.add("call", takes=(ANY,), rest=ANY)
def _call(_value: Value, *_arguments: Value) -> Value:
    raise ValueError("no value is a function")


# Comparison


@FUNCTIONS.add("eq", takes=(ANY,), rest=ANY, takes_missing=True)
def equal(first: Value, *others: Value) -> bool:
    """True if ``first`` equals any of ``others``."""
    if not others:
        raise ValueError("needs something to compare with")
    return any(_equals(first, other) for other in others)


@FUNCTIONS.add("ne", takes=(ANY, ANY), takes_missing=True)
def _not_equal(first: Value, second: Value) -> bool:
    return not _equals(first, second)


@FUNCTIONS.add("lt", takes=(ANY, ANY))
def _less(first: Value, second: Value) -> bool:
    return _is_less(first, second)


@FUNCTIONS.add("le", takes=(ANY, ANY))
def _less_or_equal(first: Value, second: Value) -> bool:
    return _is_less(first, second) or _equals(first, second)


@FUNCTIONS.add("gt", takes=(ANY, ANY))
def _greater(first: Value, second: Value) -> bool:
    return not _less_or_equal(first, second)


@FUNCTIONS.add("ge", takes=(ANY, ANY))
def _greater_or_equal(first: Value, second: Value) -> bool:
    return not _is_less(first, second)


def _equals(first: Value, second: Value) -> bool:
    kinds = (values.kind_of(first), values.kind_of(second))
    if ValueKind.OBJECT in kinds:
        first, second = _basic(first), _basic(second)
        kinds = (values.kind_of(first), values.kind_of(second))
    if _is_nil(first) or _is_nil(second):
        return _is_nil(first) and _is_nil(second)
    if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
        return bool(_number(first) == _number(second))
    if kinds[0] is not kinds[1]:
        raise _incomparable(first, second)
    if kinds[0] in (ValueKind.LIST, ValueKind.MAP):
        raise ValueError(f"values of type {values.type_name(first)} compare with nil only; use deepEqual")
    return bool(first == second)


def _is_less(first: Value, second: Value) -> bool:
    kinds = (values.kind_of(first), values.kind_of(second))
    if ValueKind.OBJECT in kinds:
        first, second = _basic(first), _basic(second)
        kinds = (values.kind_of(first), values.kind_of(second))
    if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
        return bool(_number(first) < _number(second))
    if kinds == (ValueKind.STRING, ValueKind.STRING):
        return values.to_bytes(first) < values.to_bytes(second)
    raise _incomparable(first, second)


def _basic(value: Value) -> Value:
    """A month or a weekday as an integer; any other value unchanged."""
    return Int(value.number) if isinstance(value, GoObject) and value.number is not None else value


def _number(value: Value) -> Value:
    return value if isinstance(value, Int) else values.as_float(value)


def _is_nil(value: Value) -> bool:
    return value is None or values.is_nil_list(value)


def _incomparable(first: Value, second: Value) -> ValueError:
    return ValueError(
        f"{values.type_name(first)} and {values.type_name(second)} cannot be compared; convert one of them"
    )


# Indexing


@FUNCTIONS.add("index", takes=(ANY,), rest=ANY)
def index(container: Value, *keys: Value) -> Value:
    """``container[key]...``; nil for an absent key of a map."""
    if container is None:
        raise ValueError(_NOTHING_TO_INDEX)
    for key in keys:
        container = _item(container, key)
    return container


def _item(container: Value, key: Value) -> Value:
    if isinstance(container, dict):
        if not isinstance(key, str):
            raise ValueError(f"the index of a map must be a string, not {values.type_name(key)}")  # noqa: TRY004 - the data is wrong, not the call
        return container.get(key, "" if isinstance(container, StringMap) else None)
    if isinstance(container, (list, str)):
        items = values.to_bytes(container) if isinstance(container, str) else container
        position = _position(key)
        if not 0 <= position < len(items):
            raise ValueError(f"index {position} is out of range, the length is {len(items)}")
        return UInt8(items[position]) if isinstance(items, bytes) else items[position]
    if container is None:
        raise ValueError(_NOTHING_TO_INDEX)
    raise ValueError(f"a value of type {values.type_name(container)} has no items")


def _position(key: Value) -> int:
    if isinstance(key, Int) or isinstance(key := _basic(key), Int):
        return int(key)
    if values.kind_of(key) is ValueKind.FLOAT and values.as_float(key).is_integer():
        return int(key)
    raise ValueError(f"a list is indexed by a whole number, not {values.type_name(key)}")


# Printing and escaping


@FUNCTIONS.add("print", rest=ANY, with_context=True)
def print_(context: Context, *arguments: Value) -> str:
    """The arguments, joined; with a space between two neighbours if neither of them is a string."""
    parts: list[str] = []
    previous_is_text = True
    for argument in arguments:
        is_text = isinstance(argument, str)
        if parts and not is_text and not previous_is_text:
            parts.append(" ")
        parts.append(printing.default_text(argument, context.meter))
        previous_is_text = is_text
    return _joined(context, parts)


@FUNCTIONS.add("println", rest=ANY, with_context=True)
def _println(context: Context, *arguments: Value) -> str:
    return _joined(context, [" ".join(printing.default_text(argument, context.meter) for argument in arguments), "\n"])


@FUNCTIONS.add("printf", takes=(STRING,), rest=ANY, with_context=True)
def _printf(context: Context, template: str, *arguments: Value) -> str:
    return formatting.sprintf(template, arguments, context.meter)


@FUNCTIONS.add("html", rest=ANY, with_context=True)
def _html(context: Context, *arguments: Value) -> str:
    return _plain_text(context, arguments).translate(_HTML)


@FUNCTIONS.add("js", rest=ANY, with_context=True)
def _js(context: Context, *arguments: Value) -> str:
    text = _plain_text(context, arguments)
    context.meter.spend(len(text))
    return "".join(map(_js_character, text))


@FUNCTIONS.add("urlquery", rest=ANY, with_context=True)
def _urlquery(context: Context, *arguments: Value) -> str:
    text = _plain_text(context, arguments)
    return percent_encode(values.to_bytes(text), safe=" ~").replace(" ", "+")


def _plain_text(context: Context, arguments: tuple[Value, ...]) -> str:
    """The text to escape: the arguments as joined by ``print``, nil as an action prints it."""
    if not context.missing_as_text and any(argument is None for argument in arguments):
        raise ValueError("null has no text")
    return print_(context, *(printing.NO_VALUE if argument is None else argument for argument in arguments))


def _js_character(char: str) -> str:
    if replacement := _JS.get(char):
        return replacement
    if char.isascii() and char >= " ":
        return char
    if not char.isascii() and (char.isprintable() or unicodedata.category(char)[0] in "LMNPS"):
        return char
    return f"\\u{ord(char):04X}"


def _joined(context: Context, parts: list[str]) -> str:
    context.meter.admit_text(sum(map(len, parts)))
    return "".join(parts)
