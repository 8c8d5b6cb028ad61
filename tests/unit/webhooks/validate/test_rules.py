"""The table of rules: each has an object that keeps to it and is admitted, and one that breaks it and is told where."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from core.kube.wire import apply_merge_patch
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from webhooks.caller import Caller
from webhooks.defaults.admission import with_defaults
from webhooks.finding import Finding, Severity, errors_among
from webhooks.validate import admission, status
from webhooks.validate.catalogue import RULES
from webhooks.world import InMemoryWorld

ODDITIES: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**30, float("nan"), "", " ", "a", "{{", "{{ steps.a.b }}", "\ud800"),
    *([], ["a"], [{}], {}, {"a": 1}, {"name": "x"}, {"$bubuSecretRef": "x"}, {"$bubuStorageRef": {}}),
]

TABLES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


@dataclass(frozen=True)
class Case:
    """One line of a table; ``old`` is what is stored, for rules on updates."""

    rule: str
    section: str
    path: str
    message: str
    accepted: dict[str, Any]
    refused: dict[str, Any]
    old: dict[str, Any] | None
    world: InMemoryWorld
    caller: Caller | None

    def findings(self, new: dict[str, Any], world: InMemoryWorld | None = None) -> list[Finding]:
        """About the object, or about its status when somebody is said to write that."""
        if self.caller is not None:
            return status.validate(new, self.old or {}, self.caller, world or self.world)
        return admission.validate(new, self.old, world or self.world)


@cache
def cases() -> list[Case]:
    return [case for table in TABLES for case in _cases(YAML(typ="safe").load(table))]


def _cases(table: dict[str, Any]) -> Iterator[Case]:
    base = table["base"]
    for line in table["cases"]:
        policy = CrossNamespacePolicy(line.get("settings", "deny"))
        yield Case(
            line["rule"],
            line["section"],
            line["path"],
            line.get("message", ""),
            apply_merge_patch(base, _written_out(line["accepted"])),
            apply_merge_patch(base, _written_out(line["refused"])),
            apply_merge_patch(base, _written_out(line["old"])) if "old" in line else None,
            InMemoryWorld(
                table["worlds"][line.get("world", "plain")], settings=OperatorSettings(cross_namespace_policy=policy)
            ),
            Caller(**line["caller"]) if "caller" in line else None,
        )


def _written_out(value: Any) -> Any:
    """``{letters: n}`` and the like stand for what is long."""
    match value:
        case {"letters": int(count)}:
            return "x" * count
        case {"blanks": int(count)}:
            return {f"b{index}": " " for index in range(count)}
        case {"nested": int(count)}:
            return {"a": _written_out({"nested": count - 1})} if count else {}
        case {"patterned": int(count)}:
            return {"properties": {f"p{index}": {"pattern": f"^[a-z]{{1,{index + 9}}}$"} for index in range(count)}}
        case {"branches": int(count)}:
            inner = _written_out({"branches": count - 1}) if count else {"name": "inner", "type": "stop"}
            return {"name": f"p{count}", "type": "parallel", "with": {"steps": [inner]}} if count else inner
        case dict():
            return {key: _written_out(child) for key, child in value.items()}
        case list():
            return [_written_out(child) for child in value]
        case _:
            return value


def _named(case: Case) -> str:
    return f"{case.rule} {case.path}"


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
    """Each finds something to say about any object, or nothing, and filling in defaults twice is doing it once."""
    chance = random.Random(seed)
    small = [case for case in cases() if len(repr(case.refused)) < 5_000]
    for _ in range(500):
        case = chance.choice(small)
        new = json.loads(json.dumps(chance.choice([case.accepted, case.refused])))
        for _ in range(chance.randint(1, 3)):
            parent, key = chance.choice([place for place in _places(new) if place[1] != "kind"])
            parent[key] = copy.deepcopy(chance.choice(ODDITIES))

        assert all(str(finding) for finding in case.findings(new))
        filled = with_defaults(new, OperatorSettings())
        assert repr(with_defaults(filled, OperatorSettings())) == repr(filled)


def test_every_rule_has_an_accepting_and_a_refusing_case() -> None:
    assert sorted({rule.id for rule in RULES} - {case.rule for case in cases()}) == []


def test_the_table_names_the_section_of_each_rule() -> None:
    sections: Mapping[str, str] = {rule.id: rule.section for rule in RULES}

    assert {(case.rule, case.section) for case in cases()} <= set(sections.items())
    assert len(sections) == len(RULES)


def test_no_rule_is_broken_by_an_object_of_another_state_of_the_world_that_nobody_knows() -> None:
    unknown = InMemoryWorld(complete=False)
    found = {
        finding.rule.id
        for case in cases()
        for finding in case.findings(case.accepted, unknown)
        if finding.severity is Severity.ERROR
    }

    assert found == set()
