"""The canonical encoding decides sizes, hashes and stored bytes."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from bubu_sdk import canonical
from bubu_sdk.dehydrate import wrapped


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
