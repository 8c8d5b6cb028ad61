from __future__ import annotations

from typing import Any

import pytest

from cli.dump.redaction import shape_of

KEY = b"key"


def test_a_shape_has_names_types_and_sizes_and_no_value() -> None:
    found = shape_of({"city": "Bern", "sizes": [1, 2], "open": True, "none": None, "deep": {"x": 1.5}}, KEY)

    assert found["shape"] == {
        "city": f"string, 4 bytes, {shape_of('Bern', KEY)['digest']}",
        "sizes": {"items": 2, "first": "number"},
        "open": "boolean",
        "none": "null",
        "deep": {"x": "number"},
    }
    assert "Bern" not in str(found)


def test_equal_values_have_equal_digests_under_one_key_only() -> None:
    assert shape_of({"a": 1, "b": 2}, KEY)["digest"] == shape_of({"b": 2, "a": 1}, KEY)["digest"]
    assert shape_of("a", KEY)["digest"] != shape_of("b", KEY)["digest"]
    assert shape_of("a", KEY)["digest"] != shape_of("a", b"other")["digest"]


def test_a_shape_is_bounded() -> None:
    wide = shape_of({str(number): number for number in range(1000)}, KEY)["shape"]
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": deep}

    assert len(wide) == 41
    assert wide["..."] == "960 more"
    assert len(str(shape_of(deep, KEY))) < 500


@pytest.mark.parametrize(("value", "shape"), [([], {"items": 0}), ({}, {}), (1, "number")])
def test_values_of_all_kinds_have_a_shape(value: Any, shape: Any) -> None:
    assert shape_of(value, KEY)["shape"] == shape
