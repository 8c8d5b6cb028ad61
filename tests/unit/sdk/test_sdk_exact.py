"""What is built of exact data is what the decoder builds, and everything else is left to the decoder. (exact.py)"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_sdk import exact
from bubu_sdk.decode import _Decoder, decode
from bubu_sdk.errors import InputError


@dataclass
class Author:
    name: str
    tags: dict[str, int]


@dataclass(frozen=True, slots=True)
class Letter:
    text: str
    author: Author
    marks: list[float]
    user_id: str = field(metadata={"key": "user"})
    is_new: bool = True
    rest: Any = None
    lines: list[str] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    below: list[Tree] = field(default_factory=list)


@dataclass
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("number must not be negative")


@dataclass
class Seeded:
    number: int
    seed: InitVar[int]


TARGETS: Final = (Letter, Author, Tree, Checked, Seeded, dict, list, dict[str, Author], list[Letter], int, Any)
names = st.sampled_from(
    [
        "text",
        "Text",
        "author",
        "marks",
        "user",
        "user_id",
        "userId",
        "is_new",
        "isNew",
        "rest",
        "lines",
        "name",
        "tags",
        "number",
        "seed",
        "below",
    ]
)
scalars = st.sampled_from([None, True, False, 0, 7, -1, 1.5, float("inf"), "", "7", "x"])
documents = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=4))
)
authors = st.fixed_dictionaries(
    {"name": st.sampled_from(["Ann", "7", 7]), "tags": st.dictionaries(names, st.sampled_from([1, True, "1", 1.0]))}
)
letters = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["hello", 7, None]),
        "author": st.one_of(authors, documents),
        "marks": st.lists(st.sampled_from([1.5, 2, "3", float("inf")]), max_size=2),
        "user": scalars,
    },
    optional={"is_new": scalars, "rest": documents, "lines": documents, "more": scalars},
)
trees = st.recursive(
    st.just({"name": "t"}), lambda inner: st.builds(lambda below: {"name": "t", "below": [below]}, inner)
)


def outcome(data: Any, target: Any) -> Any:
    try:
        return decode(data, target, "payload")
    except InputError as error:
        return str(error)


@given(st.one_of(documents, letters, authors, trees), st.sampled_from(TARGETS))
def test_data_is_decoded_as_without_the_short_way(data: Any, target: Any) -> None:
    decoder = _Decoder(False, None)
    value = decoder.value(data, target, "payload")
    expected = "; ".join(decoder.problems) or value

    found = outcome(data, target)

    assert found == expected
    assert repr(found) == repr(expected)  # True is 1, and 1 is 1.0


def test_exact_data_takes_the_short_way() -> None:
    convert = exact.converter(Letter)
    assert convert is not None
    author = {"name": "Ann", "tags": {"a": 1}}
    data = {"text": "hello", "author": author, "marks": [1.5], "user": "u-1", "is_new": False, "rest": [1], "lines": []}

    assert convert(data) == Letter("hello", Author("Ann", {"a": 1}), [1.5], "u-1", False, [1], [])
    with pytest.raises(exact.InexactError):
        convert({**data, "text": 7})


@pytest.mark.parametrize("target", [Tree, Checked, datetime, dict[str, datetime], str | None, tuple[int, ...]])
def test_other_types_are_left_to_the_decoder(target: Any) -> None:
    assert exact.converter(target) is None


def test_unknown_keys_are_still_refused_if_that_is_wanted() -> None:
    with pytest.raises(InputError, match=r"payload\.more: is not a known field"):
        decode({"name": "Ann", "tags": {}, "more": 1}, Author, "payload", strict=True)
