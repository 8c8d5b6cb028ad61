"""Waiting for a slot: no step exceeds a limit, no step waits for a free slot, and no slot is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from core.engine.slots.queueing import Demand, Occupant, Owner, SlotLimits
from core.engine.slots.slots import Slots, occupant_of
from core.engine.wakeup import WakeUp
from core.policy.settings import QueueSettings
from core.telemetry import metrics
from fuzz.engine.slot_model import clock, demand, fits, limits, never


def silent(message: str) -> None:
    del message


@dataclass
class Office:
    """Slots under limits that a test can set; records what happened to each request."""

    bounds: SlotLimits
    started: list[str] = field(default_factory=list)
    told: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    wakeups: dict[str, WakeUp] = field(default_factory=dict)
    begun_elsewhere: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.slots = Slots(lambda: self.bounds, clock())

    async def ask(self, one: Demand) -> None:
        name = f"{one.run.name}/{one.step}"
        wakeup = self.wakeups[name] = WakeUp()

        def tell(text: str) -> None:
            self.told.setdefault(name, []).append((trio.current_time(), text))

        async def gives_up() -> bool:
            await trio.lowlevel.checkpoint()
            return name in self.begun_elsewhere

        if await self.slots.acquire(one, tell, wakeup, gives_up):
            self.started.append(name)


def loaded(bounds: SlotLimits) -> Office:
    office = Office(bounds)
    office.slots.load([])
    return office


def step_run(run: str = "one", step: str = "a", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team",
            "ownerReferences": [{"uid": "other"}, {"uid": f"uid-{run}", "controller": True}],
            "labels": {"bubustack.io/story-name": "report", "bubustack.io/queue": "default"},
            **fields,
        },
        "spec": {"stepId": step},
    }


async def test_a_step_waits_until_a_slot_is_given_back(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    nursery.start_soon(office.ask, demand("two/a"))
    await wait_all_tasks_blocked()
    assert office.started == ["one/a"]
    assert office.told == {
        "two/a": [(0, "Queued due to global concurrency limit (1 running, limit 1); 1st in queue default")]
    }
    office.slots.release("uid-one", "a")
    await wait_all_tasks_blocked()
    assert office.started == ["one/a", "two/a"]
    assert office.slots.waiting() == {}


async def test_who_is_granted_at_once_is_told_nothing(autojump_clock: MockClock) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    assert office.told == {}


async def test_nothing_is_given_before_what_exists_is_known(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    unlimited = Office(SlotLimits())
    with trio.move_on_after(1):
        await unlimited.ask(demand("two/a"))
    assert unlimited.started == []
    office = Office(limits(1))
    nursery.start_soon(office.ask, demand("two/a"))
    await wait_all_tasks_blocked()
    assert office.started == []
    office.slots.load([step_run("one", "a")])
    await wait_all_tasks_blocked()
    assert office.started == []
    office.slots.forget("uid-one")
    await wait_all_tasks_blocked()
    assert office.started == ["two/a"]


async def test_steps_that_are_ready_together_start_in_spec_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The order in which their tasks run does not matter."""
    office = loaded(limits(1))
    for order in (3, 0, 2, 1):
        nursery.start_soon(office.ask, demand(f"one/{order}", order=order))
    await wait_all_tasks_blocked()
    for order in range(3):
        office.slots.release("uid-one", str(order))
        await wait_all_tasks_blocked()
    assert office.started == ["one/0", "one/1", "one/2", "one/3"]


async def test_a_step_that_has_its_slot_gets_it_again_at_once(autojump_clock: MockClock) -> None:
    office = loaded(limits(1))
    office.slots.hold("uid-one", "a", "team/report", "default")
    office.slots.hold("uid-one", "a", "team/report", "default")
    await office.ask(demand("one/a"))
    await office.ask(demand("one/a"))
    assert office.slots.running() == {"default": 1}
    office.slots.release("uid-one", "a")
    office.slots.release("uid-one", "a")
    assert office.slots.running() == {}


async def test_what_exists_counts_even_beyond_a_limit(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = loaded(limits(1))
    for step in "abc":
        office.slots.hold("uid-one", step, "team/report", "default")
    nursery.start_soon(office.ask, demand("two/a"))
    await wait_all_tasks_blocked()
    for step in "ab":
        office.slots.release("uid-one", step)
        await wait_all_tasks_blocked()
        assert office.started == []
    office.slots.release("uid-one", "c")
    await wait_all_tasks_blocked()
    assert office.started == ["two/a"]


async def test_a_canceled_step_leaves_the_queue(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    scope = trio.CancelScope()

    async def impatient() -> None:
        with scope:
            await office.ask(demand("two/a"))

    nursery.start_soon(impatient)
    nursery.start_soon(office.ask, demand("three/a", queued=1))
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    assert sum(office.slots.waiting().values()) == 1
    office.slots.release("uid-one", "a")
    await wait_all_tasks_blocked()
    assert office.started == ["one/a", "three/a"]


@pytest.mark.parametrize("released_first", [True, False], ids=["release then cancel", "cancel then release"])
async def test_a_slot_given_while_its_taker_is_canceled_is_not_lost(
    autojump_clock: MockClock, nursery: trio.Nursery, released_first: bool
) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    scope = trio.CancelScope()

    async def impatient() -> None:
        with scope:
            await office.ask(demand("two/a"))
            await trio.lowlevel.checkpoint()  # the owner of a slot always releases it, as it does here
        office.slots.release("uid-two", "a")

    nursery.start_soon(impatient)
    nursery.start_soon(office.ask, demand("three/a", queued=1))
    await wait_all_tasks_blocked()
    acts: list[Callable[[], None]] = [lambda: office.slots.release("uid-one", "a"), scope.cancel]
    for act in acts if released_first else reversed(acts):
        act()
    await wait_all_tasks_blocked()
    assert "three/a" in office.started
    assert office.slots.running() == {"default": 1}


async def test_a_slot_given_to_somebody_already_canceled_is_handed_on_by_acquire_itself(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    scope = trio.CancelScope()

    async def impatient() -> None:
        with scope:
            await office.ask(demand("two/a"))

    nursery.start_soon(impatient)
    await wait_all_tasks_blocked()
    scope.cancel()  # the task is scheduled with Cancelled, but has not run yet
    office.slots.release("uid-one", "a")  # gives the slot to that task
    assert office.slots.running() == {"default": 1}
    await wait_all_tasks_blocked()
    assert office.slots.running() == {}


async def test_raised_limits_count_at_once_and_lowered_ones_end_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = loaded(limits(1))
    for run in ("one", "two", "three"):
        nursery.start_soon(office.ask, demand(f"{run}/a"))
    await wait_all_tasks_blocked()
    assert len(office.started) == 1
    office.bounds = limits(2)
    office.slots.limits_changed()
    await wait_all_tasks_blocked()
    assert len(office.started) == 2
    office.bounds = limits(1)
    office.slots.limits_changed()
    office.slots.release("uid-" + office.started[0].partition("/")[0], "a")
    await wait_all_tasks_blocked()
    assert len(office.started) == 2
    assert office.slots.running() == {"default": 1}


async def test_raised_limits_nobody_told_of_are_noticed_within_ten_seconds(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    office.bounds = limits(1)
    nursery.start_soon(office.ask, demand("two/a"))
    await wait_all_tasks_blocked()
    office.bounds = limits(2)
    await trio.sleep(10.1)
    assert office.started == ["one/a", "two/a"]


async def test_a_step_that_waits_tells_what_has_changed_every_ten_seconds_at_most(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    for run in ("two", "three", "four"):
        nursery.start_soon(office.ask, demand(f"{run}/a", queued=len(run) / 10))
    await wait_all_tasks_blocked()
    await trio.sleep(3)
    office.slots.release("uid-one", "a")  # "two" starts
    await trio.sleep(2)
    office.slots.release("uid-two", "a")  # "four" starts
    await trio.sleep(300)
    text = "Queued due to global concurrency limit (1 running, limit 1); {} in queue default".format
    assert office.started == ["one/a", "two/a", "four/a"]
    assert office.told["three/a"] == [(0, text("3rd")), (10, text("1st"))]
    assert office.told["four/a"] == [(0, text("2nd"))]


async def test_who_is_far_back_tells_less_often_and_who_has_come_near_soon(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = loaded(limits(1))
    await office.ask(demand("first/a"))
    for number in range(300):
        nursery.start_soon(office.ask, demand(f"r{number}/a", queued=number / 1000))
    await wait_all_tasks_blocked()
    office.slots.release("uid-first", "a")
    await trio.sleep(150.5)
    assert [when for when, _ in office.told["r5/a"]] == [0, 10]
    assert [when for when, _ in office.told["r99/a"]] == [0, 100]
    assert [when for when, _ in office.told["r280/a"]] == [0]
    for number in range(280):
        office.slots.release(f"uid-r{number}", "a")
        await wait_all_tasks_blocked()
    await trio.sleep(30)
    when, text = office.told["r281/a"][-1]
    assert when > 150
    assert "; 1st in queue" in text


async def test_who_gives_up_gets_no_slot_and_others_do(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    for name in ("two/a", "three/a"):
        nursery.start_soon(office.ask, demand(name))
        await wait_all_tasks_blocked()
    office.wakeups["two/a"].wake()
    await wait_all_tasks_blocked()
    assert sum(office.slots.waiting().values()) == 2

    office.begun_elsewhere.add("two/a")
    office.wakeups["two/a"].wake()
    await wait_all_tasks_blocked()
    assert sum(office.slots.waiting().values()) == 1
    office.slots.release("uid-one", "a")
    await wait_all_tasks_blocked()
    assert office.started == ["one/a", "three/a"]


async def test_who_gives_up_hands_on_what_was_given_meanwhile(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def gives_up() -> bool:
        asked.set()
        await go.wait()
        return True

    async def ask() -> None:
        assert not await office.slots.acquire(demand("two/a"), silent, wakeup, gives_up)

    asked, go, wakeup = trio.Event(), trio.Event(), WakeUp()
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    nursery.start_soon(office.ask, demand("three/a"))
    wakeup.wake()
    await asked.wait()
    office.slots.release("uid-one", "a")
    assert office.slots.holds("uid-two", "a")
    go.set()
    await wait_all_tasks_blocked()
    assert office.started == ["one/a", "three/a"]
    assert not office.slots.holds("uid-two", "a")


async def test_the_same_step_cannot_wait_twice(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))
    nursery.start_soon(office.ask, demand("two/a"))
    await wait_all_tasks_blocked()
    with pytest.raises(RuntimeError, match="waits for a slot already"):
        await office.ask(demand("two/a"))
    office.slots.release("uid-one", "a")
    await wait_all_tasks_blocked()
    assert office.started == ["one/a", "two/a"]


async def test_without_limits_nobody_queues_but_everybody_is_counted(autojump_clock: MockClock) -> None:
    office = loaded(SlotLimits())
    for number in range(3):
        await office.ask(demand(f"r{number}/a"))
    assert office.slots.running() == {"default": 3}
    office.bounds = limits(3)
    with trio.move_on_after(1) as scope:
        await office.ask(demand("late/a"))
    assert scope.cancelled_caught


async def test_a_failing_tell_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    office = loaded(limits(1))
    await office.ask(demand("one/a"))

    def fail(message: str) -> None:
        raise LookupError(message)

    with pytest.raises(LookupError):
        await office.slots.acquire(demand("two/a"), fail, WakeUp(), never)
    assert office.slots.waiting() == {}


# What is known at the start.


@pytest.mark.parametrize(
    ("stored", "owner", "story", "queue"),
    [
        (step_run(), Owner("uid-one", "a"), "team/report", "default"),
        (
            step_run(annotations={"runs.bubustack.io/step-path": "fan/3/a"}),
            Owner("uid-one", "fan/3/a"),
            "team/report",
            "default",
        ),
        (
            step_run(annotations={"runs.bubustack.io/story-namespace": "shared"}, labels={}),
            Owner("uid-one", "a"),
            "shared/",
            "default",
        ),
        (
            step_run(labels={"bubustack.io/story-name": "etl", "bubustack.io/queue": "gpu"}),
            Owner("uid-one", "a"),
            "team/etl",
            "gpu",
        ),
    ],
    ids=["plain", "branch", "story elsewhere", "queue"],
)
def test_a_stored_step_run_says_whose_slot_it_has(stored: dict[str, Any], owner: Owner, story: str, queue: str) -> None:
    assert occupant_of(stored) == Occupant(owner, story, queue)


@pytest.mark.parametrize("owners", [None, [{"uid": "x"}]], ids=["none", "not the controller"])
def test_a_step_run_of_no_run_takes_no_slot(owners: Any) -> None:
    assert occupant_of(step_run(ownerReferences=owners)) is None


async def test_a_step_run_that_outlives_its_run_frees_its_slot_when_it_ends(autojump_clock: MockClock) -> None:
    office = Office(limits(2))
    office.slots.load([step_run("over", "a"), step_run("over", "b"), step_run("gone", "a", ownerReferences=None)])
    assert office.slots.running() == {"default": 2}
    office.slots.step_run_ended(step_run("over", "a"))
    office.slots.step_run_ended(step_run("gone", "a", ownerReferences=None))
    assert office.slots.running() == {"default": 1}


async def test_what_ends_while_the_list_is_under_way_takes_no_slot(autojump_clock: MockClock) -> None:
    office = Office(limits(2))
    office.slots.step_run_ended(step_run("over", "a"))
    office.slots.load([step_run("over", "a")])
    assert office.slots.running() == {}


@pytest.mark.parametrize("claim", ["hold", "acquire"])
async def test_a_live_run_releases_its_own_slots_itself(autojump_clock: MockClock, claim: str) -> None:
    """A late event about an earlier StepRun with the same name must not release the slot of the present one."""
    office = Office(limits(2))
    office.slots.load([step_run("one", "a")])
    if claim == "hold":
        office.slots.hold("uid-one", "a", "team/report", "default")
    else:
        await office.ask(demand("one/a"))
    office.slots.step_run_ended(step_run("one", "a"))
    assert office.slots.running() == {"default": 1}
    office.slots.release("uid-one", "a")
    assert office.slots.running() == {}


async def test_a_slot_that_was_counted_elsewhere_is_free_there(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(limits(gpu=1))
    office.slots.load([step_run("one", "a", labels={"bubustack.io/queue": "gpu"})])
    nursery.start_soon(office.ask, demand("two/a", queue="gpu"))
    await wait_all_tasks_blocked()
    assert office.started == []
    office.slots.hold("uid-one", "a", "team/report", "default")
    await wait_all_tasks_blocked()
    assert office.started == ["two/a"]


async def test_the_time_in_the_queue_is_observed_once_for_those_who_waited(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def queued(part: str) -> float | None:
        return metrics.sample(f"bobrapet_storyrun_queue_age_seconds_{part}", namespace="team", queue="default")

    with metrics.recording():
        office = loaded(limits(1))
        await office.ask(demand("one/a"))
        nursery.start_soon(office.ask, demand("two/a"))
        await trio.sleep(25)
        office.slots.release("uid-one", "a")
        await wait_all_tasks_blocked()
        assert (queued("count"), queued("sum")) == (1, 25)


# Properties.


async def test_with_aging_every_step_starts_however_much_more_important_work_arrives(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Aging adds one to the priority of a step for each minute that it waits.

    There is one slot, a step of priority 0, and an endless supply of new work of priority 5.
    Work that queues after five minutes is no longer above the step, so the step starts with the first release after
    that.
    """
    office = loaded(limits(default=(1, 60)))
    await office.ask(demand("first/a"))
    nursery.start_soon(office.ask, demand("poor/a"))
    releases = 0
    busy = "first"
    while "poor/a" not in office.started:
        rival = f"rich{releases}"
        nursery.start_soon(office.ask, demand(f"{rival}/a", priority=5, queued=trio.current_time()))
        await trio.sleep(10)
        office.slots.release(f"uid-{busy}", "a")
        await wait_all_tasks_blocked()
        busy = office.started[-1].partition("/")[0]
        releases += 1
        assert releases <= 31
    assert releases >= 30
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("aging", "next_one"), [(0, "rich/a"), (60, "poor/a")])
async def test_another_aging_counts_for_who_waits(
    autojump_clock: MockClock, nursery: trio.Nursery, aging: int, next_one: str
) -> None:
    office = loaded(limits(default=(1, 0)))
    await office.ask(demand("first/a"))
    nursery.start_soon(office.ask, demand("poor/a"))
    await trio.sleep(360)
    nursery.start_soon(office.ask, demand("rich/a", priority=5, queued=trio.current_time()))
    await wait_all_tasks_blocked()
    office.bounds = limits(default=(1, aging))
    office.slots.limits_changed()
    office.slots.release("uid-first", "a")
    await wait_all_tasks_blocked()
    assert office.started == ["first/a", next_one]
    nursery.cancel_scope.cancel()


async def test_runs_of_equal_priority_share_the_slots(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A run with a hundred steps came first. A run with five steps gets every other slot as soon as it arrives."""
    office = loaded(limits(4))
    for number in range(100):
        nursery.start_soon(office.ask, demand(f"big/{number}", order=number))
    await wait_all_tasks_blocked()
    for number in range(5):
        nursery.start_soon(office.ask, demand(f"small/{number}", queued=1, order=number))
    await wait_all_tasks_blocked()
    office.started.clear()
    for number in range(4):
        office.slots.release("uid-big", str(number))
        await wait_all_tasks_blocked()
    assert sorted(office.started) == ["big/4", "big/5", "small/0", "small/1"]
    nursery.cancel_scope.cancel()


RUNS = {"r1": ("s1", 2, "default"), "r2": ("s2", 0, "default"), "r3": ("s1", 2, "gpu"), "r4": ("s3", 1, "gpu")}
NAMES = [f"{run}/{step}" for run in RUNS for step in range(3)]

bound = st.builds(
    lambda everywhere, default, gpu, aging: SlotLimits(
        everywhere,
        {
            "default": QueueSettings(concurrency=default, priority_aging_seconds=aging),
            "gpu": QueueSettings(concurrency=gpu, priority_aging_seconds=aging),
        },
    ),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from((0, 30)),
)
act = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from(NAMES), st.integers(0, 2)),
    st.tuples(st.just("release"), st.sampled_from(NAMES)),
    st.tuples(st.just("cancel"), st.sampled_from(NAMES)),
    st.tuples(st.just("hold"), st.sampled_from(NAMES)),
    st.tuples(st.just("forget"), st.sampled_from(sorted(RUNS))),
    st.tuples(st.just("limits"), bound),
    st.tuples(st.just("wait"), st.sampled_from((1, 20))),
)
together = st.lists(act, min_size=1, max_size=4)
"""Acts without a pause for tasks between them, so that grants and cancellations meet."""


class Watch:
    """Does the given acts, and checks I24 and I26 after every step."""

    def __init__(self, bounds: SlotLimits, nursery: trio.Nursery) -> None:
        self.office = loaded(bounds)
        self.nursery = nursery
        self.waiting: dict[str, tuple[Demand, trio.CancelScope]] = {}
        self.slots: dict[str, Occupant] = {}

    async def _step(self, name: str, one: Demand, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self.office.slots.acquire(one, silent, WakeUp(), never)
                if name not in self.slots:
                    self._got(name, one)
        finally:
            self.waiting.pop(name, None)

    def _got(self, name: str, one: Demand) -> None:
        self.slots[name] = Occupant(one.owner, one.story, one.queue)

    def _demand(self, name: str, priority: int = 0) -> Demand:
        story, limit, queue = RUNS[name[:2]]
        now = trio.current_time()
        return demand(name, story=story, story_limit=limit, queue=queue, priority=priority, queued=now)

    def do(self, what: tuple[Any, ...]) -> None:
        match what:
            case ("acquire", name, priority) if name not in self.waiting and name not in self.slots:
                one, scope = self._demand(name, priority), trio.CancelScope()
                self.waiting[name] = (one, scope)
                self.nursery.start_soon(self._step, name, one, scope)
            case ("release", name) if name in self.slots:
                self.office.slots.release(*self.slots.pop(name).owner)
            case ("cancel", name) if name in self.waiting:
                self.waiting[name][1].cancel()
            case ("hold", name) if name not in self.waiting:
                one_held = self._demand(name)
                self._got(name, one_held)
                self.office.slots.hold(one_held.run_uid, one_held.step, one_held.story, one_held.queue)
            case ("forget", run) if not any(name.startswith(run) for name in self.waiting):
                self.slots = {name: one for name, one in self.slots.items() if not name.startswith(run)}
                self.office.slots.forget(f"uid-{run}")
            case ("limits", bounds):
                self.office.bounds = bounds
                self.office.slots.limits_changed()

    def check(self, before: dict[str, Occupant]) -> None:
        """I24: a step with a slot fits the limits, and a released slot is free. I26: a step that waits does not fit."""
        taken = list(self.slots.values())
        assert sum(self.office.slots.running().values()) == len(taken)
        for name, (one, _) in self.waiting.items():
            assert not fits(taken, one, self.office.bounds), f"{name} waits for what is free"
        for name in self.slots.keys() - before.keys() - self.held:
            story, limit, queue = RUNS[name[:2]]
            others = [one for other, one in self.slots.items() if other != name]
            one = demand(name, story=story, story_limit=limit, queue=queue)
            assert fits(others, one, self.office.bounds), f"{name} was given what was not there"

    held: frozenset[str] = frozenset()


@given(bound, st.lists(together, max_size=20))
@settings(max_examples=150, deadline=None)
def test_limits_hold_and_no_slot_is_idle_whatever_happens(bounds: SlotLimits, history: list[list[Any]]) -> None:
    async def happen() -> None:
        async with trio.open_nursery() as nursery:
            watch = Watch(bounds, nursery)
            for acts in history:
                before = dict(watch.slots)
                for what in acts:
                    if what[0] == "wait":
                        await trio.sleep(what[1])
                    else:
                        watch.do(what)
                await wait_all_tasks_blocked()
                # These hold a slot whatever the limits are, or got one before the same acts lowered the limits.
                lenient = any(what[0] in ("hold", "limits") for what in acts)
                watch.held = frozenset(watch.slots) if lenient else frozenset()
                watch.check(before)
            nursery.cancel_scope.cancel()
        assert watch.office.slots.waiting() == {}
        for name in watch.slots:
            watch.office.slots.release(f"uid-{name[:2]}", name[3:])
        assert watch.office.slots.running() == {}

    trio.run(happen, clock=MockClock(autojump_threshold=0))


@given(st.lists(st.sampled_from(NAMES), unique=True), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_every_step_starts_in_the_end(arrivals: list[str], random: Any) -> None:
    """This holds as long as every step with a slot releases it at some time."""

    async def work(office: Office, name: str) -> None:
        story, limit, queue = RUNS[name[:2]]
        one = demand(name, story=story, story_limit=limit, queue=queue, queued=trio.current_time())
        await office.ask(one)
        await trio.sleep(random.uniform(1, 100))
        office.slots.release(one.run_uid, one.step)

    async def happen() -> None:
        office = loaded(limits(2, default=1, gpu=2))
        with trio.fail_after(100 * len(NAMES)):
            async with trio.open_nursery() as nursery:
                for name in arrivals:
                    nursery.start_soon(work, office, name)
        assert sorted(office.started) == sorted(arrivals)

    trio.run(happen, clock=MockClock(autojump_threshold=0))
