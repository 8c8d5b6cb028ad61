"""Payloads as JSON, exact to the byte."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.canonical import NotSerializableError, encode, go_float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, None, "x"]}, '{"a":[true,null,"x"],"b":1}'),
        ({"é": 1, "z": 2, "Z": 3, "𝄞": 4, "\uffff": 5}, '{"Z":3,"z":2,"é":1,"\uffff":5,"𝄞":4}'),
        ({"x": "<a href='?b=1&c'>"}, '{"x":"\\u003ca href=\'?b=1\\u0026c\'\\u003e"}'),
        ({"<&>": 1}, '{"\\u003c\\u0026\\u003e":1}'),
        ({"x": "\u2028\u2029"}, '{"x":"\\u2028\\u2029"}'),
        ({"x": '"\\/\b\f\n\r\t\x00\x1f\x7f'}, '{"x":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"}'),
        ({"x": 1.0, "y": -0.0, "z": 2.50}, '{"x":1,"y":-0,"z":2.5}'),
        ({"x": 2**53 + 1, "y": -(2**63), "z": 2**64 - 1}, f'{{"x":{2**53 + 1},"y":{-(2**63)},"z":{2**64 - 1}}}'),
        ({"x": 2**64, "y": 10**30}, '{"x":18446744073709552000,"y":1e+30}'),
        ({"x": (1, 2.0)}, '{"x":[1,2]}'),
    ],
)
def test_payloads_are_written_as_go_writes_them(value: Any, text: str) -> None:
    assert encode(value) == text


def test_the_worked_example_of_the_cache_key_has_its_hash() -> None:
    payload = encode({"url": "https://example.com/a?b=1&c=2", "limit": 10.0})
    material = f"engram:http|version:1.2.0|step:fetch|input:{payload}"
    assert hashlib.sha256(material.encode()).hexdigest() == (
        "632d3d7d198302dce286f5756a11b72bd6fc95bc5f7bc2ebaf2dc3603b3ffab4"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (100.0, "100"),
        (0.1, "0.1"),
        (123.456, "123.456"),
        (1e16, "10000000000000000"),
        (1e20, "100000000000000000000"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1.25e-6, "0.00000125"),
        (1e-7, "1e-7"),
        (-9.5e-10, "-9.5e-10"),
        (5e-324, "5e-324"),
        (math.pi, "3.141592653589793"),
    ],
)
def test_floats_take_an_exponent_only_when_very_large_or_small(value: float, text: str) -> None:
    assert go_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_as_itself(value: float) -> None:
    assert float(go_float(value)) == value
    assert math.copysign(1, float(go_float(value))) == math.copysign(1, value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text("abc<&é", max_size=3), child, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_a_payload_reads_back_as_what_it_was(value: Any) -> None:
    assert json.loads(encode(value)) == value


@given(json_values)
def test_no_payload_holds_a_character_that_must_be_escaped(value: Any) -> None:
    assert not set(encode(value)) & set("<>&\u2028\u2029\n")


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 10**400, object(), {1: "x"}, "\ud800"],
    ids=["nan", "inf", "-inf", "huge", "object", "number-as-key", "lone-surrogate"],
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(NotSerializableError, match="cannot be written as JSON"):
        encode({"x": [value]})
