"""Three streaming Engrams for the pictures of the docs: readings, marks, and a sink that is slow on request.

``pressure.py measure|mark|store FOLDER``: while ``FOLDER/slow`` is there, the sink takes ten messages a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Messages, StreamContext, stream

PAUSE_SECONDS = 0.04
"""Between two readings."""
SLOW_SECONDS = 0.1


@dataclass
class Reading:
    n: int


@stream
def measure(ctx: StreamContext) -> Iterator[Reading]:
    number = 0
    while not ctx.cancelled.wait(PAUSE_SECONDS):
        yield Reading(number)
        number += 1


@stream
def mark(messages: Messages[Reading]) -> Iterator[Reading]:
    for message in messages:
        yield message.data


@stream
def store(messages: Messages[Reading]) -> None:
    slow = Path(sys.argv[2]) / "slow"
    for _ in messages:
        if slow.exists():
            time.sleep(SLOW_SECONDS)


if __name__ == "__main__":
    {"measure": measure, "mark": mark, "store": store}[sys.argv[1]].run()
