"""``docs/operator-settings.md`` has every key of the operator's ConfigMap, and says the same as the contract."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from core.policy.config import parse_config
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, FAMILIES, KEYS
from core.policy.setting import Counts, SettingRow
from core.policy.settings import OperatorSettings
from deployment.configuration import SHIPPED
from deployment.settings_page import render

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGE: Final = render()
ROWS: Final = {
    cells[0].strip("`"): cells
    for line in PAGE.splitlines()
    if line.startswith("| `")
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
}
DESCRIBED: Final = [known.row for known in KEYS.values()]


def test_every_key_has_one_row_and_no_row_is_of_another_key() -> None:
    assert ROWS.keys() == {row.key for row in (*DESCRIBED, *FAMILIES)}


@pytest.mark.parametrize("key", sorted(ACCEPTED_WITHOUT_EFFECT))
def test_a_key_without_effect_says_so_with_the_reason(key: str) -> None:
    section = PAGE.partition("## Keys without effect")[2]

    assert f"| `{key}` | {ACCEPTED_WITHOUT_EFFECT[key]} |" in section
    assert key not in ROWS


@pytest.mark.parametrize("described", [*DESCRIBED, *FAMILIES], ids=lambda described: described.key)
def test_no_description_breaks_the_table(described: SettingRow) -> None:
    assert described.does.endswith(".")
    assert "|" not in described.does


def test_the_defaults_on_the_page_are_those_of_the_operator() -> None:
    shown = {key: match[1] for key in KEYS if (match := re.fullmatch(r"`(.*)`", ROWS[key][1])) and match[1] != "unset"}

    parsed = parse_config(shown)

    assert len(shown) > 70
    assert (parsed.errors, parsed.warnings) == ((), ())
    assert parsed.settings == OperatorSettings()


def test_the_shipped_values_are_on_the_page() -> None:
    shown = {key.replace("<name>", "default"): cells[2] for key, cells in ROWS.items()}

    assert {key: value for key, value in shown.items() if value != "-"} == {
        key: f"`{value}`" if value else "empty" for key, value in SHIPPED.items()
    }


def test_bounds_come_from_the_reader() -> None:
    assert ROWS["templating.workers"][3] == "whole number, 1 to 64"
    assert ROWS["controller.reconcile-timeout"][3] == "duration, 0, or 5s to 30m"
    assert ROWS["engram.default-max-inline-size"][3] == "whole number, bytes, from 1"
    assert ROWS["security.lowered-by"][3] == "word, `nobody`, `templates`, `everybody`"


def test_the_contract_says_the_same_about_restarts() -> None:
    contract = (DOCS / "contract" / "operator.md").read_text(encoding="utf-8")
    at_the_start: set[str] = set()
    for line in contract.partition("## 3. Keys of the ConfigMap")[2].partition("### 3.11")[0].splitlines():
        cells = line.strip("|").split("|")
        if line.startswith("|") and cells[-1].strip().startswith("start"):
            at_the_start.update(re.findall(r"`([a-z.-]+)`", cells[0]))
    families = tuple(key for key in KEYS if key.endswith((".max-concurrent-reconciles", "rate-limiter.base-delay")))

    said = {described.key for described in DESCRIBED if described.counts is Counts.START}

    assert at_the_start <= said
    assert all(key in at_the_start or key in families or "rate-limiter" in key for key in said)


def test_the_engine_reads_its_settings_whenever_it_needs_one() -> None:
    """``Assembly._engine_settings`` passes functions on, not values of the moment when the operator starts."""
    tree = ast.parse((DOCS.parent / "manager" / "assembly.py").read_text(encoding="utf-8"))
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "EngineSettings"
    )
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    assert "run_defaults" in given
    assert [
        name
        for name, value in given.items()
        if any(isinstance(node, ast.Attribute) and node.attr == "_settings" for node in ast.walk(value))
        and not isinstance(value, ast.Lambda)
    ] == []
