"""Which parts of a value go to the object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_contract.canonical import NotJsonError
from bubu_contract.references import STORAGE_CONTENT_TYPE, STORAGE_REFERENCE
from core.api.canonical import encode
from core.expressions.paths import has_reference, is_reference
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import MAX_MIXED_BYTES, OffloadBounds, OffloadPlan, plan, size_bytes
from core.payloads.hydrate import HydrationBounds, hydrate

PLACE = ObjectPlace(Folder.INPUTS, "team", "run-step")
SMALL = OffloadBounds(total_bytes=100, inline_bytes=100)
ROOMY = OffloadBounds(total_bytes=1000, inline_bytes=100)
FOREIGN = {STORAGE_REFERENCE: "outputs/team/other/output.json"}


class Planned:
    """The objects of a plan, for reading."""

    def __init__(self, planned: OffloadPlan) -> None:
        self.objects = {each.key: each.content for each in planned.objects}

    async def read(self, key: str, limit_bytes: int) -> bytes:
        return self.objects[key]


def stems(planned: OffloadPlan) -> list[str]:
    return [each.key.removeprefix("inputs/team/run-step/").split(".sha256-")[0] for each in planned.objects]


def restored(planned: OffloadPlan) -> Any:
    async def read() -> Any:
        bounds = HydrationBounds(depth=128)
        return await hydrate(planned.remaining, Planned(planned), namespace="team", field="x", bounds=bounds)

    return trio.run(read)


def referred(value: Any) -> Iterator[str]:
    """The keys of all references in ``value``."""
    if is_reference(value):
        yield value[STORAGE_REFERENCE]
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from referred(child)


@pytest.mark.parametrize("value", [{}, {"a": 1}, "short", [1, 2], None, {"a": "x" * 80}])
def test_a_small_value_stays(value: Any) -> None:
    assert plan(value, PLACE, SMALL) == OffloadPlan(value)


def test_a_value_within_the_total_stays_whatever_its_parts() -> None:
    value = {"a": "x" * 500}

    assert plan(value, PLACE, ROOMY) == OffloadPlan(value)


def test_large_parts_are_stored_and_small_ones_stay() -> None:
    value = {"text": "x" * 600, "n": 1, "list": [{"body": "y" * 600}, "z"]}

    planned = plan(value, PLACE, ROOMY)

    assert stems(planned) == ["text", "list.0.body"]
    assert planned.remaining["n"] == 1
    assert planned.remaining["list"][1] == "z"
    assert planned.remaining["text"][STORAGE_CONTENT_TYPE] == "text/plain"
    assert json.loads(planned.objects[0].content) == {"contentType": "raw", "data": "x" * 600}
    assert restored(planned) == value


def test_a_container_of_many_small_parts_is_stored_as_one() -> None:
    value = {"rows": [{"n": number} for number in range(200)], "n": 1}

    planned = plan(value, PLACE, ROOMY)

    assert stems(planned) == ["rows"]
    assert planned.remaining["n"] == 1
    assert restored(planned) == value


def test_a_remainder_that_is_still_too_large_becomes_one_reference() -> None:
    value = {f"key-{number}": "x" * 200 for number in range(10)}

    planned = plan(value, PLACE, SMALL)

    assert is_reference(planned.remaining)
    assert stems(planned)[-1] == "input.refs"
    assert restored(planned) == value


def test_the_whole_of_an_output_is_not_called_input() -> None:
    place = ObjectPlace(Folder.OUTPUTS, "team", "run")
    planned = plan({f"key-{number}": "x" * 200 for number in range(10)}, place, SMALL)

    assert planned.objects[-1].key.startswith("outputs/team/run/output.refs.sha256-")


def test_a_container_that_stays_large_is_stored_whole_and_its_parts_are_not() -> None:
    value = {"head": {f"key-{number:04}": f"{number:090}" for number in range(3000)} | {"big": "x" * 200}}

    planned = plan(value, PLACE, OffloadBounds(total_bytes=1000, inline_bytes=100))

    assert size_bytes(value) > MAX_MIXED_BYTES
    assert stems(planned) == ["head"]
    assert restored(planned) == value


def test_references_are_passed_on_and_never_rewritten() -> None:
    value = {"data": FOREIGN, "many": [FOREIGN] * 5, "text": "x" * 900}

    planned = plan(value, PLACE, ROOMY)

    assert stems(planned) == ["text"]
    assert planned.remaining["data"] == FOREIGN
    assert planned.remaining["many"] == [FOREIGN] * 5


def test_what_is_nested_too_deeply_is_stored_once() -> None:
    value: Any = "x" * 1200
    for _ in range(10):
        value = {"a": value}

    planned = plan(value, PLACE, OffloadBounds(total_bytes=1000, inline_bytes=100, depth=3))

    assert stems(planned) == ["a.a.a"]
    assert restored(planned) == value


def test_equal_values_have_equal_plans() -> None:
    value = {"b": "x" * 600, "a": "y" * 600}

    one, other = plan(value, PLACE, ROOMY), plan(dict(sorted(value.items())), PLACE, ROOMY)

    assert one.remaining == other.remaining
    assert set(one.objects) == set(other.objects)


def test_a_value_without_json_form_is_refused() -> None:
    with pytest.raises(NotJsonError):
        plan({"a": float("inf")}, PLACE, SMALL)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=100)
@given(JSON, st.integers(0, 60), st.integers(0, 120), st.integers(1, 6))
def test_hydration_gives_the_value_back(value: Any, inline: int, more: int, depth: int) -> None:
    bounds = OffloadBounds(total_bytes=inline + more, inline_bytes=inline, depth=depth)
    if has_reference(value):
        return

    planned = plan(value, PLACE, bounds)

    assert size_bytes(planned.remaining) <= bounds.total_bytes or is_reference(planned.remaining)
    assert encode(restored(planned)) == encode(value)
    known = [planned.remaining, *(json.loads(each.content) for each in planned.objects)]
    assert {each.key for each in planned.objects} == set(referred(known)), "an object without a reference is garbage"
