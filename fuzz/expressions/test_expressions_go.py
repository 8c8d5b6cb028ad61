"""Comparison with Go, if it is installed: its recorded answers are still correct, and fresh cases agree with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.expressions import campaign, oracle, table
from fuzz.expressions.oracle import NoOracleError, Oracle

FRESH_CASES = 3_000
_OFFERED_HERE = ("S147", "S148", "S149", "S150")  # functions that the oracle has and the reference lacks
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def go() -> Iterator[Oracle]:
    try:
        with oracle.running() as running:
            yield running
    except NoOracleError as error:
        pytest.skip(f"nothing to compare with: {error}")


def _seed() -> int:
    """A seed that changes with the sources of the engine, and is the same for the same sources."""
    sources = sorted([*(_ROOT / "core" / "expressions").rglob("*.py"), *Path(__file__).parent.glob("*.py")])
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources))
    return int.from_bytes(digest.digest()[:4], "big")


def test_the_oracle_knows_the_rules_around_the_language(go: Oracle) -> None:
    worked = json.loads((table.FOLDER.parent / "worked_cases.json").read_text(encoding="utf-8"))
    cases = [case for case in worked["cases"] if case[1] == "value" and case[0] not in _OFFERED_HERE]

    answers = go.ask([(template, worked["contexts"][data]) for _id, _mode, data, template, _kind, _expected in cases])

    different = [
        (case[0], answer)
        for case, answer in zip(cases, answers, strict=True)
        if (answer.value if answer.kind == "value" else answer.fault) != case[5]
    ]
    assert different == []


@pytest.mark.parametrize("path", table.files(), ids=lambda path: path.stem)
@pytest.mark.usefixtures("go")
def test_the_recorded_answers_are_those_of_go(path: Path) -> None:
    assert table.renewed(path) == path.read_text(encoding="utf-8"), "make oracle records them again"


def test_fresh_templates_mean_what_they_mean_in_go(go: Oracle) -> None:
    report = campaign.run(go, _seed(), FRESH_CASES, stop_after=3)

    assert not report.disagreements, "\n\n".join(map(str, report.disagreements))
    assert report.broken_laws == []
    assert report.cases == FRESH_CASES
