"""Large loads: ten thousand runs in one process, and Stories of a thousand steps."""

from __future__ import annotations

import trio

from bench.asleep import sleepers, waiters
from bench.due_at_once import wakes_in_one_second
from bench.report import Row
from bench.wide import large_stories


def measure() -> list[Row]:
    measured = (large_stories, sleepers, wakes_in_one_second, waiters)
    return [row for measurement in measured for row in trio.run(measurement)]
