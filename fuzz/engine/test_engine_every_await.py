"""Kill at every await of one Story for each feature, and again during recovery (F01, F02; I17, I19).

Nothing is random: the process dies before a step of one of its tasks, and the next one continues from the stored state.
Of steps between which nothing has changed outside of the process, one is tried (``KillAt.moments``); of one case, all.
The bounded profile leaves some out where there are many: in long cases, in a second order of tasks, in the recovery.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fuzz.engine.canonical import CANONICAL
from fuzz.engine.case import Case
from fuzz.engine.cases import Played, Trouble, differences, play
from fuzz.engine.invariants import violations
from fuzz.engine.mutants import HUNTED
from fuzz.engine.profile import DEEP, spread

ENDS = {
    "one step": ("Succeeded", {"a": "Succeeded"}),
    "diamond with data": ("Succeeded", dict.fromkeys("abcd", "Succeeded")),
    "skipped by if": ("Succeeded", {"a": "Succeeded", "b": "Skipped", "c": "Succeeded"}),
    "sleep between steps": ("Succeeded", {"a": "Succeeded", "nap": "Succeeded", "b": "Succeeded"}),
    "retries until success": ("Succeeded", {"a": "Succeeded", "b": "Succeeded"}),
    "retries used up": ("Failed", {"a": "Failed", "b": "Skipped"}),
    "step timeout with a slow Pod": ("Failed", {"a": "Timeout"}),
    "fail fast": ("Failed", {"a": "Failed", "b": "Skipped", "c": "Succeeded"}),
    "failure skips spread": ("Failed", {"a": "Failed", "b": "Skipped", "c": "Skipped", "d": "Succeeded"}),
    "allowed failure": ("Succeeded", {"a": "Failed", "b": "Succeeded"}),
    "missing Engram": ("Failed", {"a": "Timeout", "b": "Succeeded"}),
    "cancel while running": ("Finished", {"a": "Canceled", "b": "Skipped", "nap": "Canceled"}),
    "canceled and cleaned up with inputs": ("Finished", {"a": "Canceled", "nap": "Succeeded", "sweep": "Succeeded"}),
    "approved with data": ("Succeeded", dict.fromkeys(("a", "ask", "b"), "Succeeded")),
    "story timeout": ("Timeout", {"a": "Succeeded", "b": "Timeout"}),
    "stop ends the run": ("Failed", {"a": "Succeeded", "halt": "Failed", "b": "Skipped", "c": "Canceled"}),
    "slot of a step that reads at run time": (
        "Failed",
        {"b": "Failed", "c": "Failed", "d": "Succeeded"},
    ),
    "streams end by themselves": ("Succeeded", {"a": "Succeeded", "b": "Succeeded"}),
    "Story comes later": ("Succeeded", {"a": "Succeeded"}),
    "refused at the start": ("Failed", {}),
}
"""The phases of the run and of its steps."""

FURTHER = {name: case for name, case in HUNTED.items() if name not in CANONICAL}
"""Clean-up, branches, loops, called Stories, requests to run again, retention: too slow for every order of tasks."""

SCHEDULES = range(20 if DEEP else 2)
"""Seeds for the order of tasks that are ready at the same time."""
FURTHER_ORDER_STRIDE = 1 if DEEP else 3
"""In the orders behind the first, of so many moments one is tried."""
MOST_DEATHS = 32
"""Of one case of ``FURTHER``; a few have more moments."""
FIRST_STRIDE = 1 if DEEP else 6
RECOVERY_STRIDE = 1 if DEEP else 3
"""Of so many moments one is tried, in the run and in the recovery."""


def check(calm: Played, kills: tuple[int, ...], seed: int) -> None:
    crashed = play(calm.case, Trouble(kills=kills), seed=seed)

    assert violations(crashed) == [], f"killed at {kills}"
    assert differences(crashed, calm) == [], f"killed at {kills}"


@pytest.mark.parametrize("name", CANONICAL)
def test_left_alone_a_run_ends_as_it_should(name: str) -> None:
    played = play(CANONICAL[name])

    states = (played.run["status"].get("stepStates") or {}).items()
    assert violations(played) == []
    assert (played.phase, {step: state["phase"] for step, state in states}) == ENDS[name]


def deaths(played: Played, first: int = 0) -> Sequence[tuple[int, ...]]:
    """The kills of one process, from the ``first`` on, that can make a difference."""
    if DEEP and first == 0:
        return [(number,) for number in range(1, played.task_steps + 1)]
    later = enumerate(played.moments[first:], first)
    return [(*(0,) * before, number) for before, moments in later for number in moments]


@pytest.mark.parametrize("case", CANONICAL.values(), ids=CANONICAL.keys())
def test_dying_at_any_await_changes_nothing(case: Case) -> None:
    for seed in SCHEDULES:
        calm = play(case, seed=seed)
        assert violations(calm) == []
        for kills in deaths(calm)[:: FURTHER_ORDER_STRIDE if seed else 1]:
            check(calm, kills, seed)


def test_deaths_between_two_changes_of_the_world_are_alike() -> None:
    calm = play(CANONICAL["one step"])
    for number in range(1, calm.task_steps + 1):
        check(calm, (number,), 0)


@pytest.mark.parametrize("case", FURTHER.values(), ids=FURTHER.keys())
def test_dying_at_any_await_of_what_is_longer_breaks_no_promise(case: Case) -> None:
    calm = play(case)
    for kills in spread(deaths(calm), MOST_DEATHS):
        crashed = play(case, Trouble(kills=kills))
        assert violations(crashed) == [], f"killed at {kills}"
        assert not crashed.comparable_with(calm) or differences(crashed, calm) == [], f"killed at {kills}"


@pytest.mark.parametrize("case", CANONICAL.values(), ids=CANONICAL.keys())
def test_dying_again_while_recovering_changes_nothing(case: Case) -> None:
    calm = play(case)
    for number, (first,) in enumerate(deaths(calm)[::FIRST_STRIDE]):
        crashed = play(case, Trouble(kills=(first,)))
        for _, second in deaths(crashed, 1)[number % RECOVERY_STRIDE :: RECOVERY_STRIDE]:
            check(calm, (first, second), 0)
