"""Every row of the contract's acceptance scenarios and checklists has a test, and every test a row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.acceptance_rows import ROWS
from tests.acceptance.acceptance_stand import Rig
from tests.acceptance.collected_tests import ROOT, Collected, collect
from tests.acceptance.trigger_rows import TABLE_ALONE, TABLE_ON_SERVERS, TRIGGER_ROWS, Row
from tests.integration.test_admission_rules import NOT_ASKED
from tests.unit.webhooks.validate.rule_table import Case, cases

SERVERS: Final = frozenset({Rig.LOCALCLUSTER, Rig.REAL})
IN_MEMORY: Final = "tests/unit/"
_NAME: Final = re.compile(r"test_(?:(26)_(\d)(?:_(\d+))?|(15)_(\d+)_(\d+))_")


@pytest.fixture(scope="module")
def collected() -> Mapping[str, Collected]:
    """The scenarios, and all tests of the files that rows name."""
    here = Path(__file__).parent.relative_to(ROOT)
    return collect({str(here), *(test.partition("::")[0] for row in TRIGGER_ROWS.values() for test in named_in(row))})


@pytest.fixture(scope="module")
def scenarios(collected: Mapping[str, Collected]) -> Mapping[str, frozenset[Rig]]:
    """The rigs of the scenarios of each row; a scenario without a row has an empty number."""
    found: dict[str, frozenset[Rig]] = defaultdict(frozenset)
    for path, test in collected.items():
        if test.scenario is not None:
            found[row_of(path.rpartition("::")[2])] |= frozenset(test.scenario.rigs)
    return found


def row_of(test: str) -> str:
    found = _NAME.match(test)
    return ".".join(str(int(part)) for part in found.groups() if part) if found else ""


def named_in(row: Row) -> tuple[str, ...]:
    """All tests that show it, besides its scenarios."""
    return (*row.alone, *row.model, *row.servers, *((*TABLE_ALONE, *TABLE_ON_SERVERS) if row.by_cases else ()))


def marked() -> Mapping[str, list[Case]]:
    """The cases of the tables of admission, by their row."""
    found = defaultdict(list)
    for case in cases():
        if case.row:
            found[case.row].append(case)
    return found


def test_every_scenario_has_a_row_and_every_row_of_story_runs_a_scenario(
    scenarios: Mapping[str, frozenset[Rig]],
) -> None:
    assert sorted(set(scenarios) - set(ROWS) - set(TRIGGER_ROWS)) == [], "scenarios without a row"
    assert sorted(set(ROWS) - set(scenarios)) == [], "rows without a scenario"
    assert {number for number in ROWS if scenarios[number] != set(Rig)} == set(), "rows that lack a rig"


def test_every_test_that_a_row_names_exists(collected: Mapping[str, Collected]) -> None:
    missing = {number: set(named_in(row)) - set(collected) for number, row in TRIGGER_ROWS.items()}
    assert {number: tests for number, tests in missing.items() if tests} == {}


def test_every_row_of_triggers_is_shown_where_it_has_to_be(
    scenarios: Mapping[str, frozenset[Rig]], collected: Mapping[str, Collected]
) -> None:
    """Without an API server; or once in memory, on the model if it can, and once on both servers."""
    wrong = {}
    for number, row in TRIGGER_ROWS.items():
        rigs = scenarios.get(number, frozenset())
        on_servers = (rigs & SERVERS == SERVERS, bool(row.servers), row.by_cases)
        in_memory = (Rig.MODEL in rigs, bool(row.model), row.by_cases)
        needs_server = any((*in_memory, *on_servers)) or not row.alone
        if needs_server and (sum(in_memory), sum(on_servers)) != (1, 1):
            wrong[number] = f"by scenario, test, case: in memory {in_memory}, on servers {on_servers}"
    assert wrong == {}
    for row in TRIGGER_ROWS.values():
        on_either = (*row.servers, *(TABLE_ON_SERVERS if row.by_cases else ()))
        assert [test for test in on_either if not collected[test].runs_on_servers] == []
        assert [test for test in row.model if not test.startswith(IN_MEMORY)] == []


def test_every_row_of_admission_has_cases_that_both_servers_are_asked() -> None:
    found = marked()
    assert sorted(found) == sorted(number for number, row in TRIGGER_ROWS.items() if row.by_cases)
    assert [case.rule for of_row in found.values() for case in of_row if case.rule in NOT_ASKED] == []
