"""The grammar of sub-paths. Tests of hydration cover what they select."""

from __future__ import annotations

import pytest

from bubu_contract.references import SubPathError, Token, tokens_of


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()),
        ("  ", ()),
        ("items[0].n", ("items", 0, "n")),
        ("items[*].tags[2][*]", ("items", None, "tags", 2, None)),
        ("..deep . x", ("deep", "x")),
        ("[0]", (0,)),
        ("$x-y.*", ("$x-y", "*")),
    ],
)
def test_fields_indexes_and_wildcards_are_told_apart(text: str, tokens: tuple[Token, ...]) -> None:
    assert tokens_of(text) == tokens


@pytest.mark.parametrize(
    "text", ["items[", "items[]", "items[x]", "a[-1]", "a[0]b", "a[" + "9" * 5000 + "]", "a[0", "a]b[", "a[٣]"]
)
def test_a_malformed_subscript_is_refused(text: str) -> None:
    with pytest.raises(SubPathError, match=r"must be \[n\] or \[\*\]"):
        tokens_of(text)


def test_more_parts_than_a_value_has_levels_are_refused() -> None:
    with pytest.raises(SubPathError, match="more than 128 parts"):
        tokens_of("[*]" * 129)
