"""Mark readings where the sea has become much warmer or colder within hours: a storm, or water from elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from bubu_sdk import Messages, StreamContext, stream


@dataclass
class Config:
    degrees: float = 2.0
    hours: float = 6.0


@dataclass
class Reading:
    time: str
    celsius: float


@dataclass
class Marked(Reading):
    jump: float | None = None
    """Degrees; None: the reading is ordinary, or belongs to a jump that has been marked."""


@stream
def main(ctx: StreamContext[Config], messages: Messages[Reading]) -> Iterator[Marked]:
    """The state is a window of hours; a new process begins with an empty one. A reading that comes again is known
    by its time.
    """
    window: deque[float] = deque(maxlen=max(1, int(ctx.config.hours * 2)))
    is_jumping, latest = False, ""
    for message in messages:
        reading = message.data
        if reading.time <= latest:
            continue
        latest = reading.time
        change = max((reading.celsius - earlier for earlier in window), key=abs, default=0.0)
        is_new = abs(change) >= ctx.config.degrees and not is_jumping
        is_jumping = abs(change) >= ctx.config.degrees
        window.append(reading.celsius)
        yield Marked(reading.time, reading.celsius, round(change, 2) if is_new else None)


if __name__ == "__main__":
    main.run()
