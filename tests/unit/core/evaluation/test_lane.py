"""Namespaces take turns at the workers, within a budget. Callers that wait are notified. Virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from core.evaluation.asker import Asker
from core.evaluation.budget import Budget
from core.evaluation.lane import NOTIFIED_EVERY_SECONDS, WaitNotifier, WorkerLane


class Scene:
    """Asks questions that take a given number of seconds each, and records when each ended."""

    def __init__(self, lane: WorkerLane, nursery: trio.Nursery) -> None:
        self._lane = lane
        self._nursery = nursery
        self.ended: dict[str, float] = {}
        self.told: list[tuple[str, float | None]] = []

    def asks(self, namespace: str, count: int, seconds: float) -> None:
        for number in range(count):
            self._nursery.start_soon(self._ask, namespace, f"{namespace}{number}", seconds)

    async def _ask(self, namespace: str, name: str, seconds: float) -> None:
        async with self._lane.turn(Asker(namespace, lambda waited: self.told.append((name, waited)))):
            await trio.sleep(seconds)
        self.ended[name] = trio.current_time()

    def last(self, namespace: str) -> float:
        return max(at for name, at in self.ended.items() if name.rstrip("0123456789") == namespace)


async def test_of_two_workers_another_namespace_finds_one_free(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 2, WaitNotifier()), nursery)
        scene.asks("noisy", 600, 10)
        await trio.sleep(15)
        scene.asks("quiet", 3, 1)

    assert scene.last("quiet") - began == pytest.approx(15 + 3)


async def test_with_every_worker_busy_a_namespace_waits_for_one_round_of_the_others(
    autojump_clock: MockClock,
) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 2, WaitNotifier()), nursery)
        for namespace in ("noisy", "loud"):
            scene.asks(namespace, 50, 10)
        await trio.sleep(11)
        scene.asks("quiet", 1, 1)

    # It starts after one question of each of the others, which begin at 20 s.
    assert scene.ended["quiet0"] - began == pytest.approx(30 + 1)


async def test_within_a_namespace_it_is_first_come_first_served(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 2, WaitNotifier()), nursery)
        for number in range(9):
            nursery.start_soon(scene._ask, "noisy", f"noisy{number}", 1)
            await trio.testing.wait_all_tasks_blocked()

    assert list(scene.ended) == [f"noisy{number}" for number in range(9)]


async def test_a_namespace_gets_its_budget_a_minute_even_when_it_is_alone(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 2, WaitNotifier(), Budget(lambda: 30)), nursery)
        scene.asks("noisy", 13, 10)

    # It starts with the budget of a minute, 30 s. The rest comes at half speed, and the last question may overdraw.
    elapsed = scene.last("noisy") - began
    assert 30 + (130 - 30 - 10) * 60 / 30 - 40 <= elapsed <= 130 * 60 / 30


async def test_a_budget_is_of_one_namespace_and_of_all_lanes(autojump_clock: MockClock) -> None:
    budget, notifier = Budget(lambda: 10), WaitNotifier()
    one, other = WorkerLane("one", lambda: 2, notifier, budget), WorkerLane("other", lambda: 2, notifier, budget)
    async with one.turn(Asker("noisy")):
        await trio.sleep(40)
    began = trio.current_time()
    async with other.turn(Asker("quiet")):
        assert trio.current_time() == began
    async with other.turn(Asker("noisy")):
        assert trio.current_time() - began == pytest.approx(180, abs=1)  # 30 s over budget, at 10 s a minute


async def test_another_budget_counts_from_the_next_question(autojump_clock: MockClock) -> None:
    seconds = [10.0]
    lane = WorkerLane("test", lambda: 2, WaitNotifier(), Budget(lambda: seconds[0]))
    async with lane.turn(Asker("noisy")):
        await trio.sleep(40)
    seconds[0] = 60
    began = trio.current_time()
    async with lane.turn(Asker("noisy")):
        assert trio.current_time() - began == pytest.approx(30, abs=1)  # not the 180 s of the other


async def test_without_a_budget_a_namespace_uses_what_its_turns_give(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 2, WaitNotifier(), Budget(lambda: 0)), nursery)
        scene.asks("noisy", 20, 10)

    assert scene.last("noisy") - began == pytest.approx(200)


async def test_unused_namespaces_are_forgotten(autojump_clock: MockClock) -> None:
    budget = Budget(lambda: 30)
    for number in range(2_000):
        budget.charge(f"n{number}", 1)
        await trio.sleep(1)

    assert len(budget._left) < 600


async def test_who_waits_for_long_is_told_once_and_again_when_it_goes_on(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 1, WaitNotifier()), nursery)
        scene.asks("noisy", 1, 10)
        await trio.sleep(1)
        scene.asks("quiet", 1, 1)

    assert scene.told == [("quiet0", 1.0), ("quiet0", None)]


async def test_who_waits_for_a_moment_is_not_told(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 1, WaitNotifier()), nursery)
        scene.asks("noisy", 2, 0.9)

    assert scene.told == []


async def test_a_flood_is_told_at_a_bounded_pace_and_does_not_keep_others_from_being_told(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        scene = Scene(WorkerLane("test", lambda: 1, WaitNotifier()), nursery)
        scene.asks("noisy", 300, 60)
        await trio.sleep(5)
        scene.asks("quiet", 1, 1)
        await trio.sleep(5)
        told = [name for name, waited in scene.told if waited is not None]
        nursery.cancel_scope.cancel()

    assert "quiet0" in told
    assert len(told) <= 9 / NOTIFIED_EVERY_SECONDS + 1


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0, 12.0])
async def test_who_leaves_takes_no_turn_along(seconds: float, autojump_clock: MockClock) -> None:
    lane = WorkerLane("test", lambda: 1, WaitNotifier(), Budget(lambda: 30))
    told: list[float | None] = []

    async def leave() -> None:
        with trio.move_on_after(seconds):
            async with lane.turn(Asker("leaver", told.append)):
                await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        scene = Scene(lane, nursery)
        scene.asks("noisy", 1, 10)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(leave)

    assert told in ([], [1.0, None])
    with trio.fail_after(300):
        async with lane.turn(Asker("quiet")):
            assert lane.waiting == 0
