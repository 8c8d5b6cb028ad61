"""How many TransportBindings are written at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.errors import ThrottledError
from core.policy.settings import BindingLimit, OperatorSettings
from reconcilers.adapters.binding_budget import BindingBudget
from tests.unit.reconcilers.live_run_samples import always_on, live_run
from tests.unit.reconcilers.reconciler_samples import run


class Writers:
    """Claimants with one budget; the settings may change."""

    def __init__(self, *, of_run: BindingLimit, of_story: BindingLimit) -> None:
        self.settings = replace(OperatorSettings(), story_run_bindings=of_run, story_bindings=of_story)
        self.budget = BindingBudget(lambda: self.settings)

    def wait_of(self, owner: Object, claimant: str) -> float:
        """Zero: it may write now."""
        try:
            self.budget.take_turn(owner, claimant)
        except ThrottledError as error:
            return error.retry_after_seconds or 0.0
        return 0.0


def limit(most: int, seconds: float) -> BindingLimit:
    return BindingLimit(most, timedelta(seconds=seconds))


@pytest.fixture
def writers() -> Writers:
    return Writers(of_run=limit(2, 10), of_story=limit(1, 4))


async def test_a_burst_is_followed_by_so_many_in_each_delay(writers: Writers, autojump_clock: MockClock) -> None:
    owner = run()
    waits = [writers.wait_of(owner, f"step-{number}") for number in range(6)]
    assert waits == [0, 0, 10, 10, 20, 20]
    await trio.sleep(10)
    assert [writers.wait_of(owner, f"step-{number}") for number in (2, 3)] == [0, 0]
    assert [writers.wait_of(owner, f"step-{number}") for number in (4, 5)] == [10, 10]
    await trio.sleep(10)
    assert [writers.wait_of(owner, f"step-{number}") for number in (4, 5)] == [0, 0]


async def test_who_asks_again_keeps_its_turn(writers: Writers, autojump_clock: MockClock) -> None:
    owner = run()
    for number in range(3):
        writers.wait_of(owner, f"step-{number}")
    for _ in range(5):
        assert writers.wait_of(owner, "step-2") == 10
    assert writers.wait_of(owner, "step-3") == 10
    await trio.sleep(12)
    assert writers.wait_of(owner, "step-2") == 0


async def test_after_a_quiet_time_there_is_a_burst_again(writers: Writers, autojump_clock: MockClock) -> None:
    owner = run()
    assert [writers.wait_of(owner, name) for name in ("a", "b")] == [0, 0]
    await trio.sleep(11)
    assert [writers.wait_of(owner, name) for name in ("c", "d", "e")] == [0, 0, 10]


async def test_runs_have_budgets_of_their_own_and_the_live_runs_of_a_story_one_together(
    writers: Writers, autojump_clock: MockClock
) -> None:
    assert [writers.wait_of(run(name), name + word) for name in ("one", "two") for word in "ab"] == [0, 0, 0, 0]
    story = always_on()
    first = live_run(story)
    second = live_run(always_on(2), first)
    assert [writers.wait_of(first, "x"), writers.wait_of(second, "y")] == [0, 4]


async def test_without_a_limit_nobody_waits(writers: Writers, autojump_clock: MockClock) -> None:
    writers.settings = replace(writers.settings, story_run_bindings=limit(0, 10))
    assert [writers.wait_of(run(), str(number)) for number in range(100)] == [0] * 100


async def test_another_limit_applies_to_who_waits(writers: Writers, autojump_clock: MockClock) -> None:
    owner = run()
    for number in range(8):
        writers.wait_of(owner, f"step-{number}")
    writers.settings = replace(writers.settings, story_run_bindings=limit(4, 10))
    assert [writers.wait_of(owner, f"step-{number}") for number in (6, 7, 2)] == [0, 0, 10]
    writers.settings = replace(writers.settings, story_run_bindings=limit(0, 10))
    assert writers.wait_of(owner, "step-2") == 0


async def test_a_long_wait_is_looked_at_again(writers: Writers, autojump_clock: MockClock) -> None:
    writers.settings = replace(writers.settings, story_run_bindings=limit(1, 3600))
    assert [writers.wait_of(run(), name) for name in "ab"] == [0, 30]


async def test_old_lines_are_forgotten(writers: Writers, autojump_clock: MockClock) -> None:
    for number in range(50):
        writers.wait_of(run(f"run-{number}"), "a")
    await trio.sleep(120)
    writers.wait_of(run("another"), "a")
    assert len(writers.budget._lines) == 1
