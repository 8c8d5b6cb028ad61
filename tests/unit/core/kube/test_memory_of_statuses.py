"""Steps with the largest possible statuses do not fill an operator's memory.

``bench.live_steps`` measures all of it.
"""

from __future__ import annotations

from bench.live_steps import measure

STEPS = 150
MIB_OF_A_STEP = 0.7
"""Two strings of 128 KiB, one for the informer and one for templates, and what the allocator keeps. Parsed, it would be
1.6.
"""
MIB_ON_THE_WAY = 60
"""A parsed page of a list, and the data that a run's templates see."""


def test_a_live_step_with_the_largest_status_takes_little_more_than_its_text() -> None:
    cost = measure(STEPS)

    assert cost.after - cost.before < STEPS * MIB_OF_A_STEP
    assert cost.peak - cost.before < STEPS * MIB_OF_A_STEP + MIB_ON_THE_WAY
