"""The types a template computes with, and their rules.

A value is ``None``, ``bool``, ``str``, a number, a list, a map, or one of the objects with methods (``dates``,
``versions``). Numbers as they come from JSON (plain ``int`` and ``float``) are *float64* here, as in the reference;
only literals and functions make integers, of the three types below. ``[]string`` and its like are lists that remember
their type, because it shows in ``%T``, ``deepEqual`` and the argument rules. Text is held as ``str``; bytes that are
not UTF-8 (half a character, after ``trunc``) as surrogate escapes. Source: templating contract 7.3.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

Value = Any  # one of the types above; a template is dynamically typed

_WORD: Final = 1 << 64
_SIGN: Final = 1 << 63
STRAY_BYTE: Final = re.compile("[\udc80-\udcff]")
"""A byte that is not part of UTF-8, in a text."""


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
    """Go ``map[string]string``: what ``split`` gives; not accepted where a map of anything is asked for."""

    __slots__ = ()


@runtime_checkable
class GoObject(Protocol):
    """A value with methods a template may call: a time, a duration, a version.

    ``number`` is what a named integer type computes and compares as; ``None`` for other types.
    """

    @property
    def type_name(self) -> str: ...

    @property
    def kind_name(self) -> str: ...

    @property
    def number(self) -> int | None: ...

    def field(self, name: str) -> Any:
        """What ``.name`` gives, a method without arguments being called; ``None`` when there is no such method."""

    def method(self, name: str) -> Any:
        """The ``Function`` behind a method with arguments, which takes the object first; ``None`` for none."""

    def with_number(self, number: int) -> Any:
        """Another value of the same type, which has a ``number``."""

    def json_value(self) -> int | str:
        """What the JSON encoder writes.

        Raises:
            ValueError: JSON cannot hold it.
        """


class ValueKind(StrEnum):
    """How a value compares and which parameters accept it."""

    NIL = "invalid"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float64"
    STRING = "string"
    LIST = "slice"
    MAP = "map"
    OBJECT = "struct"


class _Absent:
    """What a pipeline that gave nil leaves in a variable or in parentheses: its fields are absent too, not an error."""

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
_DERIVED: Final = (bool, str, Int, float, int, list, dict)  # data may also come in types derived from these


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
    """Go's name of the kind, as ``kindOf`` gives it."""
    kind = kind_of(value)
    if kind is ValueKind.INT:
        return type_name(value)
    if kind is ValueKind.OBJECT:
        return str(value.kind_name)
    return str(kind)


def is_nil_list(value: Value) -> bool:
    """Whether ``value`` is a list that Go has as nil: printed as an empty one, encoded as null."""
    return isinstance(value, (NilList, NilStrings))


def is_true(value: Value) -> bool:
    """Truth in ``if``, ``with``, ``and``, ``or``, ``not``: false for nil, false, 0, ``""`` and empty collections."""
    return value is not ABSENT and bool(value)


def plain(value: Value) -> Value:
    """``value`` with ``ABSENT`` as the nil it stands for."""
    return None if value is ABSENT else value


def as_float(value: int | float) -> float:
    """A number as float64; beyond its range, infinity."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def wrap64(value: int) -> Int64:
    """``value`` as a Go ``int64``, wrapping around as its arithmetic does."""
    return Int64((value + _SIGN) % _WORD - _SIGN)


def to_bytes(text: str) -> bytes:
    """The UTF-8 bytes of ``text``, bytes that were never UTF-8 included."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which JSON text cannot hold but a Python caller can
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def from_bytes(data: bytes) -> str:
    """The text whose bytes are ``data``; the reverse of ``to_bytes``."""
    return data.decode("utf-8", "surrogateescape")


def byte_length(text: str) -> int:
    """``len`` of Go: bytes, not characters."""
    return len(text) if text.isascii() else len(to_bytes(text))


def clean_text(text: str) -> str:
    """``text`` as it may leave the engine: what is not UTF-8 becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # What two halves make together is a character again; what is left over is replaced byte by byte, as in Go.
        return STRAY_BYTE.sub("\N{REPLACEMENT CHARACTER}", from_bytes(to_bytes(text)))
    return text
