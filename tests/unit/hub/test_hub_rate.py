"""How fast messages pass. (hub/rate.py)"""

from __future__ import annotations

from hub.rate import PerMinute, RateMeter


def test_the_rate_is_that_of_the_time_since_the_last_look() -> None:
    meter = RateMeter()

    assert meter.look(100.0, 50, 7) == PerMinute(0, 0), "nothing is known yet"
    assert meter.look(110.0, 150, 8) == PerMinute(600, 6)
    assert meter.look(111.0, 150, 8) == PerMinute(0, 0)


def test_looks_in_quick_succession_do_not_make_a_rate_of_chance() -> None:
    meter = RateMeter()
    meter.look(0.0, 0, 0)
    meter.look(10.0, 100, 0)

    assert meter.look(10.1, 140, 0).received == 600
    assert meter.look(11.0, 140, 0).received == 2400, "over the whole second"


def test_counts_that_begin_again_are_no_negative_rate() -> None:
    meter = RateMeter()
    meter.look(0.0, 500, 500)

    assert meter.look(10.0, 3, 0) == PerMinute(0, 0)
