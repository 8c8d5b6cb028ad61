"""Every deliberate bug in the engine is caught, and without one nothing is reported."""

from __future__ import annotations

import pytest

from fuzz.engine import handover_cases
from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, play
from fuzz.engine.invariants import violations
from fuzz.engine.mutants import HUNTED, MUTANTS, TWO_LEADERS, Mutant, hunt

SOUND = HUNTED | handover_cases.FURTHER


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_is_caught(mutant: Mutant) -> None:
    assert hunt(mutant) is not None


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
