"""The tests that ``make e2e`` leaves out exist, and each has one reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.integration.only_embedded import ONLY_EMBEDDED, why_only_embedded

INTEGRATION = Path(__file__).parents[2] / "integration"
NAMED = sorted({module for modules in ONLY_EMBEDDED.values() for module in modules})


def functions_of(module: str) -> set[str]:
    tree = ast.parse((INTEGRATION / f"{module}.py").read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("module", NAMED)
def test_every_test_that_is_left_out_exists_and_is_named_once(module: str) -> None:
    named = [name for modules in ONLY_EMBEDDED.values() for name in modules.get(module, ())]

    assert sorted(set(named) - functions_of(module)) == [], "remove them from tests/integration/only_embedded.py"
    assert len(named) == len(set(named))


def test_the_reason_is_that_of_the_group_and_other_tests_are_played() -> None:
    for reason, modules in ONLY_EMBEDDED.items():
        assert len(reason.split()) > 5
        for module, functions in modules.items():
            assert {why_only_embedded(module, function) for function in functions} == {reason}
    assert why_only_embedded("test_operator_runs", "test_a_diamond_runs_to_its_end") is None
