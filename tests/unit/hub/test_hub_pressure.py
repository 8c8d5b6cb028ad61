"""Pressure holds exactly the producers of a full consumer, and lets each go when nobody holds it. (hub/pressure.py)"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.pressure import FillGate, Pressure, ReadingClock


def test_a_gate_closes_at_one_level_and_opens_at_another() -> None:
    gate = FillGate(90, 50)

    changes = [(level, gate.update(level), gate.is_closed) for level in (89, 90, 70, 51, 50, 60, 100)]

    assert changes == [
        (89, False, False),
        (90, True, True),
        (70, False, True),
        (51, False, True),
        (50, True, False),
        (60, False, False),
        (100, True, True),
    ]


def test_a_producer_goes_on_when_its_last_consumer_has_room() -> None:
    pressure = Pressure({"left": ("source", "other"), "right": ("source",), "source": (), "other": ()})
    pressure.hold("left")
    pressure.hold("right")

    assert pressure.holders("source") == ("left", "right")
    assert pressure.release("left") == ("other",)
    assert pressure.is_held("source")
    assert pressure.release("left") == ()
    assert pressure.release("right") == ("source",)
    assert not pressure.is_held("source")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=30))
def test_a_producer_is_held_if_and_only_if_a_consumer_of_it_is_full(changes: list[tuple[bool, int]]) -> None:
    producers = {"c0": ("p0", "p1"), "c1": ("p1", "p2"), "c2": ("p0",), "c3": ()}
    pressure = Pressure(producers)
    full: set[str] = set()
    for is_full, number in changes:
        consumer = f"c{number}"
        before = {name for name in ("p0", "p1", "p2") if pressure.is_held(name)}
        if is_full:
            pressure.hold(consumer)
            full.add(consumer)
        else:
            freed = pressure.release(consumer)
            full.discard(consumer)
            assert set(freed) == before - {name for name in ("p0", "p1", "p2") if pressure.is_held(name)}
        for name in ("p0", "p1", "p2"):
            assert set(pressure.holders(name)) == {each for each in full if name in producers[each]}


def test_time_does_not_count_while_a_step_is_held() -> None:
    clock = ReadingClock(10.0)

    assert clock.read(12.0) == 2.0
    clock.run(12.0, running=False)
    clock.run(13.0, running=False)
    assert (clock.read(20.0), clock.is_running) == (2.0, False)
    clock.run(20.0, running=True)
    clock.run(21.0, running=True)
    assert clock.read(21.5) == 3.5
