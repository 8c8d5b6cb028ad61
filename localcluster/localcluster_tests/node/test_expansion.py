import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster.node.expansion import expand

VARIABLES = {"A": "1", "B": "two words", "NESTED": "$(A)"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1ytwo wordsz"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("$((i+1))", "$((i+1))"),
        ("$(NESTED)", "$(A)"),
        ("", ""),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@given(st.text(alphabet="$()AB ab", max_size=30))
def test_text_whose_dollars_are_doubled_comes_out_unchanged(text: str) -> None:
    assert expand(text.replace("$", "$$"), VARIABLES) == text
