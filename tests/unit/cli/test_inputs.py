"""Inputs from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.inputs import parse_inputs
from cli.problem import UsageError


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        pytest.param("city=Bern", {"city": "Bern"}, id="text"),
        pytest.param("limit=10", {"limit": 10}, id="number"),
        pytest.param("on=true", {"on": True}, id="boolean"),
        pytest.param('tags=["a"]', {"tags": ["a"]}, id="json list"),
        pytest.param("zip:=01234", {"zip": "01234"}, id="forced text"),
        pytest.param("a.b=1", {"a": {"b": 1}}, id="nested"),
        pytest.param("query=a=b", {"query": "a=b"}, id="equals sign in the value"),
    ],
)
def test_a_pair_becomes_a_value(pair: str, expected: dict[str, object]) -> None:
    assert parse_inputs([pair], None) == expected


def test_pairs_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"city": "Basel", "limit": 3}')

    assert parse_inputs(["city=Bern"], str(file)) == {"city": "Bern", "limit": 3}


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
