from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from core.engine.clock import WallClock, format_deadline, system_now, wait_for_wakeup
from core.engine.step.timers import Timer, TimerKind, timers_from, timers_to_wire
from core.engine.wakeup import WakeUp

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class SteppedWall:
    """A wall clock that runs with Trio's clock and can be set; ``reads`` counts how often it is read."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.reads = 0

    def __call__(self) -> datetime:
        self.reads += 1
        return EPOCH + timedelta(seconds=trio.current_time()) + self.ahead


async def test_sleeping_ends_at_the_instant_and_at_once_when_it_has_passed(autojump_clock: MockClock) -> None:
    clock = WallClock(SteppedWall())

    await clock.sleep_until(EPOCH + timedelta(seconds=12.5))
    assert trio.current_time() == 12.5
    await clock.sleep_until(EPOCH)
    assert trio.current_time() == 12.5


@pytest.mark.parametrize(
    ("step", "ends_at"), [(timedelta(hours=1), 5.0), (timedelta(seconds=-30), 90.0)], ids=["forwards", "backwards"]
)
async def test_a_stepped_wall_clock_is_noticed_within_five_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery, step: timedelta, ends_at: float
) -> None:
    wall = SteppedWall()

    async def set_clock() -> None:
        await trio.sleep(2)
        wall.ahead = step

    nursery.start_soon(set_clock)
    await WallClock(wall).sleep_until(EPOCH + timedelta(seconds=60))

    assert trio.current_time() == ends_at


async def test_after_a_suspend_of_eight_hours_an_overdue_instant_fires_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    wall = SteppedWall()  # during the suspend the wall clock goes on, and Trio's clock stands still

    async def suspend() -> None:
        await trio.sleep(11)
        wall.ahead += timedelta(hours=8)

    nursery.start_soon(suspend)
    await WallClock(wall).sleep_until(EPOCH + timedelta(hours=1))

    assert trio.current_time() <= 16


async def test_one_of_many_sleepers_keeps_watch_for_all(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    wall = SteppedWall()
    clock = WallClock(wall)
    woken: list[float] = []

    async def sleep(hours: int) -> None:
        await clock.sleep_until(EPOCH + timedelta(hours=hours))
        woken.append(trio.current_time())

    for _ in range(500):
        nursery.start_soon(sleep, 1)
    nursery.start_soon(sleep, 2)
    await trio.sleep(3595)
    before = wall.reads
    await trio.sleep(4)
    assert wall.reads - before < 20
    wall.ahead = timedelta(hours=-1)
    await trio.sleep(3605)
    assert woken == [7200.0] * 500
    wall.ahead += timedelta(hours=1)
    await trio.sleep(5)
    assert len(woken) == 501


async def test_the_watch_goes_on_when_the_one_who_keeps_it_is_canceled(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    wall = SteppedWall()
    clock = WallClock(wall)
    with trio.CancelScope() as first:
        nursery.start_soon(clock.sleep_until, EPOCH + timedelta(hours=1))
        nursery.start_soon(clock.sleep_until, EPOCH + timedelta(hours=2))

        async def leave_and_step() -> None:
            await trio.sleep(2)
            first.cancel()
            await trio.sleep(1)
            wall.ahead = timedelta(hours=3)

        nursery.start_soon(leave_and_step)
        await clock.sleep_until(EPOCH + timedelta(hours=1))
    assert first.cancelled_caught
    await trio.sleep(8)
    assert not nursery.child_tasks


async def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        await WallClock().sleep_until(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test


async def test_a_bell_ends_the_wait_for_an_instant_and_the_instant_the_wait_for_a_bell(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    clock, wakeup = WallClock(SteppedWall()), WakeUp()

    await wait_for_wakeup(wakeup, clock, EPOCH + timedelta(seconds=17))
    assert trio.current_time() == 17

    async def wake() -> None:
        await trio.sleep(4)
        wakeup.wake()

    nursery.start_soon(wake)
    await wait_for_wakeup(wakeup, clock, EPOCH + timedelta(hours=1))
    assert trio.current_time() == 21


async def test_a_bell_that_rang_before_ends_the_wait_at_once(autojump_clock: MockClock) -> None:
    wakeup = WakeUp()
    wakeup.wake()
    wakeup.wake()
    await wait_for_wakeup(wakeup, WallClock(SteppedWall()), None)

    with trio.move_on_after(3) as scope:
        await wakeup.wait()
    assert scope.cancelled_caught
    assert trio.current_time() == 3


async def test_cancelling_the_wait_for_a_bell_does_not_lose_the_ring(autojump_clock: MockClock) -> None:
    wakeup = WakeUp()
    with trio.CancelScope() as scope:
        scope.cancel()
        wakeup.wake()
        await wakeup.wait()

    assert wakeup.is_set


def test_deadlines_are_stored_exactly() -> None:
    assert format_deadline(EPOCH) == "2026-01-02T03:04:05Z"
    assert format_deadline(EPOCH + timedelta(milliseconds=250)) == "2026-01-02T03:04:05.250000Z"


def test_the_system_clock_is_aware() -> None:
    assert system_now().tzinfo is UTC


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose local time changes in March and October.

    The time zone is given as a rule, so that no zone files are needed.
    """
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_clock_of_the_system_is_utc_wherever_the_process_runs(berlin: None) -> None:
    assert time.localtime(1_780_000_000).tm_gmtoff == 7200, "the zone is in force"
    assert system_now().utcoffset() == timedelta()
    assert abs(system_now().timestamp() - time.time()) < 60  # noqa: TID251 - the clock to compare with


@pytest.mark.parametrize("put_forward_or_back", ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"])
async def test_a_timer_is_as_long_as_it_was_when_local_clocks_change_and_a_restart_reads_it_again(
    autojump_clock: MockClock, berlin: None, put_forward_or_back: str
) -> None:
    begins = datetime.fromisoformat(put_forward_or_back) - timedelta(minutes=30)
    ends = begins + timedelta(hours=1)
    offsets = {time.localtime(at.timestamp()).tm_gmtoff for at in (begins, ends)}
    assert offsets == {3600, 7200}, "local clocks change in between"
    clock = WallClock(lambda: datetime.fromtimestamp(begins.timestamp() + trio.current_time(), UTC))
    stored = timers_to_wire({"nap": Timer(TimerKind.SLEEP, clock.now() + timedelta(hours=1))})
    with trio.move_on_after(2400):  # the process dies after the change of local time
        await clock.sleep_until(timers_from(stored)["nap"].at)

    await clock.sleep_until(timers_from(stored)["nap"].at)

    assert trio.current_time() == pytest.approx(3600)
