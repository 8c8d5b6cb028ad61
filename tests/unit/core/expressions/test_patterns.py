"""The size of a regular expression once it is compiled."""

from __future__ import annotations

import pytest

from core.expressions.patterns import states_of


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("", 1, 1),
        ("abc", 3, 4),
        ("a{45}", 45, 100),
        ("a{2,45}", 45, 100),
        ("a{45,}", 45, 100),
        ("(ab){10}", 20, 60),
        ("(a{100}){100}", 10_000, 50_000),
        ("^[a-z]{3}$", 5, 20),
        (".", 5, 20),
        ("[^a]", 5, 20),
        ("[éà]", 3, 30),
        ("a{0}", 1, 10),
        ("a{", 2, 3),
        ("(?i)ab", 4, 20),
        ("(?:a|b)(?P<n>c)(?<m>d)", 4, 20),
        (r"\x{1F600}", 4, 5),
        (r"[[:alpha:]\]]", 1, 5),
        (r"[\w\D]", 15, 100),
    ],
)
def test_counted_repetition_is_written_out(pattern: str, least: int, most: int) -> None:
    states = states_of(pattern)

    assert states is not None
    assert least <= states <= most


@pytest.mark.parametrize(
    "pattern",
    [
        r"\pL",
        r"\P{Greek}",
        r"[\pL]",
        "(a",
        "a)",
        r"\Qa",
        "(?x)a b",
        "[a&&b]",
        "[a",
        "a" * 1_025,
        "\\",
    ],
)
def test_of_what_is_not_known_nothing_is_said(pattern: str) -> None:
    assert states_of(pattern) is None


@pytest.mark.parametrize("pattern", ["(?=a)", "x(?<!a){1000}"])
def test_what_no_engine_takes_costs_nothing(pattern: str) -> None:
    assert states_of(pattern) == 0
