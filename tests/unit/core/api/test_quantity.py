from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.quantity import Family, Quantity, format_quantity, parse_quantity
from core.api.schema import QUANTITY_PATTERN

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e0"]

spellings = st.builds(
    lambda sign, whole, fraction, suffix: f"{sign}{whole}{fraction}{suffix}",
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 10**9),
    st.sampled_from(["", ".", ".5", ".125", ".001"]),
    st.sampled_from(SUFFIXES),
)
quantities = spellings.map(parse_quantity)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("500m", Decimal("0.5")),
        ("1", 1),
        ("1.5", Decimal("1.5")),
        (".5", Decimal("0.5")),
        ("2.", 2),
        ("+3", 3),
        ("-1Ki", -1024),
        ("128Mi", 128 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("1k", 1000),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e-3", Decimal("0.001")),
        ("1e-12", Decimal("1e-9")),
        ("0.1n", Decimal("1e-9")),
        ("-0.1n", Decimal("-1e-9")),
        ("100E", 2**63 - 1),
        ("-100Ei", -(2**63 - 1)),
        ("1e999", 2**63 - 1),
    ],
)
def test_spellings_of_the_api_are_read_exactly(text: str, amount: Decimal | int) -> None:
    assert parse_quantity(text).amount == amount


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1K", "1ki", "Mi", ".", "1.5.5", "1m5", "1e", "1e1000", "--1", "1_0", "٣", "1" * 65, "NaN"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity; write for example 500m, 128Mi or 2"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("0.0000005", "500n"),
        ("1000k", "1M"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("100Ki", "100Ki"),
        ("1023", "1023"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("1e3", "1e3"),
        ("1000e3", "1e6"),
        ("5e1", "50"),
        ("0Mi", "0"),
        ("-2000", "-2k"),
    ],
)
def test_the_canonical_spelling_has_no_fraction_and_the_largest_fitting_suffix(text: str, canonical: str) -> None:
    assert str(parse_quantity(text)) == canonical


@given(quantities)
def test_printing_and_parsing_gives_the_same_amount(quantity: Quantity) -> None:
    assert parse_quantity(format_quantity(quantity)) == quantity


@given(quantities)
def test_the_canonical_spelling_is_a_fixed_point(quantity: Quantity) -> None:
    canonical = format_quantity(quantity)
    assert format_quantity(parse_quantity(canonical)) == canonical


@given(quantities, quantities)
def test_order_is_the_order_of_amounts_whatever_the_spelling(left: Quantity, right: Quantity) -> None:
    assert (left < right) == (left.amount < right.amount)
    assert (left == right) == (left.amount == right.amount)
    assert left < right or left == right or left > right


@given(quantities, quantities)
def test_equal_quantities_hash_alike_and_addition_commutes(left: Quantity, right: Quantity) -> None:
    assert left + right == right + left
    if left == right:
        assert hash(left) == hash(right)


@given(st.text(alphabet="0123456789.+-eEnumkKMGTPi", max_size=8))
def test_what_we_read_is_what_the_schema_lets_through(text: str) -> None:
    try:
        parse_quantity(text)
        read = True
    except ValueError:
        read = False
    whole_exponent = not re.search(r"[eE][+-]?\d*\.", text) and not re.search(r"[eE][+-]?\d{4}", text)
    assert read == (re.fullmatch(QUANTITY_PATTERN, text) is not None and whole_exponent)


def test_amounts_round_away_from_zero_when_made_whole() -> None:
    assert parse_quantity("1.2").whole == 2
    assert parse_quantity("-1.2").whole == -2
    assert parse_quantity("0.1m").milli == 1
    assert parse_quantity("2").milli == 2000


def test_the_family_is_remembered_but_does_not_count_in_comparisons() -> None:
    assert parse_quantity("1Ki").family is Family.BINARY
    assert parse_quantity("1e3").family is Family.EXPONENT
    assert parse_quantity("1Ki") == parse_quantity("1024")
    assert parse_quantity("1k") != "1k"
