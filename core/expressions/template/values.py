"""The types of template values, and their rules.

A value is ``None``, ``bool``, ``str``, a number, a list, a map, or an object with methods (``dates``, ``versions``).
Numbers from JSON (plain ``int`` and ``float``) are *float64* here, as in the reference; only literals and functions
create integers, of the three types below. ``[]string`` and similar types are lists that keep their type, because
``%T``, ``deepEqual`` and the argument rules depend on it. Text is a ``str``; bytes that are not UTF-8 (half a
character, after ``trunc``) are surrogate escapes. Source: templating contract 7.3.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

Value = Any  # one of the types above; a template is dynamically typed

_WORD: Final = 1 << 64
_SIGN: Final = 1 << 63
STRAY_BYTE: Final = re.compile("[\udc80-\udcff]")
"""A byte in a string that is not part of UTF-8."""


class Int(int):
    """Go ``int``: literals, ``len``, ``int``, range indexes."""

    __slots__ = ()


class Int64(Int):
    """Go ``int64``: results of integer arithmetic."""

    __slots__ = ()


class UInt8(Int):
    """Go ``uint8``: a byte of a string."""

    __slots__ = ()


class UInt64(Int):
    """Go ``uint64``: a part of a version."""

    __slots__ = ()


class Strings(list[Value]):
    """Go ``[]string``."""

    __slots__ = ()


class Ints(list[Value]):
    """Go ``[]int``."""

    __slots__ = ()


class Chunks(list[Value]):
    """Go ``[][]interface{}``."""

    __slots__ = ()


class NilList(list[Value]):
    """A nil ``[]interface{}``: prints ``[]`` and encodes as ``null``."""

    __slots__ = ()


class NilStrings(Strings):
    """A nil ``[]string``."""

    __slots__ = ()


class StringMap(dict[str, Value]):
    """Go ``map[string]string``: the result of ``split``; not accepted where a map of any values is required."""

    __slots__ = ()


@runtime_checkable
class GoObject(Protocol):
    """A value with methods a template may call: a time, a duration, a version.

    ``number`` is the integer form of a named integer type, for computing and comparing; ``None`` for other types.
    """

    @property
    def type_name(self) -> str: ...

    @property
    def kind_name(self) -> str: ...

    @property
    def number(self) -> int | None: ...

    def field(self, name: str) -> Any:
        """The value of ``.name``, which may be a method without arguments; ``None`` when there is no such method."""

    def method(self, name: str) -> Any:
        """The ``Function`` of a method with arguments, whose first argument is the object; ``None`` when there is
        none.
        """

    def with_number(self, number: int) -> Any:
        """Another value of the same type, for types with a ``number``."""

    def json_value(self) -> int | str:
        """The value that the JSON encoder writes.

        Raises:
            ValueError: JSON cannot represent it.
        """


class ValueKind(StrEnum):
    """The kind of a value: it decides about comparisons and about the parameters that accept the value."""

    NIL = "invalid"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float64"
    STRING = "string"
    LIST = "slice"
    MAP = "map"
    OBJECT = "struct"


class _Absent:
    """The nil of a pipeline, in a variable or in parentheses: its fields are absent too, instead of an error."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


_KINDS: Final[dict[type, ValueKind]] = {
    type(None): ValueKind.NIL,
    _Absent: ValueKind.NIL,
    bool: ValueKind.BOOL,
    str: ValueKind.STRING,
    int: ValueKind.FLOAT,
    float: ValueKind.FLOAT,
    **dict.fromkeys((Int, Int64, UInt8, UInt64), ValueKind.INT),
    **dict.fromkeys((list, Strings, Ints, Chunks, NilList, NilStrings), ValueKind.LIST),
    **dict.fromkeys((dict, StringMap), ValueKind.MAP),
}
_TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "<nil>",
    _Absent: "<nil>",
    bool: "bool",
    str: "string",
    int: "float64",
    float: "float64",
    Int: "int",
    Int64: "int64",
    UInt8: "uint8",
    UInt64: "uint64",
    list: "[]interface {}",
    NilList: "[]interface {}",
    Strings: "[]string",
    NilStrings: "[]string",
    Ints: "[]int",
    Chunks: "[][]interface {}",
    dict: "map[string]interface {}",
    StringMap: "map[string]string",
}
_DERIVED: Final = (bool, str, Int, float, int, list, dict)  # data may also have types derived from these


def kind_of(value: Value) -> ValueKind:
    """The kind of ``value``; JSON numbers are floats."""
    kind = _KINDS.get(type(value))
    return kind or next((_KINDS[base] for base in _DERIVED if isinstance(value, base)), ValueKind.OBJECT)


def type_name(value: Value) -> str:
    """Go's name of the type, as ``%T`` prints it."""
    name = _TYPE_NAMES.get(type(value))
    if name is not None:
        return name
    base = next((base for base in _DERIVED if isinstance(value, base)), None)
    return _TYPE_NAMES[base] if base else str(value.type_name)


def kind_name(value: Value) -> str:
    """Go's name of the kind, as ``kindOf`` returns it."""
    kind = kind_of(value)
    if kind is ValueKind.INT:
        return type_name(value)
    if kind is ValueKind.OBJECT:
        return str(value.kind_name)
    return str(kind)


def is_nil_list(value: Value) -> bool:
    """Whether ``value`` is a nil list in Go: printed as an empty one, encoded as null."""
    return isinstance(value, (NilList, NilStrings))


def is_true(value: Value) -> bool:
    """Truth in ``if``, ``with``, ``and``, ``or``, ``not``: false for nil, false, 0, ``""`` and empty collections."""
    return value is not ABSENT and bool(value)


def plain(value: Value) -> Value:
    """``value``, with nil instead of ``ABSENT``."""
    return None if value is ABSENT else value


def as_float(value: int | float) -> float:
    """A number as float64; infinity beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def wrap64(value: int) -> Int64:
    """``value`` as a Go ``int64``, with wrap-around as in its arithmetic."""
    return Int64((value + _SIGN) % _WORD - _SIGN)


def to_bytes(text: str) -> bytes:
    """The UTF-8 bytes of ``text``, including bytes that were never UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair: not possible in JSON text, but in a Python string
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def from_bytes(data: bytes) -> str:
    """The text whose bytes are ``data``; the reverse of ``to_bytes``."""
    return data.decode("utf-8", "surrogateescape")


def byte_length(text: str) -> int:
    """``len`` of Go: bytes, not characters."""
    return len(text) if text.isascii() else len(to_bytes(text))


def clean_text(text: str) -> str:
    """``text`` for use outside the engine: bytes that are not UTF-8 become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Two matching halves are a character again; the remaining ones are replaced byte by byte, as in Go.
        return STRAY_BYTE.sub("\N{REPLACEMENT CHARACTER}", from_bytes(to_bytes(text)))
    return text
