"""Kill the process anywhere: the run comes to the end it would have come to (F01, F02; I17, I19)."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from fuzz.engine.cases import Case, Trouble, play
from fuzz.engine.invariants import violations
from fuzz.engine.profile import budget
from fuzz.engine.strategies import cases


def check_crash(case: Case, kills: tuple[int, ...], seed: int) -> None:
    calm = play(case, seed=seed)
    crashed = play(case, Trouble(kills=kills), seed=seed)

    assert violations(calm) == []
    assert violations(crashed) == []
    if crashed.comparable_with(calm):
        assert crashed.end_state() == calm.end_state()
    elif crashed.verdict_comparable_with(calm):
        assert crashed.verdict() == calm.verdict()


@given(case=cases(), kills=st.lists(st.integers(1, 250), min_size=1, max_size=3).map(tuple), seed=st.integers(0, 3))
@budget(bounded=600, deep=50_000)
def test_a_killed_process_changes_nothing_about_the_end(case: Case, kills: tuple[int, ...], seed: int) -> None:
    event(f"{len(kills)} kills")
    check_crash(case, kills, seed)
