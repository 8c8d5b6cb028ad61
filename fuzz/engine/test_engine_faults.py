"""Conflicts, lost answers, silence, and watch events late, twice or never: the end is the same, nothing happens twice.

F13, F17, F20 to F23 with kills in between; I15 to I22. Delays may change the result of races between steps, so for
Stories with such races only the invariants and the verdict are compared.
"""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, differences, play
from fuzz.engine.invariants import violations
from fuzz.engine.profile import budget
from fuzz.engine.strategies import cases, troubles


def check_trouble(case: Case, trouble: Trouble, seed: int) -> None:
    calm = play(case, seed=seed)
    troubled = play(case, trouble, seed=seed)

    assert violations(troubled) == []
    if troubled.comparable_with(calm):
        assert differences(troubled, calm) == []
    elif troubled.verdict_comparable_with(calm):
        assert troubled.verdict() == calm.verdict()


@given(case=cases(interrupted=False), trouble=troubles(), seed=st.integers(0, 3))
@budget(bounded=150, deep=50_000)
def test_trouble_changes_nothing_about_the_end(case: Case, trouble: Trouble, seed: int) -> None:
    event(f"{len(trouble.kills)} kills, {sum(map(len, trouble.faults))} faults")
    check_trouble(case, trouble, seed)


@given(case=cases(), trouble=troubles(), seed=st.integers(0, 3))
@budget(bounded=110, deep=50_000)
def test_runs_that_are_interrupted_end_properly_under_trouble(case: Case, trouble: Trouble, seed: int) -> None:
    """Cancel, timeout and stop race with every delay, so only the invariants are compared."""
    assert violations(play(case, trouble, seed=seed)) == []
