"""Kill the process anywhere: the run must have the same end as without the kill (F01, F02; I17, I19)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from fuzz.engine.case import Case
from fuzz.engine.cases import Trouble, differences, play
from fuzz.engine.invariants import violations
from fuzz.engine.profile import budget
from fuzz.engine.strategies import cases, troubles
from fuzz.engine.watches import KINDS


def check_crash(case: Case, kills: tuple[int, ...], seed: int) -> None:
    calm = play(case, seed=seed)
    crashed = play(case, Trouble(kills=kills), seed=seed)

    assert violations(calm) == []
    assert violations(crashed) == []
    if crashed.comparable_with(calm):
        assert differences(crashed, calm) == []
    elif crashed.verdict_comparable_with(calm):
        assert crashed.verdict() == calm.verdict()


@given(case=cases(), kills=st.lists(st.integers(1, 250), min_size=1, max_size=3).map(tuple), seed=st.integers(0, 3))
@budget(bounded=120, deep=50_000)
def test_a_killed_process_changes_nothing_about_the_end(case: Case, kills: tuple[int, ...], seed: int) -> None:
    event(f"{len(kills)} kills")
    check_crash(case, kills, seed)


@given(
    case=cases(),
    kills=st.lists(st.integers(1, 250), min_size=1, max_size=2).map(tuple),
    downtime=st.sampled_from((0.9, 2.9, 61.0)),
    seed=st.integers(0, 3),
)
@budget(bounded=90, deep=50_000)
def test_what_happens_while_no_process_runs_is_taken_up(
    case: Case, kills: tuple[int, ...], downtime: float, seed: int
) -> None:
    assert violations(play(case, Trouble(kills=kills, downtime_seconds=downtime), seed=seed)) == []


@given(
    case=cases(),
    trouble=troubles(),
    lags=st.dictionaries(st.sampled_from(KINDS), st.sampled_from((0.6, 5.0)), max_size=2),
    seed=st.integers(0, 3),
)
@budget(bounded=90, deep=50_000)
def test_two_processes_at_once_do_nothing_twice(
    case: Case, trouble: Trouble, lags: dict[str, float], seed: int
) -> None:
    """F06: the lease is only an optimisation; preconditions keep two engines from harming each other."""
    assert violations(play(case, replace(trouble, twins=True, second_lags=lags), seed=seed)) == []
