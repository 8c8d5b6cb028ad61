"""Encodes and decodes the data classes of ``messages`` by tables made from their fields.

As protobuf does: the last value of a field counts, sub-messages that come twice are merged, a field of another wire
type and unknown fields are kept in ``unknown`` and written behind the known ones. (In entries of maps, and in Structs,
unknown fields are dropped.) The output is canonical: fields by number, maps by key, no default values.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Any, ClassVar, Final, Protocol, TypeVar

from bubu_wire.errors import MessageError
from bubu_wire.protobuf import LENGTH, VARINT, key, read_key, read_length, read_varint, skip, varint, with_length
from bubu_wire.structs import encode_struct, merge_struct

MAX_MESSAGE_BYTES: Final = 11 * 1024 * 1024
_HALF: Final = 0x8000_0000
_WORD: Final = 0xFFFF_FFFF
_LONG: Final = 0xFFFF_FFFF_FFFF_FFFF


class Kind(Enum):
    """How a value is encoded."""

    TEXT = auto()
    BYTES = auto()
    BOOL = auto()
    UINT32 = auto()
    UINT64 = auto()
    INT32 = auto()
    ENUM = auto()
    MESSAGE = auto()
    STRUCT = auto()
    MAP = auto()


_VARINTS: Final = frozenset({Kind.BOOL, Kind.UINT32, Kind.UINT64, Kind.INT32, Kind.ENUM})
_LARGEST: Final = {Kind.BOOL: 1, Kind.UINT32: _WORD, Kind.UINT64: _LONG, Kind.INT32: _HALF - 1, Kind.ENUM: _HALF - 1}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. Bounds are those of the contract; lengths are bytes."""

    number: int
    kind: Kind
    name: str = ""
    of: Any = None
    """Message or enum class."""
    most: int | None = None
    """Length of text or bytes; greatest number; number of pairs of a map."""
    least: int = 0
    count: int | None = None
    """Of a repeated field: the most values."""
    key_most: int = 128
    value_most: int = 1024
    choice: tuple[type, ...] = ()
    """Classes of the attribute, if it is one of several fields (``oneof``)."""


class Message(Protocol):
    """A data class of ``messages``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def unknown(self) -> bytes: ...


MessageT = TypeVar("MessageT", bound=Message)


def field(number: int, kind: Kind, **bounds: Any) -> Any:
    """The default of an attribute, with its place in the encoding. A number with ``least`` has no default."""
    described = Field(number, kind, **bounds)
    return dataclasses.field(metadata={"fields": (described,)}, **_default(described))


def choice(*members: tuple[int, type]) -> Any:
    """An attribute that is one of several messages, or None."""
    classes = tuple(of for _, of in members)
    fields = tuple(Field(number, Kind.MESSAGE, of=of, choice=classes) for number, of in members)
    return dataclasses.field(metadata={"fields": fields}, default=None)


def unknown() -> Any:
    """The attribute of encoded unknown fields."""
    return dataclasses.field(default=b"", metadata={"fields": ()}, repr=False)


def decode(of: type[MessageT], data: bytes) -> MessageT:
    """The message in ``data``.

    Raises:
        MessageError: it is none, or outside the contract's bounds.
    """
    message = parse(of, data)
    check(message)
    return message


def encode(message: Message) -> bytes:
    """The canonical bytes of ``message``.

    Raises:
        MessageError: it is outside the contract's bounds, or a value has the wrong type.
    """
    check(message)
    return serialize(message)


def parse(of: type[MessageT], data: bytes) -> MessageT:
    """``decode`` without the contract's bounds of values; size, counts and nesting are bounded all the same."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{of.__name__}: {len(data)} bytes; at most {MAX_MESSAGE_BYTES}")
    draft = _Draft(of)
    try:
        _merge(draft, data, 0, len(data))
    except MessageError as error:
        raise MessageError(f"{of.__name__}: {error}") from None
    result: MessageT = _build(draft)
    return result


def check(message: Message) -> None:
    """Raises ``MessageError`` for the first value that is outside the contract's bounds."""
    of = type(message)
    for described in _table(of).ordered:
        value = getattr(message, described.name)
        if described.choice:
            if not isinstance(value, (*described.choice, type(None))):
                names = ", ".join(each.__name__ for each in described.choice)
                kind = type(value).__name__
                raise MessageError(f"{of.__name__}.{described.name}: must be one of {names}, not {kind}")
            if not isinstance(value, described.of):
                continue
        values = value if described.count is not None else (value,)
        if described.count is not None and len(values) > described.count:
            raise MessageError(f"{of.__name__}.{described.name}: {len(values)} values; at most {described.count}")
        for one in values:
            if (problem := _problem(described, one)) is not None:
                raise MessageError(f"{of.__name__}.{described.name}: {problem}")
    rule: Callable[[], str | None] | None = getattr(message, "broken_rule", None)
    if rule is not None and (problem := rule()) is not None:
        raise MessageError(f"{of.__name__}: {problem}")


def serialize(message: Message) -> bytes:
    """``encode`` without the contract's bounds."""
    out = bytearray()
    for described in _table(type(message)).ordered:
        value = getattr(message, described.name)
        if described.choice and not isinstance(value, described.of):
            continue
        for one in value if described.count is not None else (value,):
            out += _encode_field(described, one)
    return bytes(out + message.unknown)


# Tables.


@dataclass(frozen=True, slots=True)
class _Table:
    ordered: tuple[Field, ...]
    by_number: Mapping[int, Field]


@functools.cache
def _table(of: type) -> _Table:
    fields = [
        dataclasses.replace(described, name=attribute.name)
        for attribute in dataclasses.fields(of)
        for described in attribute.metadata["fields"]
    ]
    fields.sort(key=lambda described: described.number)
    return _Table(tuple(fields), {described.number: described for described in fields})


def _default(described: Field) -> dict[str, Any]:
    if described.least:
        return {}
    if described.count is not None:
        return {"default": ()}
    match described.kind:
        case Kind.MAP:
            return {"default_factory": dict}
        case Kind.MESSAGE | Kind.STRUCT:
            return {"default": None}
        case _:
            return {"default": _ZEROS.get(described.kind, 0)}


_ZEROS: Final[Mapping[Kind, Any]] = {Kind.TEXT: "", Kind.BYTES: b"", Kind.BOOL: False}


# Decoding.


class _Draft:
    """A message that is being decoded: fields may still be merged into it."""

    __slots__ = ("of", "unknown", "values")

    def __init__(self, of: type) -> None:
        self.of = of
        self.values: dict[str, Any] = {}
        self.unknown = bytearray()


def _merge(draft: _Draft, data: bytes, position: int, end: int) -> None:
    by_number = _table(draft.of).by_number
    while position < end:
        begin = position
        number, kind, position = read_key(data, position, end)
        described = by_number.get(number)
        if described is None or kind != (VARINT if described.kind in _VARINTS else LENGTH):
            position = skip(data, position, end, number, kind)
            draft.unknown += data[begin:position]
        elif kind == VARINT:
            raw, position = read_varint(data, position, end)
            draft.values[described.name] = _number(described, raw)
        else:
            at, position = read_length(data, position, end)
            try:
                _merge_field(draft.values, described, data, at, position)
            except MessageError as error:
                raise MessageError(f"{described.name}: {error}") from None


def _merge_field(values: dict[str, Any], described: Field, data: bytes, at: int, end: int) -> None:
    name = described.name
    if described.count is not None:
        found = values.setdefault(name, [])
        if len(found) >= described.count:
            raise MessageError(f"more than {described.count} values")
        if described.kind is Kind.MESSAGE:
            found.append(_Draft(described.of))
            _merge(found[-1], data, at, end)
        else:
            found.append(_text(data, at, end))
        return
    match described.kind:
        case Kind.MESSAGE:
            inner = values.get(name)
            if inner is None or inner.of is not described.of:
                inner = values[name] = _Draft(described.of)
            _merge(inner, data, at, end)
        case Kind.STRUCT:
            merge_struct(values.setdefault(name, {}), data, at, end)
        case Kind.MAP:
            _merge_pair(values.setdefault(name, {}), described, data, at, end)
        case Kind.TEXT:
            values[name] = _text(data, at, end)
        case _:
            values[name] = data[at:end]


def _merge_pair(into: dict[str, str], described: Field, data: bytes, position: int, end: int) -> None:
    pair = {1: "", 2: ""}
    while position < end:
        number, kind, position = read_key(data, position, end)
        if number in pair and kind == LENGTH:
            at, position = read_length(data, position, end)
            pair[number] = _text(data, at, position)
        else:
            position = skip(data, position, end, number, kind)
    into[pair[1]] = pair[2]
    if described.most is not None and len(into) > described.most:
        raise MessageError(f"more than {described.most} pairs")


def _text(data: bytes, at: int, end: int) -> str:
    try:
        return str(data[at:end], "utf-8")
    except UnicodeDecodeError:
        raise MessageError("a string that is not UTF-8") from None


def _number(described: Field, raw: int) -> Any:
    match described.kind:
        case Kind.BOOL:
            return raw != 0
        case Kind.UINT64:
            return raw
        case Kind.UINT32:
            return raw & _WORD
        case _:
            signed = (raw & _WORD ^ _HALF) - _HALF
            return _known(described.of, signed) if described.kind is Kind.ENUM else signed


def _known(of: type[IntEnum], value: int) -> int:
    """A number that the enumeration does not know stays a number."""
    try:
        return of(value)
    except ValueError:
        return value


def _build(draft: _Draft) -> Any:
    values: dict[str, Any] = {"unknown": bytes(draft.unknown)} if draft.unknown else {}
    for name, value in draft.values.items():
        if isinstance(value, _Draft):
            values[name] = _build(value)
        elif isinstance(value, list):
            values[name] = tuple(_build(one) if isinstance(one, _Draft) else one for one in value)
        else:
            values[name] = value
    for described in _table(draft.of).ordered:
        if described.least and described.name not in values:
            values[described.name] = _ZEROS.get(described.kind, 0)
    return draft.of(**values)


# Encoding.


def _encode_field(described: Field, value: Any) -> bytes:
    number = described.number
    match described.kind:
        case Kind.MESSAGE:
            return b"" if value is None else with_length(number, serialize(value))
        case Kind.STRUCT:
            return b"" if value is None else with_length(number, encode_struct(value))
        case Kind.MAP:
            pairs = sorted((name.encode(), text.encode()) for name, text in value.items())
            return b"".join(_encode_pair(number, name, text) for name, text in pairs)
        case Kind.TEXT | Kind.BYTES:
            raw = value.encode() if described.kind is Kind.TEXT else value
            return with_length(number, raw) if raw or described.count is not None else b""
        case _:
            return key(number, VARINT) + varint(int(value) & _LONG) if value else b""


def _encode_pair(number: int, name: bytes, text: bytes) -> bytes:
    """Both halves are written even if empty, as every protobuf library does."""
    return with_length(number, with_length(1, name) + with_length(2, text))


# Bounds.


def _problem(described: Field, value: Any) -> str | None:
    kind = described.kind
    if kind in _VARINTS:
        most = _LARGEST[kind] if described.most is None else described.most
        if not isinstance(value, int):
            return f"must be a number, not {type(value).__name__}"
        return None if described.least <= value <= most else f"{value}; must be between {described.least} and {most}"
    if kind is Kind.MESSAGE:
        if value is None:
            return None
        if not isinstance(value, described.of):
            return f"must be a {described.of.__name__}, not {type(value).__name__}"
        check(value)
        return None
    if kind is Kind.STRUCT:
        return None if value is None or isinstance(value, Mapping) else "must be an object"
    if kind is Kind.MAP:
        return _problem_of_map(described, value)
    return _problem_of_length(value, described.most, text=kind is Kind.TEXT)


def _problem_of_map(described: Field, value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a map"
    if described.most is not None and len(value) > described.most:
        return f"{len(value)} pairs; at most {described.most}"
    for name, text in value.items():
        problem = "a name must not be empty" if name == "" else _problem_of_length(name, described.key_most, text=True)
        problem = problem or _problem_of_length(text, described.value_most, text=True)
        if problem is not None:
            return f"{str(name)[:40]!r}: {problem}"
    return None


def _problem_of_length(value: Any, most: int | None, *, text: bool) -> str | None:
    if not isinstance(value, str if text else bytes):
        return f"must be {'a string' if text else 'bytes'}, not {type(value).__name__}"
    try:
        size = len(value.encode() if isinstance(value, str) else value)
    except UnicodeEncodeError:
        return "an unpaired surrogate, which UTF-8 cannot encode"
    return None if most is None or size <= most else f"{size} bytes; at most {most}"
