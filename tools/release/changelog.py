"""CHANGELOG.md by version, the newest first: ``## VERSION - DATE``, or ``## VERSION - unreleased``."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Final

UNRELEASED: Final = "unreleased"
_HEADING: Final = re.compile(r"^## (.*)$", re.MULTILINE)
_VERSION: Final = re.compile(rf"(\d+\.\d+\.\d+\S*) - (\d{{4}}-\d\d-\d\d|{UNRELEASED})")


@dataclass(frozen=True)
class VersionChanges:
    """A section.

    Attributes:
        version: such as ``0.1.0``.
        released: the day; None for the version that is not released.
        text: what changed, as Markdown without the heading.
    """

    version: str
    released: date | None
    text: str


class ChangelogError(Exception):
    """A heading is not of the form, or a section is missing; the text names it. *user*"""


def sections(text: str) -> tuple[VersionChanges, ...]:
    """All versions, the newest first.

    Raises:
        ChangelogError: a heading is neither a version with its date nor an unreleased version.
    """
    found = list(_HEADING.finditer(text))
    ends = [*(each.start() for each in found), len(text)][1:]
    return tuple(_section(each[1], text[each.end() : end].strip()) for each, end in zip(found, ends, strict=True))


def _section(heading: str, text: str) -> VersionChanges:
    said = _VERSION.fullmatch(heading)
    released = _day(said[2]) if said else None
    if said is None or (released is None and said[2] != UNRELEASED):
        raise ChangelogError(
            f"CHANGELOG.md: '## {heading}' must be '## VERSION - YYYY-MM-DD' or '## VERSION - {UNRELEASED}'"
        )
    return VersionChanges(said[1], released, text)


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


def notes(text: str, version: str) -> str:
    """The release notes of ``version``: its section.

    Raises:
        ChangelogError: there is no such section.
    """
    for section in sections(text):
        if section.version == version:
            return f"# bobrapet {version}\n\n{section.text}\n"
    raise ChangelogError(f"CHANGELOG.md has no section for {version}; add '## {version} - {UNRELEASED}'")
