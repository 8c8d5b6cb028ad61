"""docs/write-budget.md has the budget of the test."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.write_budget import scenarios
from tests.e2e.write_budget.budget import BUDGET, Part
from tests.e2e.write_budget.judging import steps_of
from tests.e2e.write_budget.page import HEAD, SCENARIO_HEAD, cost_rows, scenario_rows
from tests.e2e.write_budget.scenario_budgets import SCENARIOS, SLOPES, WARM_SLOPES

PAGE = (Path(__file__).parents[3] / "docs/write-budget.md").read_text(encoding="utf-8")


def test_the_page_has_the_tables_of_the_budget() -> None:
    assert "\n".join([*HEAD, *cost_rows()]) in PAGE
    assert "\n".join([*SCENARIO_HEAD, *scenario_rows()]) in PAGE


def test_the_page_has_the_limits_of_a_further_step() -> None:
    [most] = set(SLOPES.values())

    assert f"at most {most} requests of the operator" in PAGE
    assert f"at most {' and '.join(f'{most} of the {sender}' for sender, most in WARM_SLOPES.items())}" in PAGE


def test_every_part_is_played_by_a_scenario_that_exists() -> None:
    assert {part for budget in SCENARIOS.values() for part in budget.parts} == set(Part) == set(BUDGET)
    assert [name for name in SCENARIOS if not callable(getattr(scenarios, name, None))] == []


def test_what_is_usual_is_what_is_always_sent_and_what_time_adds() -> None:
    wrong = {
        name: budget.always.total()
        for name, budget in SCENARIOS.items()
        if budget.always.total() != budget.usual.ours - budget.usual.timed
    }
    assert wrong == {}


def test_limits_of_further_steps_compare_scenarios_with_different_numbers_of_steps() -> None:
    assert [steps_of(SCENARIOS[name]) for pair in SLOPES for name in pair] == [1, 5, 1, 10]
