"""Each key of the operator's ConfigMap has the effect that its row states, or none with a warning that says why."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from core.policy.config import parse_config
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, FAMILIES, KEYS
from core.policy.settings import OperatorSettings
from tests.unit.deployment.settings_effects import FAMILY_ROWS, ROWS, Effect, Proof

ROOT: Final = Path(__file__).parents[3]
OF_TELEMETRY: Final = {key for key in KEYS if key.startswith("telemetry.")}
"""Their effects are exporters, which have tests of their own."""


def settings(data: Mapping[str, str]) -> OperatorSettings:
    parsed = parse_config(data)
    assert parsed.settings is not None, parsed.errors
    return parsed.settings


def test_every_key_has_exactly_one_row() -> None:
    rows = Counter(row.key for row in ROWS)

    assert set(rows) == KEYS.keys() - OF_TELEMETRY
    assert [key for key, count in rows.items() if count > 1] == []


def test_every_family_of_keys_has_a_row() -> None:
    written = {re.sub(r"(queue|namespace)\.(gpu|team)\.", r"\1.<name>.", row.key) for row in FAMILY_ROWS}

    assert written == {described.key for described in FAMILIES}


@pytest.mark.parametrize(
    "row", [*(row for row in ROWS if isinstance(row, Effect)), *FAMILY_ROWS], ids=lambda row: row.key
)
def test_a_value_has_its_effect(row: Effect) -> None:
    without, given = settings(row.beside), settings({**row.beside, row.key: row.value})

    assert row.observe(given) == row.expected
    assert row.observe(without) != row.expected


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row, Proof)], ids=lambda row: row.key)
def test_a_named_test_exists(row: Proof) -> None:
    tree = ast.parse((ROOT / row.file).read_text(encoding="utf-8"))

    assert row.test in {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


@pytest.mark.parametrize("key", sorted(ACCEPTED_WITHOUT_EFFECT))
def test_a_key_without_effect_changes_nothing_and_a_warning_says_why(key: str) -> None:
    parsed = parse_config({key: "1"})

    assert parsed.settings == OperatorSettings()
    assert [str(each) for each in parsed.warnings] == [
        f"{key}: is accepted without effect: {ACCEPTED_WITHOUT_EFFECT[key]}"
    ]
