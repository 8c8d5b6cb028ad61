"""The canonical encoding decides sizes, hashes and stored bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract import canonical
from bubu_sdk.dehydrate import wrapped

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text("abc<&é", max_size=3), child, max_size=4),
    max_leaves=20,
)
FLOATS = [
    (0.0, "0"),
    (100.0, "100"),
    (0.1, "0.1"),
    (123.456, "123.456"),
    (1e16, "10000000000000000"),
    (1.2345678901234567e20, "123456789012345670000"),
    (1.5e300, "1.5e+300"),
    (1e-6, "0.000001"),
    (1.25e-6, "0.00000125"),
    (1e-7, "1e-7"),
    (-9.5e-10, "-9.5e-10"),
    (5e-324, "5e-324"),
    (math.pi, "3.141592653589793"),
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"b": 1, "a": [True, None, "x"]}, '{"a":[true,null,"x"],"b":1}', id="sorted-and-compact"),
        pytest.param("<a>&\u2028\u2029", '"\\u003ca\\u003e\\u0026\\u2028\\u2029"', id="html-and-separators-escaped"),
        pytest.param('\n\r\t\b\f\x01"\\', '"\\n\\r\\t\\b\\f\\u0001\\"\\\\"', id="short-escapes"),
        pytest.param("blå 🎈", '"blå 🎈"', id="other-text-stays-utf-8"),
        pytest.param("\ud800", '"\ufffd"', id="lone-surrogate-replaced"),
        pytest.param(42.0, "42", id="integral-double"),
        pytest.param(1e20, "100000000000000000000", id="large-integral-double"),
        pytest.param(123456789012345680000.0, "123456789012345680000", id="shortest-digits"),
        pytest.param(1e21, "1e+21", id="exponent-from-1e21"),
        pytest.param(0.00001, "0.00001", id="no-exponent-down-to-1e-6"),
        pytest.param(1.5e-7, "1.5e-7", id="short-negative-exponent"),
        pytest.param(-0.0, "-0", id="negative-zero"),
        pytest.param(3.14, "3.14", id="plain-fraction"),
        pytest.param(2**63, "9223372036854775808", id="integers-keep-their-digits"),
        pytest.param((1, 2.0), "[1,2]", id="tuple"),
        pytest.param(
            '"\\/\b\f\n\r\t\x00\x1f\x7f', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"', id="control-characters"
        ),
        *(pytest.param(value, text, id=text) for value, text in FLOATS),
        pytest.param(
            {"é": 1, "z": 2, "\U0001f388": 3, "\uffff": 4}, '{"z":2,"é":1,"\uffff":4,"🎈":3}', id="bytewise-key-order"
        ),
    ],
)
def test_values_are_encoded_as_the_reference_encodes_them(value: Any, expected: str) -> None:
    assert canonical.encode(value).decode() == expected


def test_the_documented_object_has_the_documented_checksums() -> None:
    body = wrapped({"a": "x<y"}, "json")

    assert len(body) == 46
    assert base64.b64encode(hashlib.md5(body).digest()).decode() == "i+GKmoCf4s25uzDGCtTU+g=="
    assert base64.b64encode(hashlib.sha256(body).digest()).decode() == "Qk2kuyUlVF4ZZFkpITr9nBXxORj8T4o/XlJjagf/npQ="


@given(json_values)
def test_a_value_reads_back_as_what_it_was(value: Any) -> None:
    assert json.loads(canonical.encode(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_as_itself(value: float) -> None:
    read = float(canonical.encode(value))
    assert (read, math.copysign(1, read)) == (value, math.copysign(1, value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [float("nan")]}, r"a\[0\]: nan cannot be written as JSON"),
        ({"a": {1: 2}}, "a: the key 1 is int; JSON keys must be strings"),
        ({"a": object()}, "a: object cannot be written as JSON"),
    ],
)
def test_what_has_no_json_form_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(canonical.NotJsonError, match=message):
        canonical.encode(value)
