"""Which steps may start, in which order, and why the others wait: by example, and compared with a simple model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine.slots.queueing import Demand, Held, HeldBy, Ledger, Occupant, SlotLimits, decide, limits_of, ordinal
from core.policy.settings import OperatorSettings, QueueSettings, RunSettings
from fuzz.engine.slot_model import at, demand, fits, in_order, limits, names, occupant, plainly_granted


def granted(
    waiting: Sequence[Demand], bounds: SlotLimits, occupants: Sequence[Occupant] = (), now: float = 0
) -> list[str]:
    return names(decide(occupants, waiting, bounds, at(now)).granted)


def held(
    name: str, waiting: Sequence[Demand], bounds: SlotLimits, occupants: Sequence[Occupant] = (), now: float = 0
) -> Held:
    return decide(occupants, waiting, bounds, at(now)).held[demand(name).owner]


def test_without_limits_everybody_starts() -> None:
    waiting = [demand("one/a"), demand("one/b"), demand("two/a")]
    assert granted(waiting, SlotLimits()) == ["one/a", "two/a", "one/b"]


@pytest.mark.parametrize(
    ("bounds", "story_limit"), [(limits(2), 0), (limits(default=2), 0), (limits(), 2)], ids=["global", "queue", "story"]
)
def test_a_limit_is_reached_and_not_passed(bounds: SlotLimits, story_limit: int) -> None:
    waiting = [demand(f"one/{step}", story_limit=story_limit, order=n) for n, step in enumerate("abc")]
    assert granted(waiting, bounds, [occupant("two/x")]) == ["one/a"]
    assert granted(waiting, bounds, [occupant("two/x"), occupant("two/y")]) == []


def test_two_ready_steps_of_a_story_whose_limit_is_used_up_both_say_so() -> None:
    waiting = [demand("one/a", story_limit=1), demand("one/b", story_limit=1, order=1)]
    found = decide([occupant("two/x")], waiting, limits(5), at(0))
    assert [one.message for one in found.held.values()] == [
        "Queued due to story concurrency limit (1 running, limit 1); 1st in queue default",
        "Queued due to story concurrency limit (1 running, limit 1); 2nd in queue default",
    ]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (limits(3, gpu=2), "Queued due to queue concurrency limit (2 running, limit 2); 1st in queue gpu"),
        (limits(2, gpu=2), "Queued due to global concurrency limit (2 running, limit 2); 1st in queue gpu"),
        (limits(2, gpu=3), "Queued due to global concurrency limit (2 running, limit 2); 1st in queue gpu"),
        (limits(1, gpu=1), "Queued due to global concurrency limit (2 running, limit 1); 1st in queue gpu"),
    ],
    ids=["queue", "equally scarce", "global", "lowered below what runs"],
)
def test_the_scarcer_limit_is_named(bounds: SlotLimits, message: str) -> None:
    occupants = [occupant("two/x", queue="gpu"), occupant("two/y", queue="gpu")]
    assert held("one/a", [demand("one/a", queue="gpu")], bounds, occupants).message == message


def test_priority_decides_only_over_scarce_slots() -> None:
    waiting = [demand("low/a"), demand("high/a", priority=5, queued=1)]
    assert granted(waiting, limits(default=2), now=1) == ["high/a", "low/a"]
    assert granted(waiting, limits(default=1), now=1) == ["high/a"]


def test_who_is_behind_more_important_work_is_told_so() -> None:
    waiting = [demand("low/a"), demand("high/a", priority=5), demand("low/b", order=1)]
    full = [occupant("two/x")]
    assert held("low/a", waiting, limits(default=1), full).message == (
        "Queued due to higher-priority work; 2nd in queue default"
    )
    assert held("high/a", waiting, limits(default=1), full).obstacle is HeldBy.QUEUE
    assert held("low/a", waiting, limits(default=1)).obstacle is HeldBy.PRIORITY, "the free slot went to it"
    assert held("one/b", [demand("one/a"), demand("one/b", order=1)], limits(default=1)).obstacle is HeldBy.QUEUE


def test_more_important_work_of_another_queue_counts_where_the_global_limit_is_scarce() -> None:
    waiting = [demand("low/a"), demand("high/a", priority=5, queue="gpu")]
    assert held("low/a", waiting, limits(1), [occupant("two/x")]).obstacle is HeldBy.PRIORITY
    assert held("low/a", waiting, limits(default=1), [occupant("two/x")]).obstacle is HeldBy.QUEUE
    gpu_is_full = [occupant("two/x", queue="gpu")]
    assert held("low/a", waiting, limits(1, gpu=1), gpu_is_full).obstacle is HeldBy.EVERYWHERE


def test_work_that_its_own_story_blocks_holds_nobody_back() -> None:
    blocked = [demand(f"big/{n}", story="big", story_limit=1, priority=9, order=n) for n in range(3)]
    waiting = [*blocked, demand("small/a")]
    occupants = [occupant("big/x", story="big")]
    assert granted(waiting, limits(default=2), occupants) == ["small/a"]
    full = [*occupants, occupant("two/x")]
    assert held("small/a", waiting, limits(default=2), full).obstacle is HeldBy.QUEUE


def test_a_full_queue_leaves_the_global_slots_to_others() -> None:
    waiting = [demand("one/a", queue="gpu", priority=9), demand("two/a")]
    assert granted(waiting, limits(2, gpu=1), [occupant("three/x", queue="gpu")]) == ["two/a"]


@pytest.mark.parametrize(
    ("now", "first"), [(59.999, "high/a"), (60, "low/a")], ids=["just before", "at the full period"]
)
def test_waiting_raises_priority_by_one_for_each_full_period(now: float, first: str) -> None:
    waiting = [demand("high/a", priority=1, queued=30), demand("low/a")]
    assert granted(waiting, limits(default=(1, 60)), now=now)[0] == first


def test_without_aging_priority_stays() -> None:
    waiting = [demand("low/a"), demand("high/a", priority=1, queued=1e6)]
    assert granted(waiting, limits(default=(1, 0)), now=1e6) == ["high/a"]


def test_a_clock_that_went_back_lowers_nobody() -> None:
    waiting = [demand("a/a", queued=1000), demand("b/a", queued=900)]
    assert granted(waiting, limits(default=(1, 60)), now=0) == ["b/a"]


def test_of_equals_the_run_with_fewer_slots_comes_first() -> None:
    waiting = [demand("big/b", queued=0), demand("big/c", queued=0, order=1), demand("small/a", queued=9)]
    assert granted(waiting, limits(2), [occupant("big/a")], now=9) == ["small/a"]
    assert held("big/b", waiting, limits(1), [occupant("big/a")], now=9).place == 2


def test_within_a_run_who_queued_first_then_spec_order() -> None:
    waiting = [demand("one/c", order=2), demand("one/a", order=0, queued=1), demand("one/b", order=1)]
    assert granted(waiting, SlotLimits(), now=1) == ["one/b", "one/c", "one/a"]


def test_a_step_waits_once() -> None:
    ledger = Ledger()
    ledger.add(demand("one/a"))
    with pytest.raises(RuntimeError, match="step a of team/one waits for a slot already"):
        ledger.add(demand("one/a", priority=3))


def test_limits_come_from_the_settings_and_unconfigured_queues_age() -> None:
    queues = {"gpu": QueueSettings(concurrency=3, priority_aging_seconds=0)}
    found = limits_of(OperatorSettings(runs=RunSettings(global_concurrency=7, queues=queues)))
    assert (found.everywhere, found.of("gpu").concurrency, found.of("gpu").priority_aging_seconds) == (7, 3, 0)
    assert (found.of("other").concurrency, found.of("other").priority_aging_seconds) == (0, 60)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (22, "22nd"), (111, "111th")],
)
def test_places_are_told_as_people_say_them(number: int, text: str) -> None:
    assert ordinal(number) == text


RUNS = ("r1", "r2", "r3")
STORIES = {"r1": ("s1", 2), "r2": ("s2", 0), "r3": ("s1", 1)}
"""Runs of one Story may have different limits, because each executes the Story as it was when the run started."""
QUEUES = {"r1": "default", "r2": "default", "r3": "gpu"}


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Occupant], list[Demand], SlotLimits, float]:
    numbers = st.integers(0, 4)
    bounds = SlotLimits(
        draw(numbers),
        {
            queue: QueueSettings(concurrency=draw(numbers), priority_aging_seconds=draw(st.sampled_from((0, 3, 60))))
            for queue in ("default", "gpu")
        },
    )
    priorities = {run: draw(st.integers(0, 3)) for run in RUNS}
    steps = draw(st.permutations([f"{run}/{n}" for run in RUNS for n in range(4)]))
    taken = draw(st.integers(0, 4))
    occupants = [occupant(name, story=STORIES[name[:2]][0], queue=QUEUES[name[:2]]) for name in steps[:taken]]
    waiting = []
    for name in steps[taken : taken + draw(st.integers(0, 8))]:
        run = name[:2]
        story, story_limit = STORIES[run]
        waiting.append(
            demand(
                name,
                story=story,
                story_limit=story_limit,
                queue=QUEUES[run],
                priority=priorities[run],
                queued=draw(st.integers(0, 12)),
                order=int(name[-1]),
            )
        )
    return occupants, waiting, bounds, draw(st.integers(0, 20))


@given(situations())
@settings(max_examples=200)
def test_decisions_are_those_of_the_plain_rule(
    situation: tuple[list[Occupant], list[Demand], SlotLimits, float],
) -> None:
    occupants, waiting, bounds, now = situation
    decision = decide(occupants, waiting, bounds, at(now))
    assert names(decision.granted) == names(plainly_granted(occupants, waiting, bounds, at(now)))

    after = [*occupants, *(Occupant(one.owner, one.story, one.queue) for one in decision.granted)]
    left = [one for one in waiting if one not in decision.granted]
    assert set(decision.held) == {one.owner for one in left}
    for one in left:
        assert not fits(after, one, bounds), "I26: nobody waits for what is free"
    for queue in ("default", "gpu"):
        line = [one for one in in_order(after, left, bounds, at(now)) if one.queue == queue]
        assert [decision.held[one.owner].place for one in line] == list(range(1, len(line) + 1))


@given(situations(), st.data())
@settings(max_examples=100)
def test_what_was_decided_before_leaves_no_trace(
    situation: tuple[list[Occupant], list[Demand], SlotLimits, float], data: st.DataObject
) -> None:
    """Any history of arrivals, grants, releases and withdrawals gives the same state as a fresh start."""
    occupants, waiting, bounds, now = situation
    ledger, slots, left = Ledger(), {one.owner: one for one in occupants}, list[Demand]()
    for taken in occupants:
        ledger.occupy(taken)
    for one in waiting:
        ledger.add(one)
        left.append(one)
        if data.draw(st.booleans()):
            given_now = list(ledger.grant(bounds, at(now)))
            left = [other for other in left if other not in given_now]
            slots |= {other.owner: Occupant(other.owner, other.story, other.queue) for other in given_now}
        if bool(slots) and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(slots)))
            assert ledger.release(gone)
            assert not ledger.release(gone)
            del slots[gone]
        if bool(left) and data.draw(st.booleans()):
            gone_demand = data.draw(st.sampled_from(left))
            assert ledger.withdraw(gone_demand.owner)
            assert not ledger.withdraw(gone_demand.owner)
            left.remove(gone_demand)
    assert list(ledger.waiting()) == left
    for step in (0, 7):
        fresh = decide(list(slots.values()), left, bounds, at(now + step))
        given_now = list(ledger.grant(bounds, at(now + step)))
        assert names(given_now) == names(fresh.granted)
        left = [one for one in left if one not in given_now]
        slots |= {one.owner: Occupant(one.owner, one.story, one.queue) for one in given_now}
        places = {one.owner: ledger.why(one.owner, bounds, at(now + step)) for one in left}
        assert {owner: found.place for owner, found in places.items() if found} == {
            owner: found.place for owner, found in fresh.held.items()
        }
