"""CHANGELOG.md is read by version."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tools.release.changelog import ChangelogError, notes, sections

TEXT = """\
# Changelog

## 0.2.0 - unreleased

### Added

- New.

## 0.1.0 - 2026-11-30

### Fixed

- Old.
"""


def test_each_version_has_its_day_and_its_changes() -> None:
    newest, first = sections(TEXT)

    assert (newest.version, newest.released, newest.text) == ("0.2.0", None, "### Added\n\n- New.")
    assert (first.version, first.released, first.text) == ("0.1.0", date(2026, 11, 30), "### Fixed\n\n- Old.")


@pytest.mark.parametrize("heading", ["Unreleased", "0.1.0", "0.1.0 - 2026-13-01", "0.1 - unreleased", "v0.1.0 - soon"])
def test_a_heading_of_another_form_is_named(heading: str) -> None:
    with pytest.raises(ChangelogError, match=f"'## {heading}' must be '## VERSION - YYYY-MM-DD'"):
        sections(f"## {heading}\n")


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes(TEXT, "0.1.0") == "# bobrapet 0.1.0\n\n### Fixed\n\n- Old.\n"
    with pytest.raises(ChangelogError, match=r"no section for 0\.3\.0; add '## 0\.3\.0 - unreleased'"):
        notes(TEXT, "0.3.0")


def test_the_changelog_of_this_project_can_be_read() -> None:
    text = (Path(__file__).parents[4] / "CHANGELOG.md").read_text(encoding="utf-8")

    assert [section.version for section in sections(text) if section.text] != []
