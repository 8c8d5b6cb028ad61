"""Typed inputs: weak conversions, and errors that name every path."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NotRequired, TypedDict

import pydantic
import pytest

from bubu_sdk.decode import decode
from bubu_sdk.errors import InputError


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    url: str
    weight: float = 1.0


@dataclass
class Inputs:
    name: str
    retries: int = 3
    dry_run: bool = False
    pause: timedelta = timedelta(seconds=1)
    color: Color = Color.RED
    items: list[Item] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    mode: Literal["fast", "slow"] = "fast"
    api_key_name: str = field(default="", metadata={"key": "apiKey"})


def test_a_dataclass_is_built_from_plain_json() -> None:
    data = {
        "name": "n",
        "items": [{"url": "u", "weight": 2}],
        "color": "blue",
        "note": None,
        "pause": "1m30s",
        "apiKey": "k",
    }

    built = decode(data, Inputs, "inputs")

    assert built == Inputs("n", items=[Item("u", 2.0)], color=Color.BLUE, pause=timedelta(seconds=90), api_key_name="k")


@pytest.mark.parametrize(
    ("target", "data", "expected"),
    [
        (int, "123", 123),
        (int, "0x10", 16),
        (int, "", 0),
        (int, 3.0, 3),
        (int, True, 1),
        (float, "1.5", 1.5),
        (str, 42, "42"),
        (str, 42.0, "42"),
        (str, True, "1"),
        (bool, "true", True),
        (bool, "0", False),
        (bool, "", False),
        (bool, 2, True),
        (list[int], "7", [7]),
        (list[str], ["a", 1], ["a", "1"]),
        (tuple[int, str], ["1", 2], (1, "2")),
        (set[int], ["1", 1], {1}),
        (dict[str, int], {"a": "1"}, {"a": 1}),
        (int | str, "x", "x"),
        (int | None, None, None),
        (datetime, "2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (Any, {"a": [1]}, {"a": [1]}),
    ],
)
def test_texts_and_numbers_convert_into_each_other(target: Any, data: Any, expected: Any) -> None:
    value = decode({"v": data}, dict[str, target], "inputs")["v"]

    assert value == expected
    assert type(value) is type(expected)


def test_every_problem_is_named_with_its_path() -> None:
    data = {"items": [{"url": "u"}, {"weight": "heavy"}], "retries": "many", "pause": 5, "mode": "warp", "color": 1}

    with pytest.raises(InputError) as caught:
        decode(data, Inputs, "inputs")

    assert sorted(str(caught.value).split("; ")) == [
        "inputs.color: 1 must be one of 'red', 'blue'",
        "inputs.items[1].url: is required",
        "inputs.items[1].weight: expected a number, got 'heavy'",
        "inputs.mode: 'warp' must be one of 'fast', 'slow'",
        "inputs.name: is required",
        "inputs.pause: a duration must be a string such as '5s', got 5",
        "inputs.retries: expected an integer, got 'many'",
    ]


@pytest.mark.parametrize("key", ["dry_run", "dryRun", "DryRun", "DRYRUN"])
def test_a_key_matches_a_field_by_name_camel_case_or_any_case(key: str) -> None:
    assert decode({"name": "n", key: True}, Inputs, "inputs").dry_run is True


def test_unknown_keys_are_ignored_unless_strict() -> None:
    assert decode({"name": "n", "extra": 1}, Inputs, "inputs").name == "n"

    with pytest.raises(InputError, match=r"inputs\.extra: is not a known field"):
        decode({"name": "n", "extra": 1}, Inputs, "inputs", strict=True)


def test_a_null_for_an_optional_field_means_its_default() -> None:
    assert decode({"name": "n", "retries": None}, Inputs, "inputs").retries == 3


def test_the_own_check_of_a_dataclass_becomes_an_input_error() -> None:
    @dataclass
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError("n must be positive")

    with pytest.raises(InputError, match="inputs: n must be positive"):
        decode({"n": -1}, Positive, "inputs")


class Typed(TypedDict):
    a: int
    b: NotRequired[str]


def test_a_typed_dictionary_knows_what_is_required() -> None:
    assert decode({"a": "1"}, Typed, "inputs") == {"a": 1}

    with pytest.raises(InputError, match=r"inputs\.a: is required"):
        decode({"b": "x"}, Typed, "inputs")


class Model(pydantic.BaseModel):
    n: int
    inner: list[int] = []


def test_a_pydantic_model_builds_itself() -> None:
    assert decode({"n": "5"}, Model, "inputs") == Model(n=5)


def test_the_complaints_of_a_pydantic_model_carry_our_paths() -> None:
    with pytest.raises(
        InputError, match=r"inputs\.n: Field required; inputs\.inner\[1\]: Input should be a valid integer"
    ):
        decode({"inner": [1, "x"]}, Model, "inputs")


def test_long_values_are_not_quoted_in_full() -> None:
    with pytest.raises(InputError) as caught:
        decode({"v": "x" * 1000}, dict[str, int], "inputs")

    assert len(str(caught.value)) < 120
