"""Large loads: ten thousand runs in one process, and Stories of a thousand steps."""

from __future__ import annotations

import trio

from bench.asleep import sleepers, waiters
from bench.report import Row
from bench.wide import large_stories


def measure() -> list[Row]:
    return [*trio.run(large_stories), *trio.run(sleepers), *trio.run(waiters)]
