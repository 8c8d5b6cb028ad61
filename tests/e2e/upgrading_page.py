"""What tests read in docs/upgrading.md: its commands, and its list of new fields."""

from __future__ import annotations

import re
from typing import Final

from tests.e2e.previous_release import ROOT

_PAGE: Final = ROOT / "docs/upgrading.md"


def command(beginning: str) -> str:
    """The only command of the page that begins with these words."""
    blocks = re.findall(r"^```text\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found: str
    [found] = {line for block in blocks for line in block.splitlines() if line.startswith(beginning)}
    return found


def listed_fields() -> dict[str, set[str]]:
    """The last names of the new fields by kind; the row of execution policies has an empty name."""
    section = _PAGE.read_text().partition("### Fields of this release")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+|execution policies of all kinds) \| (.+) \|$", section, re.MULTILINE)
    return {
        "" if " " in kind else kind: {path.rpartition(".")[2] for path in re.findall(r"`([^`]+)`", cells)}
        for kind, cells in rows
        if kind != "kind"
    }
