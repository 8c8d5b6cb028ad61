"""When a step is done with everything. (hub/drain.py)"""

from __future__ import annotations

from hub.drain import DrainWatch


def look(watch: DrainWatch[str], now: float, *, is_empty: bool = True) -> bool:
    return watch.look("b", is_empty=is_empty, linger_seconds=0.25, now=now)


def test_a_step_is_drained_when_nothing_was_left_for_the_linger_time() -> None:
    watch = DrainWatch[str]()
    assert not look(watch, 1.0)
    assert not look(watch, 1.2)
    assert look(watch, 1.25)


def test_what_comes_meanwhile_starts_the_time_again() -> None:
    watch = DrainWatch[str]()
    look(watch, 1.0)
    assert not look(watch, 1.2, is_empty=False)
    assert not look(watch, 1.3)
    assert look(watch, 1.55)


def test_it_stays_drained_until_it_is_forgotten() -> None:
    watch = DrainWatch[str]()
    look(watch, 0.0)
    look(watch, 1.0)
    assert watch.is_drained("b")
    assert look(watch, 2.0, is_empty=False)
    watch.forget("b")
    assert not watch.is_drained("b")
    assert not look(watch, 3.0)
