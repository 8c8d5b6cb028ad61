"""The keyed work queue."""

from __future__ import annotations

from datetime import timedelta
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from reconcilers.runtime.queue import LONG_SECONDS, TOGETHER_SECONDS, QueueStatistics, WorkQueue

SECOND = timedelta(seconds=1)


def queue() -> WorkQueue[str]:
    return WorkQueue(base_delay=SECOND, max_delay=8 * SECOND)


async def taken(work: WorkQueue[str]) -> str:
    """Take the next key and finish it at once."""
    key = await work.take()
    work.done(key)
    return key


async def test_keys_are_served_in_order_and_once(autojump_clock: MockClock) -> None:
    work = queue()
    for key in ("a", "b", "a", "c", "b"):
        work.add(key)
    assert [await taken(work) for _ in range(3)] == ["a", "b", "c"]
    assert work.statistics() == QueueStatistics(0, 0, 0, 0)


async def test_a_key_added_while_it_is_worked_on_comes_back_afterwards_and_only_once(
    autojump_clock: MockClock,
) -> None:
    work = queue()
    work.add("a")
    assert await work.take() == "a"
    work.add("a")
    work.add("a")
    with trio.move_on_after(1) as scope:
        await work.take()
    assert scope.cancelled_caught
    work.done("a")
    assert await taken(work) == "a"
    assert work.statistics() == QueueStatistics(0, 0, 0, 0)


async def test_two_workers_never_have_the_same_key(autojump_clock: MockClock) -> None:
    work, at_work, overlaps = queue(), set[str](), list[str]()
    served: dict[str, int] = {}

    async def worker() -> None:
        while True:
            key = await work.take()
            if key in at_work:
                overlaps.append(key)
            at_work.add(key)
            await trio.sleep(0.3)
            at_work.discard(key)
            served[key] = served.get(key, 0) + 1
            work.done(key)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(worker)
        for _ in range(20):
            for key in ("a", "b", "c"):
                work.add(key)
            await trio.sleep(0.1)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert overlaps == []
    assert set(served) == {"a", "b", "c"}
    assert all(4 <= number <= 8 for number in served.values()), served


async def test_a_failing_key_backs_off_up_to_the_cap_and_starts_anew_after_a_success(
    autojump_clock: MockClock,
) -> None:
    work = queue()
    assert [work.retry("a").total_seconds() for _ in range(5)] == [1, 2, 4, 8, 8]
    assert work.statistics().failing == 1
    work.forget("a")
    assert work.retry("a") == SECOND


async def test_a_failing_key_does_not_delay_others(autojump_clock: MockClock) -> None:
    work = queue()
    work.retry("bad")
    work.add("good")
    started = trio.current_time()
    assert await taken(work) == "good"
    assert trio.current_time() == started
    assert await taken(work) == "bad"
    assert trio.current_time() == started + 1


async def test_of_several_delays_the_earliest_counts(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    work.add_after("a", 5 * SECOND)
    work.add_after("a", 2 * SECOND)
    work.add_after("a", 9 * SECOND)
    assert await taken(work) == "a"
    assert trio.current_time() == started + 2
    with trio.move_on_after(60) as scope:
        await work.take()
    assert scope.cancelled_caught


async def test_an_event_comes_before_a_delay_and_cancels_it(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    work.add_after("a", 5 * SECOND)
    work.add("a")
    assert await taken(work) == "a"
    assert trio.current_time() == started
    assert work.statistics().delayed == 0


async def test_a_delay_for_a_key_that_is_ready_anyway_is_ignored(autojump_clock: MockClock) -> None:
    work = queue()
    work.add("a")
    work.add_after("a", SECOND)
    assert await taken(work) == "a"
    assert work.statistics().delayed == 0


async def test_a_delay_that_ends_while_the_key_is_worked_on_waits_for_its_end(autojump_clock: MockClock) -> None:
    work = queue()
    work.add("a")
    key = await work.take()
    work.add_after(key, SECOND)
    with trio.move_on_after(3) as scope:
        await work.take()
    assert scope.cancelled_caught
    work.done(key)
    assert await taken(work) == "a"


async def test_a_waiting_worker_hears_of_an_earlier_delay(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    work.add_after("late", 50 * SECOND)
    async with trio.open_nursery() as nursery:

        async def add_soon() -> None:
            await trio.sleep(1)
            work.add_after("soon", SECOND)

        nursery.start_soon(add_soon)
        assert await taken(work) == "soon"
    assert trio.current_time() == started + 2


async def test_a_cancelled_wait_loses_no_key(autojump_clock: MockClock) -> None:
    work = queue()
    with trio.move_on_after(0):
        work.add("a")
        await work.take()
    assert await taken(work) == "a"


async def test_a_busy_key_does_not_starve_others(autojump_clock: MockClock) -> None:
    work, served = queue(), list[str]()
    for key in ("busy", "other"):
        work.add(key)
    for _ in range(4):
        key = await work.take()
        served.append(key)
        work.add("busy")
        work.done(key)
    assert served == ["busy", "other", "busy", "busy"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=12))
def test_every_delayed_key_comes_once_and_at_its_earliest_time(delays: list[tuple[str, int]]) -> None:
    async def main() -> list[tuple[str, float]]:
        work, started, seen = queue(), trio.current_time(), list[tuple[str, float]]()
        for key, seconds in delays:
            work.add_after(key, seconds * SECOND)
        with trio.move_on_after(100):
            while True:
                seen.append((await taken(work), trio.current_time() - started))
        return seen

    earliest: dict[str, int] = {}
    for key, seconds in delays:
        earliest[key] = min(seconds, earliest.get(key, seconds))
    seen = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert dict(seen) == pytest.approx(earliest)
    assert len(seen) == len(earliest)
    assert [when for _, when in seen] == sorted(when for _, when in seen)


EVENTS = st.tuples(st.integers(0, 9), st.sampled_from(["a1", "a2", "b1", "b2"]), st.none() | st.integers(0, 5))
"""When, which key, and after which delay; None: at once. In seconds."""


@given(st.lists(EVENTS, max_size=15), st.integers(0, 3), st.integers(1, 6), st.sampled_from([1, 2, inf]))
def test_no_key_waits_beside_an_idle_worker(
    events: list[tuple[int, str, int | None]], busy: int, workers: int, of_one_tenant: float
) -> None:
    """And as long as a worker is idle, one of them waits for the next delay."""
    work = WorkQueue[str](
        base_delay=SECOND, max_delay=SECOND, tenant_of=lambda key: key[0], of_one_tenant=of_one_tenant
    )
    begun: list[str] = []

    def check() -> None:
        has_idle = len(work._idle) > 0 or work._timekeeper is not None
        assert not (has_idle and work._ready.has_for(work._may_work))
        assert work._timekeeper is not None or not len(work._idle)
        if work._timekeeper is not None and work._due:
            assert work._timekeeper.until <= min(timer.due for timer in work._due.values())

    async def main() -> None:
        started = trio.current_time()

        async def worker() -> None:
            while True:
                key = await work.take()
                begun.append(key)
                await trio.sleep(busy)
                work.done(key)

        with trio.move_on_after(200):
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(worker)
                for at, key, delay in sorted(events, key=lambda event: event[0]):
                    await trio.sleep_until(started + at)
                    if delay is None:
                        work.add(key)
                    else:
                        work.add_after(key, delay * SECOND)
                    await trio.testing.wait_all_tasks_blocked()
                    check()
                for second in range(100):
                    await trio.sleep_until(started + 10 + second)
                    await trio.testing.wait_all_tasks_blocked()
                    check()
        assert work.statistics() == QueueStatistics(0, 0, 0, 0)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert set(begun) == {key for _, key, _ in events}


async def test_a_ready_key_wakes_one_worker(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    work, looks = queue(), list[float]()
    look = work._promote_due

    def counted() -> float:
        looks.append(trio.current_time())
        return look()

    monkeypatch.setattr(work, "_promote_due", counted)

    async def worker() -> None:
        while True:
            work.done(await work.take())

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(worker)
        await trio.testing.wait_all_tasks_blocked()
        before = len(looks)
        work.add("a")
        await trio.testing.wait_all_tasks_blocked()
        assert len(looks) == before + 2  # it takes the key, and looks for the next one
        nursery.cancel_scope.cancel()


async def test_while_the_worker_that_waits_for_a_delay_is_busy_another_one_waits(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    begun: list[tuple[str, float]] = []

    async def worker() -> None:
        while True:
            key = await work.take()
            begun.append((key, trio.current_time() - started))
            await trio.sleep(20)
            work.done(key)

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(worker)
            work.add_after("late", 5 * SECOND)
            work.add_after("soon", 2 * SECOND)
    assert begun == [("soon", 2), ("late", 5)]


async def test_when_the_worker_that_waits_for_a_delay_is_cancelled_another_one_waits(
    autojump_clock: MockClock,
) -> None:
    work, started = queue(), trio.current_time()
    begun: list[float] = []

    async def take() -> None:
        await work.take()
        begun.append(trio.current_time() - started)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            first = trio.CancelScope()

            async def cancelled() -> None:
                with first:
                    await take()

            nursery.start_soon(cancelled)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(take)
            work.add_after("a", 5 * SECOND)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
    assert begun == [5]


async def test_keys_with_long_delays_become_due_together_and_a_little_late(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    for number in range(500):
        work.add_after(f"key {number}", timedelta(seconds=LONG_SECONDS + 0.1 + number / 1000))
    assert len(work._schedule) == 1

    assert await work.take() == "key 0"
    assert LONG_SECONDS <= trio.current_time() - started <= LONG_SECONDS + TOGETHER_SECONDS
    assert work.statistics() == QueueStatistics(499, 0, 1, 0)


async def test_a_key_that_comes_earlier_leaves_the_others_of_its_time_alone(autojump_clock: MockClock) -> None:
    work, started = queue(), trio.current_time()
    for key in "abc":
        work.add_after(key, timedelta(seconds=LONG_SECONDS))
    work.add("c")
    work.add_after("b", SECOND)
    assert [await taken(work) for _ in range(2)] == ["c", "b"]
    assert trio.current_time() - started == 1

    work.add_after("c", timedelta(seconds=LONG_SECONDS))
    assert work.statistics().delayed == 2
    assert sorted([await taken(work) for _ in range(2)]) == ["a", "c"]
    assert work.statistics() == QueueStatistics(0, 0, 0, 0)
    with trio.move_on_after(2 * LONG_SECONDS) as waiting:
        await work.take()
    assert waiting.cancelled_caught


async def test_who_wants_to_hear_of_the_end_of_long_delays_gets_the_keys_in_place_of_the_queue(
    autojump_clock: MockClock,
) -> None:
    heard: list[str] = []
    work: WorkQueue[str] = WorkQueue(base_delay=SECOND, max_delay=SECOND, after_long=heard.append)
    for key in "ab":
        work.add_after(key, timedelta(seconds=LONG_SECONDS))
    work.add_after("short", SECOND)
    assert await taken(work) == "short"
    with trio.move_on_after(2 * LONG_SECONDS):
        await work.take()
    assert heard == ["a", "b"]
    assert work.statistics() == QueueStatistics(0, 0, 0, 0)


def _by_letter(of_one_tenant: float = inf) -> WorkQueue[str]:
    return WorkQueue(
        base_delay=timedelta(seconds=1),
        max_delay=timedelta(seconds=8),
        tenant_of=lambda key: key[0],
        of_one_tenant=of_one_tenant,
    )


async def test_tenants_take_turns() -> None:
    work = _by_letter()
    for key in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        work.add(key)

    assert [await work.take() for _ in range(7)] == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_one_tenant_never_has_all_workers(autojump_clock: MockClock) -> None:
    work = _by_letter(of_one_tenant=2)
    for key in ("a1", "a2", "a3"):
        work.add(key)
    assert [await work.take() for _ in range(2)] == ["a1", "a2"]
    with trio.move_on_after(1) as waiting:
        await work.take()
    assert waiting.cancelled_caught

    work.add("b1")
    assert await work.take() == "b1"
    assert work.statistics().ready == 1


async def test_a_worker_that_waits_takes_what_its_tenant_may_do_again(autojump_clock: MockClock) -> None:
    work = _by_letter(of_one_tenant=1)
    work.add("a1")
    work.add("a2")
    taken = [await work.take()]

    async def take() -> None:
        taken.append(await work.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.sleep(1)
        assert taken == ["a1"]
        work.done("a1")

    assert taken == ["a1", "a2"]
