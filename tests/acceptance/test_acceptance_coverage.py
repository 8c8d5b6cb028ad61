"""Every row of the contract's acceptance scenarios has a test, and every test a row."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acceptance.acceptance_rows import ROWS

_NAME = re.compile(r"^async def (test_26_(\d)(?:_(\d+))?_\w+)", re.MULTILINE)


def test_every_row_of_the_contract_has_a_scenario() -> None:
    found: dict[str, list[str]] = {}
    for path in Path(__file__).parent.glob("test_acceptance_*.py"):
        for name, part, number in _NAME.findall(path.read_text()):
            row = ".".join(["26", part, *([str(int(number))] if number else [])])
            found.setdefault(row, []).append(name)
    assert sorted(set(ROWS) - set(found)) == [], "rows without a scenario"
    assert sorted(set(found) - set(ROWS)) == [], "scenarios without a row"
