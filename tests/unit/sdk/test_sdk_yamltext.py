"""YAML that any reader gives back unchanged."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bubu_sdk import yamltext

HARD = (
    "yes",
    "NO",
    "null",
    "~",
    "0x1f",
    "1e3",
    "1_000",
    "2026-01-01",
    "12:30:00",
    "a: b",
    "a:",
    "- a",
    "a #b",
    "a, b",
    "=",
    "<<",
    "a\nb\n",
    "a\n\n",
    " a\nb",
    "a\n  b\n\nc",
    "a\n \nb",
    "\n",
    "",
    "\u2028",
    "\x85",
    'it\'s "both"',
    '{{ steps["a-b"].output.c }}',
)
TEXTS = st.one_of(
    st.sampled_from(HARD),
    st.text("ab :#-,'\"{}[]\n|>&*!%@`?~01.\t", max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def read(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), min_size=1, max_size=2))
def test_what_is_written_is_read(values: list[Any]) -> None:
    assert read(yamltext.documents(values)) == values


def test_each_hard_text_is_read_as_key_item_and_value() -> None:
    for text in HARD:
        value = {text: [text, {text: text}], "long": [text * 20]}
        assert read(yamltext.documents([value])) == [value], text


def test_people_can_read_it() -> None:
    spec = {
        "steps": [{"name": "a", "with": {"x": '{{ steps["b-c"].y }}', "count": 3}}],
        "run": "one\ntwo\n",
        "none": {},
    }

    assert yamltext.document(spec).splitlines() == [
        "steps:",
        "  - name: a",
        "    with:",
        "      x: '{{ steps[\"b-c\"].y }}'",
        "      count: 3",
        "run: |",
        "  one",
        "  two",
        "none: {}",
    ]
