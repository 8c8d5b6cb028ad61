"""Each rule of the table admits the object that obeys it. For the other object, the error names the place."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from core.policy.settings import OperatorSettings
from tests.unit.webhooks.validate.rule_table import Case, cases
from webhooks.cluster_view import InMemoryView
from webhooks.defaults.admission import with_defaults
from webhooks.finding import Finding, Severity, errors_among
from webhooks.validate.catalogue import RULES

ODDITIES: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**30, float("nan"), "", " ", "a", "{{", "{{ steps.a.b }}", "\ud800"),
    *([], ["a"], [{}], {}, {"a": 1}, {"name": "x"}, {"$bubuSecretRef": "x"}, {"$bubuStorageRef": {}}),
]


def _named(case: Case) -> str:
    return f"{case.row} {case.rule} {case.path}".strip()


def _of_rule(case: Case, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.rule.id == case.rule]


@pytest.mark.parametrize("case", cases(), ids=_named)
def test_an_object_that_keeps_to_the_rule_is_admitted(case: Case) -> None:
    findings = case.findings(case.accepted)

    assert [str(finding) for finding in errors_among(findings)] == []
    assert _of_rule(case, findings) == []


@pytest.mark.parametrize("case", cases(), ids=_named)
def test_an_object_that_breaks_the_rule_is_told_where(case: Case) -> None:
    found = _of_rule(case, case.findings(case.refused))

    assert case.path in [finding.path for finding in found]
    assert case.message in " ".join(finding.message for finding in found)
    assert all(finding.message for finding in found)
    assert all(finding.remedy for finding in found if not finding.rule.id.endswith("/expression"))


@pytest.mark.parametrize("case", cases(), ids=_named)
def test_an_object_with_one_mistake_is_refused_for_that_alone(case: Case) -> None:
    findings = case.findings(case.refused)
    is_error = any(finding.severity is Severity.ERROR for finding in _of_rule(case, findings))

    assert [finding.rule.id for finding in errors_among(findings)] == [case.rule] * is_error


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, child in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield value, key
        yield from _places(child)


@pytest.mark.parametrize("seed", range(4))
def test_no_mistake_makes_a_validator_fail(seed: int) -> None:
    """Each validator returns findings, or none, for any object. Setting defaults twice has the effect of once."""
    chance = random.Random(seed)
    small = [case for case in cases() if len(repr(case.refused)) < 5_000]
    for _ in range(500):
        case = chance.choice(small)
        new = json.loads(json.dumps(chance.choice([case.accepted, case.refused])))
        for _ in range(chance.randint(1, 3)):
            parent, key = chance.choice([place for place in _places(new) if place[1] != "kind"])
            parent[key] = copy.deepcopy(chance.choice(ODDITIES))

        assert all(str(finding) for finding in case.findings(new))
        filled = with_defaults(new, InMemoryView(settings=OperatorSettings()))
        assert repr(with_defaults(filled, InMemoryView(settings=OperatorSettings()))) == repr(filled)


def test_every_rule_has_an_accepting_and_a_refusing_case() -> None:
    assert sorted({rule.id for rule in RULES} - {case.rule for case in cases()}) == []


def test_the_table_names_the_section_of_each_rule() -> None:
    sections: Mapping[str, str] = {rule.id: rule.section for rule in RULES}

    assert {(case.rule, case.section) for case in cases()} <= set(sections.items())
    assert len(sections) == len(RULES)


def test_no_rule_is_broken_by_an_object_of_another_state_of_the_world_that_nobody_knows() -> None:
    unknown = InMemoryView(complete=False)
    found = {
        finding.rule.id
        for case in cases()
        for finding in case.findings(case.accepted, unknown)
        if finding.severity is Severity.ERROR
    }

    assert found == set()
