"""Every deliberate bug in the engine is caught, and without one nothing is reported."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from fuzz.engine import handover_cases, invariants, invariants_effects, invariants_triggers, worker_cases
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, play
from fuzz.engine.invariants import violations
from fuzz.engine.mutants import HUNTED, MUTANTS, OF_CLIENTS, TWO_LEADERS, Mutant, hunt

PROOF = Path(__file__).parents[2] / "docs" / "proof.md"
OF_CLIENTS_ALONE = {*invariants_triggers.CHECKS, *invariants_effects.CHECKS}
caught = cache(hunt)
SOUND = HUNTED | handover_cases.FURTHER


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_is_caught(mutant: Mutant) -> None:
    assert caught(mutant) is not None


def test_each_promise_about_clients_is_broken_by_a_bug() -> None:
    of_clients = [mutant for mutant in MUTANTS if OF_CLIENTS.keys() >= set(mutant.hunted)]
    broken = {str(caught(mutant)).split(": ")[1] for mutant in of_clients}
    assert broken >= OF_CLIENTS_ALONE


def test_the_documentation_knows_the_bugs_and_the_promises() -> None:
    text = PROOF.read_text()
    assert f"| {len(MUTANTS)} deliberate bugs" in text
    checked = {number for name in {*invariants.CHECKS, *OF_CLIENTS_ALONE} for number in re.findall(r"I\d\d", name)}
    described = {number for row in re.findall(r"^\| (I\d.*?) \|", text, re.M) for number in re.findall(r"I\d\d", row)}
    assert checked - described == set()


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_the_sound_engine_breaks_no_promise(case: Case) -> None:
    assert violations(play(case, Trouble(heals=True))) == []


@pytest.mark.parametrize("name", handover_cases.TROUBLES)
def test_a_run_is_handed_over_at_any_moment_of_its_requests(name: str) -> None:
    for trouble, seed in handover_cases.TROUBLES[name]:
        assert violations(play(SOUND[name], trouble, seed)) == [], (trouble, seed)


@pytest.mark.parametrize("name", TWO_LEADERS)
def test_no_leader_undoes_what_another_has_done_while_it_waited_for_an_answer(name: str) -> None:
    for trouble, seed in TWO_LEADERS[name]:
        assert violations(play(HUNTED[name], trouble, seed)) == [], (trouble, seed)


@pytest.mark.parametrize("name", worker_cases.TROUBLES)
def test_an_exit_counts_that_is_received_after_the_loss_of_its_worker(name: str) -> None:
    for trouble, seed in worker_cases.TROUBLES[name]:
        played = play(HUNTED[name], trouble, seed)
        assert violations(played) == [], (trouble, seed)
        assert played.ran.count(("a", 0, "ok")) == 1
        assert ("a", 1, "ok") not in played.ran
