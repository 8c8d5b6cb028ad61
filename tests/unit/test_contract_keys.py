"""The keys of the reference: each is accepted, and takes effect as early as there, or the differences name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, FAMILIES, KEYS
from core.policy.setting import Counts

DOCS: Final = Path(__file__).parents[2] / "docs"
ROW: Final = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \|$", re.MULTILINE)
REFERENCE: Final = {
    key: when.partition(" ")[0].rstrip(":;")
    for keys, when in ROW.findall((DOCS / "contract" / "keys.md").read_text())
    for key in re.findall(r"`([^`]+)`", keys)
}
HERE: Final = {row.key: row.counts for row in (*(known.row for known in KEYS.values()), *FAMILIES)}


def named_differences() -> set[str]:
    """The keys in the first column of the section's table."""
    section = re.search(r"^### Settings\n(.*?)(?=^##)", (DOCS / "differences.md").read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = [row.split("|")[1] for row in section[1].splitlines() if row.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def test_the_page_has_all_keys_of_the_reference() -> None:
    assert len(REFERENCE) == 110
    assert {*REFERENCE.values()} == {"live", "start", "never"}


@pytest.mark.parametrize("key", sorted(REFERENCE))
def test_a_key_of_the_reference_is_accepted(key: str) -> None:
    assert key in KEYS.keys() | ACCEPTED_WITHOUT_EFFECT.keys() | HERE.keys()


@pytest.mark.parametrize("key", sorted(REFERENCE))
def test_a_key_does_here_what_it_does_there_or_is_a_named_difference(key: str) -> None:
    """A change of what containers are started with counts for new containers, in both."""
    if key in named_differences():
        return
    match REFERENCE[key]:
        case "live":
            assert HERE[key] in (Counts.LIVE, Counts.NEW_CONTAINERS)
        case "start":
            assert key in HERE


def test_a_named_difference_does_less_here() -> None:
    for key in named_differences():
        assert key in ACCEPTED_WITHOUT_EFFECT or HERE[key] is Counts.START
