"""The codec against Google's protobuf: both read the same of any bytes, and write the same bytes. (codec.py)"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bubu_wire import connector_messages, messages
from bubu_wire.codec import parse, serialize
from bubu_wire.errors import MessageError
from bubu_wire.protobuf import key, varint, with_length
from tests.unit.wire import proto

GOOGLE: Final = proto.load()
NAMES: Final = sorted(GOOGLE)
OURS: Final = {**vars(messages), **vars(connector_messages)}
STRICTER: Final = ("more than", "not a JSON value")
"""Where we refuse what Google accepts: counts and nesting that cost memory, and numbers that are not JSON's."""

texts = st.one_of(st.text(max_size=6), st.sampled_from(["", "a", "b"]))
words = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 127, 128, 2**31, 2**32, 2**63, 2**64 - 1]))
junk = st.binary(max_size=12)


TWO_OBJECTS: Final = b"".join(with_length(5, with_length(1, with_length(1, name))) for name in (b"a", b"b"))
TWO_LISTS: Final = with_length(6, with_length(1, b"")) * 2


def fields(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Any fields with any wire type, their values made of ``values``."""
    numbers = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 100, 2**29 - 1]))
    return st.lists(
        st.one_of(
            st.builds(lambda number, value: key(number, 0) + varint(value), numbers, words),
            st.builds(with_length, numbers, values),
            st.builds(with_length, numbers, values),
            st.builds(lambda number, value: key(number, 1) + value, numbers, st.binary(min_size=8, max_size=8)),
            st.builds(lambda number, value: key(number, 5) + value, numbers, st.binary(min_size=4, max_size=4)),
            st.builds(
                lambda number, inner: key(number, 3) + key(number, 0) + b"\x01" + key(inner, 4), numbers, numbers
            ),
        ),
        max_size=6,
    ).map(b"".join)


encoded = st.recursive(st.one_of(junk, texts.map(str.encode)), fields, max_leaves=12)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def plain(message: Any) -> Any:
    """A message of Google's as nested tuples, with Structs as JSON. A value of no kind is None, as with us."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        return {name: _plain_value(value) for name, value in message.fields.items()}
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if is_map(field):
            found[field.name] = dict(value)
        elif field.message_type is not None:
            found[field.name] = [plain(one) for one in value] if field.is_repeated else plain(value)
        else:
            found[field.name] = list(value) if field.is_repeated else value
    return found


def _plain_value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    inner = getattr(value, kind)
    if kind == "struct_value":
        return plain(inner)
    return [_plain_value(one) for one in inner.values] if kind == "list_value" else inner


def walk(message: Any) -> Iterator[Any]:
    """The message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if is_map(field):
            inner = value.values() if field.message_type.fields_by_name["value"].message_type else ()
        else:
            inner = value if field.is_repeated else (value,)
        for one in inner:
            yield from walk(one)


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def sets_entries_aside(message: Any) -> bool:
    """This library takes a pair with an unknown field in it for an unknown field as a whole. Go's and we do not."""
    for each in walk(message):
        by_number, unknown = each.DESCRIPTOR.fields_by_number, UnknownFieldSet(each)
        numbers = [unknown[index].field_number for index in range(len(unknown)) if unknown[index].wire_type == 2]
        if any(number in by_number and is_map(by_number[number]) for number in numbers):
            return True
    return False


def compare(name: str, data: bytes) -> None:
    google = GOOGLE[name]()
    try:
        google.ParseFromString(data)
        refused = None
    except DecodeError as error:
        refused = str(error)
    ours, problem = None, ""
    try:
        ours = parse(OURS[name], data)
    except MessageError as error:
        problem = str(error)
    if ours is None:
        assert refused or any(text in problem for text in STRICTER), (problem, google)
        return
    assert refused is None, (refused, ours)
    if sets_entries_aside(google):
        return
    again = GOOGLE[name]()
    written = serialize(ours)
    again.ParseFromString(written)
    assert plain(again) == plain(google)
    inside = list(walk(google))
    if not any(each.DESCRIPTOR.full_name == "google.protobuf.Struct" for each in inside):
        # In Structs we drop unknown fields, and write null for a value of no kind.
        assert again.SerializeToString(deterministic=True) == google.SerializeToString(deterministic=True)
    if not any(is_map(field) for each in inside for field in each.DESCRIPTOR.fields):  # each sorts pairs in its own way
        assert written == google.SerializeToString(deterministic=True)
    assert serialize(parse(OURS[name], written)) == written


@given(st.sampled_from(NAMES), encoded)
@settings(max_examples=400)
@example("DataRequest", b"\x2a\x0b\x0a\x09\x12\x07\x32\x05\x0a\x03\x2a\x01\x00")
@example("DataRequest", with_length(5, with_length(1, with_length(2, TWO_OBJECTS))))
@example("DataRequest", with_length(5, with_length(1, with_length(2, TWO_LISTS))))
@example("ControlError", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example("ControlError", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")
@example("ControlError", b"\x88\x80\x80\x80\x80\x00\x01")
@example("ControlError", b"\x8a\x00\x01x")
@example("ControlRequest", b"\x12\x06\x0a\x01a\x12\x01b\x12\x03\x0a\x01a")
@example("AudioFrame", b"\x10\xff\xff\xff\xff\x1f")
@example("VideoFrame", b"\x18\xff\xff\xff\xff\x1f\x30\x80\x80\x80\x80\x10")
def test_any_bytes_mean_the_same_to_both(name: str, data: bytes) -> None:
    compare(name, data)


@given(st.sampled_from(["DataRequest", "DataPacket"]), st.dictionaries(texts, json_values, max_size=4), encoded)
@settings(max_examples=150)
def test_structs_mean_the_same_to_both(name: str, value: dict[str, Any], more: bytes) -> None:
    google = GOOGLE[name]()
    google.payload.update(value)
    compare(name, google.SerializeToString() + with_length(5 if name == "DataRequest" else 2, more))
    ours = parse(OURS[name], google.SerializeToString())
    assert len(serialize(ours)) == google.ByteSize()


@pytest.mark.parametrize("name", NAMES)
def test_the_table_and_the_schema_have_the_same_fields(name: str) -> None:
    described = {
        (field.number, "frame" if field.containing_oneof else field.name) for field in GOOGLE[name].DESCRIPTOR.fields
    }
    of = OURS[name]
    ours = {
        (field.number, attribute.name)
        for attribute in of.__dataclass_fields__.values()
        for field in attribute.metadata["fields"]
    }
    assert ours == described


def test_a_number_that_is_not_finite_is_refused_by_us_alone() -> None:
    google = GOOGLE["DataRequest"]()
    google.payload["x"] = math.inf
    with pytest.raises(MessageError, match="not a JSON value"):
        parse(messages.DataRequest, google.SerializeToString())
