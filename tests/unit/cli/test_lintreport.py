"""Findings as text, JSON, SARIF and workflow commands."""

from __future__ import annotations

import json
from pathlib import Path

from cli import lintreport
from cli.linting import ALL_RULES, TWICE, UNREADABLE, Located
from webhooks.validate.primitive import SLEEP, STOP

SAID = Located("a b.yaml", (2, 3), SLEEP.at("spec.steps[0].with.duration", "'5' is not\na duration, 100%", "write 5s"))
WARNED = Located("c:d,e.yaml", (7, 1), STOP.at("spec", "odd"))
SENTENCE = "spec.steps[0].with.duration: '5' is not a duration, 100% (write 5s)"
WHOLE = Located("/tmp/x.yaml", (1, 1), UNREADABLE.at("", "does not parse"))
ALL = [SAID, WARNED, WHOLE]


def plain(text: str, _: str) -> str:
    return text


def test_text_is_one_line_a_finding() -> None:
    assert lintreport.text(ALL, plain).splitlines() == [
        f"a b.yaml:2:3: error: {SENTENCE} [story/sleep-duration]",
        "c:d,e.yaml:7:1: warning: spec: odd [story/stop-phase]",
        "/tmp/x.yaml:1:1: error: does not parse [file/unreadable]",
    ]


def test_an_excerpt_marks_the_place_below_the_line() -> None:
    written = lintreport.text([SAID, WARNED], plain, {"a b.yaml": ["x", "\tcdef"], "c:d,e.yaml": ["z"]})
    assert written.splitlines()[1:3] == ["     2 | \tcdef", "       | \t ^"]
    assert len(written.splitlines()) == 4, "a line that is not there is not shown"


def test_colours_are_those_of_the_severity() -> None:
    assert lintreport.text([WARNED], lambda text, colour: f"<{colour}>{text}").startswith(
        "c:d,e.yaml:7:1: <yellow>warning:"
    )


def test_json_has_every_part_by_itself() -> None:
    document = json.loads(lintreport.as_json(ALL))
    assert (document["errors"], document["warnings"]) == (2, 1)
    assert document["findings"][0] == {
        "file": "a b.yaml",
        "line": 2,
        "column": 3,
        "severity": "error",
        "rule": "story/sleep-duration",
        "field": "spec.steps[0].with.duration",
        "message": "'5' is not\na duration, 100%",
        "remedy": "write 5s",
    }


def test_workflow_commands_are_escaped() -> None:
    assert lintreport.github(ALL).splitlines() == [
        f"::error file=a b.yaml,line=2,col=3,title=story/sleep-duration::{SENTENCE.replace('%', '%25')}",
        "::warning file=c%3Ad%2Ce.yaml,line=7,col=1,title=story/stop-phase::spec: odd",
        "::error file=/tmp/x.yaml,line=1,col=1,title=file/unreadable::does not parse",
    ]


def test_sarif_says_what_code_scanning_needs() -> None:
    log = json.loads(lintreport.sarif(ALL, "1.2.3"))
    assert (log["version"], log["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in ALL_RULES]
    assert all(rule["help"]["text"] and rule["shortDescription"]["text"] for rule in rules)
    assert {rule["defaultConfiguration"]["level"] for rule in rules} == {"error", "warning"}
    for result, found in zip(run["results"], ALL, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == found.finding.rule.id
        assert result["level"] == found.finding.severity.value
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert (region["startLine"], region["startColumn"]) == found.place
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]]
    assert uris == ["a%20b.yaml", "c%3Ad%2Ce.yaml", "file:///tmp/x.yaml"]
    assert "logicalLocations" not in run["results"][2]["locations"][0]


def test_nothing_found_is_said_in_every_form(tmp_path: Path) -> None:
    assert lintreport.text([], plain) == lintreport.github([]) == ""
    assert json.loads(lintreport.as_json([])) == {"findings": [], "errors": 0, "warnings": 0}
    assert json.loads(lintreport.sarif([], "1"))["runs"][0]["results"] == []


def test_whatever_a_file_is_called_a_uri_can_be_made_of_it() -> None:
    odd = Located("\udce9 #?.yaml", (1, 1), TWICE.at("", "x"))
    assert json.loads(lintreport.sarif([odd], "1"))["runs"][0]["results"]
