"""The fast encoding of the operator writes what the SDK's writes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_contract import canonical
from bubu_contract.canonical import NotJsonError
from core.api.canonical import encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["1.5", ":2.", "[1e3", "null", "<&>\u2028"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda child: st.lists(child, max_size=4) | st.dictionaries(TEXTS, child, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_operator_and_sdk_write_the_same_bytes(value: Any) -> None:
    assert encode(value) == canonical.encode_text(value)


@given(json_values)
def test_no_payload_holds_a_character_that_must_be_escaped(value: Any) -> None:
    assert not set(encode(value)) & set("<>&\u2028\u2029\n")


def test_the_worked_example_of_the_cache_key_has_its_hash() -> None:
    payload = encode({"url": "https://example.com/a?b=1&c=2", "limit": 10.0})
    material = f"engram:http|version:1.2.0|step:fetch|input:{payload}"
    assert hashlib.sha256(material.encode()).hexdigest() == (
        "632d3d7d198302dce286f5756a11b72bd6fc95bc5f7bc2ebaf2dc3603b3ffab4"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: "x"}], ids=repr)
def test_what_json_cannot_say_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(NotJsonError, match=r"x\[0\]: .*JSON"):
        encode({"x": [value]})
