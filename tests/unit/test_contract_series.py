"""The series that the reference has: each is here with its kind and labels, and moves, or the differences name it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from core.telemetry import catalogue
from core.telemetry.catalogue import CATALOGUE, Series

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "contract" / "series.md"
DIFFERENCES: Final = ROOT / "docs" / "differences.md"
CODE: Final = ("certs", "core", "hub", "manager", "reconcilers", "webhooks")
ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| ?([\w ]*?) ?\|$", re.MULTILINE)


class ReferenceSeries(NamedTuple):
    kind: str
    labels: tuple[str, ...]
    moves: str


REFERENCE: Final = {
    name: ReferenceSeries(kind, tuple(filter(None, labels.split(", "))), moves)
    for name, kind, labels, moves in ROW.findall(PAGE.read_text())
}
HERE: Final = {series.name: series for series in CATALOGUE}


def named_differences() -> set[str]:
    """The series in the first column of the section's table."""
    section = re.search(r"^### Series\n(.*?)(?=^##)", DIFFERENCES.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = [row.split("|")[1] for row in section[1].splitlines() if row.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@functools.cache
def unmoved() -> set[str]:
    """Series that no code of ours mentions."""
    code = "\n".join(
        path.read_text()
        for folder in CODE
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in ("catalogue.py", "hub_catalogue.py")
    )
    words = set(re.findall(r"\b[A-Z][A-Z_]+\b", code))
    rows = {name: value for name, value in vars(catalogue).items() if isinstance(value, Series)}
    return {series.name for name, series in rows.items() if name not in words}


def test_the_page_has_all_series_of_the_reference() -> None:
    assert len(REFERENCE) == 47 + 21
    assert sum(bool(each.moves) for each in REFERENCE.values()) > 50


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_a_series_of_the_reference_is_here_with_its_kind_and_labels(name: str) -> None:
    wanted, found = REFERENCE[name], HERE[name]
    assert (found.kind, found.labels) == (wanted.kind, wanted.labels)


def test_what_moves_in_the_reference_and_not_here_is_a_named_difference() -> None:
    still = {name for name, each in REFERENCE.items() if each.moves} & unmoved()
    assert still - named_differences() == set()


def test_a_named_difference_does_not_move_here() -> None:
    named = named_differences() & REFERENCE.keys()
    assert len(named) > 10
    assert named - unmoved() == set()
