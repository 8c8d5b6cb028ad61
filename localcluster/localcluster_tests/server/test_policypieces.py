"""Deep CEL is cut into pieces that the engine can parse."""

from __future__ import annotations

import pytest

from localcluster.server import policypieces


def nested(depth: int, macro: str = "all") -> str:
    text = "true"
    for level in reversed(range(depth)):
        text = f"[1].{macro}(v{level}, (v{level} == 1) && ({text}))"
    return text


def deepest(source: str) -> int:
    depth = most = 0
    for character in source:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        most = max(most, depth)
    return most


@pytest.mark.parametrize("source", ["true", nested(4), "'(((((((((((('.size() > 1", "((((((((((((true))))))))))))"])
def test_what_is_not_deep_or_has_no_macro_stays(source: str) -> None:
    assert policypieces.cut(source) == source


def test_a_deep_body_becomes_a_call_with_the_variables_that_it_mentions() -> None:
    found = policypieces.cut(nested(7))

    assert deepest(found.partition('piece_("')[0]) <= policypieces.BRACKETS
    assert found.count("piece_(") == 1
    assert ', "v3", [v3])' in found
    assert nested(7).partition("v3, ")[2].rstrip(")") in found.replace('\\"', '"')


def test_an_outer_variable_is_passed_too() -> None:
    inner = nested(6).replace("true", "v0 == v5 && 'v1' != ''")

    found = policypieces.cut(inner)

    assert ', "v0,v3", [v0, v3])' in found


def test_text_that_looks_like_a_macro_is_no_macro() -> None:
    text = "x == '" + nested(12).replace("'", "") + "'"

    assert policypieces.cut(text) == text


def test_a_macro_with_two_expressions_is_not_cut() -> None:
    source = f"[1].map(a, a > 0, {'(' * 12}a{')' * 12})"

    assert policypieces.cut(source) == source


def test_finely_means_that_no_macro_contains_another() -> None:
    source = "[1].all(a, [2].all(b, a < b)) && [3].exists(c, c == 3)"

    assert policypieces.cut_finely(source) == (
        '[1].all(a, piece_("[2].all(b, a < b)", "a", [a])) && [3].exists(c, c == 3)'
    )
    assert policypieces.cut_finely("[1].all(a, a > 0)") == "[1].all(a, a > 0)"
