"""Measures large loads: ten thousand runs in one process, and Stories of a thousand steps."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from bench.asleep import sleepers, waiters
from bench.due_at_once import wakes_within
from bench.report import Row
from bench.wide import large_stories

SPREAD_SECONDS: Final = 150.0
"""Enough time for an operator to do the work of 10,000 runs that fall due."""


def measure() -> list[Row]:
    due = (partial(wakes_within, 1.0, 200), partial(wakes_within, 1.0), partial(wakes_within, SPREAD_SECONDS))
    measured = (large_stories, sleepers, *due, waiters)
    return [row for measurement in measured for row in trio.run(measurement)]
