"""Inputs from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.inputs import parse_inputs
from cli.problem import UsageError


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        pytest.param("city=Bern", {"city": "Bern"}, id="text"),
        pytest.param("limit=10", {"limit": 10}, id="integer"),
        pytest.param("rate=1.5", {"rate": 1.5}, id="number"),
        pytest.param("rate=1.10", {"rate": "1.10"}, id="a number that would lose a digit"),
        pytest.param("rate=1e3", {"rate": "1e3"}, id="a number that is written another way"),
        pytest.param("rate=-0", {"rate": "-0"}, id="minus zero"),
        pytest.param("zip=01234", {"zip": "01234"}, id="no JSON number"),
        pytest.param("rate=NaN", {"rate": "NaN"}, id="no JSON value"),
        pytest.param("on=true", {"on": True}, id="boolean"),
        pytest.param("who=null", {"who": None}, id="null"),
        pytest.param('tags=["a", 1.10]', {"tags": ["a", 1.1]}, id="json list"),
        pytest.param('city="Bern"', {"city": "Bern"}, id="json string"),
        pytest.param("zip:=12", {"zip": "12"}, id="forced text"),
        pytest.param("a.b=1", {"a": {"b": 1}}, id="nested"),
        pytest.param("query=a=b", {"query": "a=b"}, id="equals sign in the value"),
    ],
)
def test_a_pair_without_a_declared_type_is_json_if_it_can_only_be_that(pair: str, expected: dict[str, object]) -> None:
    assert parse_inputs([pair], None).read() == expected


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        ({"type": "string"}, "1.10", "1.10"),
        ({"type": "string"}, "true", "true"),
        ({"type": "string"}, '"quoted"', '"quoted"'),
        ({"type": ["string", "null"]}, "null", "null"),
        ({"type": "number"}, "1.10", 1.1),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "integer"}, "7", 7),
        ({"type": "integer"}, "7.5", 7.5),
        ({"type": "integer"}, "true", "true"),
        ({"type": "boolean"}, "1", "1"),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": "array"}, "[1]", [1]),
        ({"type": "array"}, "{}", "{}"),
        ({"type": "object"}, "{}", {}),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
        ({"description": "no type"}, "1.10", "1.10"),
        ({"type": "strange"}, "1", "1"),
        (True, "1", 1),
    ],
)
def test_a_pair_follows_the_declared_type(declared: Any, text: str, expected: object) -> None:
    schema = {"type": "object", "properties": {"x": declared, "deep": {"properties": {"x": declared}}}}

    found = parse_inputs([f"x={text}", f"deep.x={text}"], None).read(schema)

    assert found == {"x": expected, "deep": {"x": expected}}
    assert type(found["x"]) is type(expected)


def test_a_forced_string_stays_one_whatever_is_declared() -> None:
    assert parse_inputs(["x:=7"], None).read({"properties": {"x": {"type": "integer"}}}) == {"x": "7"}


def test_a_number_that_stays_a_string_is_named() -> None:
    given = parse_inputs(["rate=1.10", "zip:=1.10", "limit=3", "city=Bern", "version=1.10"], None)
    schema = {"properties": {"version": {"type": "string"}}}

    assert list(given.unclear(schema)) == [
        "input rate is the string '1.10', not a number: the Story does not declare its type"
    ]


def test_pairs_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"city": "Basel", "limit": 3}')

    assert parse_inputs(["city=Bern"], str(file)).read() == {"city": "Bern", "limit": 3}


def test_inputs_are_merged_into_earlier_ones() -> None:
    earlier = {"mail": {"to": "a", "cc": ["b"]}, "limit": 1}

    assert parse_inputs(["mail.to=c", "limit=2"], None).over(earlier) == {"mail": {"to": "c", "cc": ["b"]}, "limit": 2}
    assert earlier == {"mail": {"to": "a", "cc": ["b"]}, "limit": 1}


def test_reading_twice_gives_the_same_inputs(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"a": {"b": 1}}')
    given = parse_inputs(["a.c=2"], str(file))

    assert given.read() == given.read() == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize("pair", ["city", "=x", "a..b=1"])
def test_a_malformed_pair_is_wrong_usage(pair: str) -> None:
    with pytest.raises(UsageError):
        parse_inputs([pair], None)


def test_a_path_through_a_scalar_is_refused() -> None:
    with pytest.raises(UsageError, match="not an object"):
        parse_inputs(["a=1", "a.b=2"], None)


@pytest.mark.parametrize("text", ["[1]", "not json"])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "in.json"
    file.write_text(text)

    with pytest.raises(UsageError, match="--inputs"):
        parse_inputs([], str(file))
