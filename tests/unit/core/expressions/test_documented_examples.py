"""The examples in docs/expressions.md are correct."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.expressions import Fault, check_condition, evaluate_condition
from core.policy.config import parse_config
from core.policy.config_keys import KEYS
from core.policy.settings import OperatorSettings
from core.telemetry.catalogue import CATALOGUE

_TEXT = (Path(__file__).parents[4] / "docs" / "expressions.md").read_text(encoding="utf-8")


def _table(heading: str) -> list[list[str]]:
    """The table rows below the line that begins with ``heading``, each cell without its backquotes."""
    lines = _TEXT.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        rows.append([cell.strip().replace("\\|", "|") for cell in cells])
    return rows


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


_BLOCKS = re.findall(r"```json\n(.*?)```", _TEXT, re.S)
_DATA: dict[str, Any] = json.loads(_BLOCKS[0])
_ROWS = _table("meaning")


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[0])
def test_each_line_of_the_comparison_holds_in_both_dialects(row: list[str]) -> None:
    (cel,), (template,) = _code(row[1]), _code(row[2])

    for text in (cel, f"{{{{ {template} }}}}"):
        assert check_condition(text, "if") == []
        assert evaluate_condition(text, _DATA) is True


def test_the_comparison_covers_what_people_ask_for() -> None:
    assert len(_ROWS) >= 13


def test_every_key_of_templating_is_there_with_its_default() -> None:
    shown = {_code(row[0])[0]: _code(row[1])[0] for row in _table("key")}
    missing = {"templating.offloaded-data-policy", "templating.materialize-engram"}  # about storage

    assert shown.keys() == {key for key in KEYS if key.startswith("templating.")} - missing
    parsed = parse_config(shown)
    assert (parsed.errors, parsed.warnings) == ((), ())
    assert parsed.settings is not None
    assert parsed.settings.templating == OperatorSettings().templating


def test_every_kind_of_error_is_listed() -> None:
    (listed,) = re.findall(r"The `kind` of an error is one of (.*?) for a\s+line", _TEXT, re.S)

    kinds = {str(fault) for fault in Fault} - {"compound"} | {"offloaded", "request"}
    assert set(_code(listed)) == kinds


def test_every_series_is_in_the_catalogue() -> None:
    names = {_code(row[0])[0] for row in _table("metric")}

    assert names <= {series.name for series in CATALOGUE}
