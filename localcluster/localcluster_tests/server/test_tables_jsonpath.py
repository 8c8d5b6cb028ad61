"""JSON paths of printer columns and selectable fields."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server.tables_jsonpath import JSONPathError, values_at

OBJ = {
    "spec": {"a": {"b": 1}, "items": [{"n": "x", "v": 1}, {"n": "y", "v": 2, "flag": True}], "a.b": "dotted"},
    "metadata": {"annotations": {"example.com/key": "k"}},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.a.b", [1]),
        ("{.spec.a.b}", [1]),
        (".spec.missing.b", []),
        (".spec.a.b.c", []),
        (".spec.items[0].n", ["x"]),
        (".spec.items[-1].n", ["y"]),
        (".spec.items[9].n", []),
        (".spec.items[*].n", ["x", "y"]),
        (".spec.items[0:1].n", ["x"]),
        ('.spec.items[?(@.n=="y")].v', [2]),
        (".spec.items[?(@.v>1)].n", ["y"]),
        (".spec.items[?(@.v != 2)].n", ["x"]),
        (".spec.items[?(@.flag)].n", ["y"]),
        (".spec.items[?(@.n>1)].n", []),
        (".spec['a.b']", ["dotted"]),
        (r".spec.a\.b", ["dotted"]),
        (r".metadata.annotations.example\.com/key", ["k"]),
        (".", [OBJ]),
    ],
)
def test_a_path_selects_what_it_names(path: str, expected: list[Any]) -> None:
    assert values_at(path, OBJ) == expected


@pytest.mark.parametrize("path", ["spec", ".spec[", ".spec[?(", "..a", ".a..b"])
def test_what_is_no_path_is_refused_with_a_remedy(path: str) -> None:
    with pytest.raises(JSONPathError, match=r"write for example \.spec"):
        values_at(path, OBJ)
