"""Which data of its run a container may look up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.canonical import encode
from core.workloads import template_context
from core.workloads.environment import batch_environment
from core.workloads.template_context import MAX_VALUE_BYTES, encode_template_context
from tests.unit.core.workloads.workload_samples import workload

KIB = 1024


def context(*, inputs: Any = None, **steps: Any) -> dict[str, Any]:
    return {"inputs": inputs or {}, "steps": steps}


def encoded(value: dict[str, Any]) -> Any:
    """The context as the container receives it."""
    text = encode_template_context(value)
    batch_environment(workload(template_context=text))
    return json.loads(text)


def test_an_ordinary_context_is_told_whole() -> None:
    value = context(inputs={"a": 1}, fetch={"output": {"b": "<"}})
    assert encode_template_context(value) == encode(value)


def test_a_step_above_the_bound_is_replaced_by_a_note_and_others_stay() -> None:
    big = {"output": "x" * (MAX_VALUE_BYTES + 1)}
    small = {"output": {"b": 1}}
    told = encoded(context(big=big, small=small))
    assert told["steps"] == {
        "big": {
            "$bubuOmitted": True,
            "reason": "template_context_size_limit",
            "type": "map",
            "sizeBytes": len(encode(big)),
            "hasStorageRef": False,
        },
        "small": small,
    }


def test_large_inputs_are_left_out_too() -> None:
    told = encoded(context(inputs={"text": "x" * (100 * KIB)}, fetch={"output": 1}))
    assert told["inputs"]["$bubuOmitted"] is True
    assert told["steps"] == {"fetch": {"output": 1}}


def test_of_many_values_that_do_not_fit_together_the_largest_go_first() -> None:
    steps = {f"s{number}": {"output": "x" * (number * 10 * KIB)} for number in range(1, 7)}
    told = encoded(context(**steps))["steps"]
    assert [name for name, value in told.items() if "$bubuOmitted" in value] == ["s5", "s6"]


def test_a_thousand_values_are_cut_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded_bytes = 0

    def counting(value: Any) -> str:
        nonlocal encoded_bytes
        text = encode(value)
        encoded_bytes += len(text)
        return text

    monkeypatch.setattr(template_context, "encode", counting)
    value = context(**{f"s{number}": {"output": "x" * KIB} for number in range(1000)})
    told = encode_template_context(value)
    assert len(told) < 128 * KIB
    assert encoded_bytes < 4 * len(encode(value))  # encoding the whole value for each of them took a second


def test_where_not_even_the_notes_fit_all_steps_are_left_out_together() -> None:
    told = encoded(context(inputs={"a": 1}, **{f"a-step-with-a-name-{n}": {"output": "x" * KIB} for n in range(1000)}))
    assert told["inputs"] == {"a": 1}
    assert told["steps"]["$bubuOmitted"] is True
    assert told["steps"]["sizeBytes"] > 1000 * KIB


def test_values_that_are_smaller_than_their_note_stay() -> None:
    small = {f"s{number}": {"output": "x" * 100} for number in range(1000)}
    told = encoded(context(big={"output": "x" * (60 * KIB)}, **small))["steps"]
    assert [name for name, value in told.items() if "$bubuOmitted" in value] == ["big"]


def test_stored_data_is_named_by_reference_only() -> None:
    reference = {
        "$bubuStorageRef": "outputs/a.json",
        "$bubuStoragePath": "rows",
        "$bubuStorageContentType": "application/json",
        "preview": "x" * (200 * KIB),
    }
    told = encoded(context(fetch={"output": {"rows": [reference]}}))
    assert told["steps"]["fetch"]["output"]["rows"] == [
        {key: value for key, value in reference.items() if key.startswith("$")}
    ]


def test_the_note_tells_whether_something_is_in_storage() -> None:
    value = {"output": [{"$bubuStorageRef": "a"}, "x" * (80 * KIB)]}
    assert encoded(context(fetch=value))["steps"]["fetch"]["hasStorageRef"] is True


def test_what_is_given_is_not_changed() -> None:
    value = context(big={"output": "x" * (80 * KIB)})
    encode_template_context(value)
    assert value["steps"]["big"]["output"].startswith("x")


@given(st.lists(st.integers(0, 90 * KIB), max_size=6), st.integers(0, 90 * KIB))
def test_the_context_always_fits_into_its_variable(sizes: list[int], inputs: int) -> None:
    steps = {f"s{number}": {"output": "<" * (size // 6)} for number, size in enumerate(sizes)}
    encoded(context(inputs={"text": "ä" * (inputs // 2)}, **steps))
