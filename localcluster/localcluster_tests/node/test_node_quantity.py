from fractions import Fraction

import pytest

from localcluster.node.quantity import in_units, parse_quantity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", Fraction(1)),
        ("250m", Fraction(1, 4)),
        ("128Mi", Fraction(128 * 2**20)),
        ("1.5G", Fraction(15 * 10**8)),
        ("2e3", Fraction(2000)),
        ("1E", Fraction(10**18)),
        (".5Ki", Fraction(512)),
    ],
)
def test_a_quantity_is_the_number_it_says(text: str, expected: Fraction) -> None:
    assert parse_quantity(text) == expected


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1kB", "one", "--1"])
def test_what_is_no_quantity_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and a suffix"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "divisor", "expected"), [("250m", "1", 1), ("250m", "1m", 250), ("100Mi", "1Mi", 100), ("1500m", "0", 2)]
)
def test_division_rounds_up_to_whole_units(text: str, divisor: str, expected: int) -> None:
    assert in_units(text, divisor) == expected
