"""Sum up each day when it is over: a window of time over the readings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from bubu_sdk import Messages, stream


@dataclass
class Reading:
    time: str
    celsius: float
    jump: float | None = None


@dataclass
class Day:
    day: str
    low: float
    mean: float
    high: float
    readings: int
    jumps: list[Reading]


@stream
def main(messages: Messages[Reading]) -> Iterator[Day]:
    """The last day is sent when the stream ends. A reading that is delivered again is known by its time."""
    today: list[Reading] = []
    latest = ""
    for message in messages:
        if message.data.time <= latest:
            continue
        latest = message.data.time
        if today and day_of(message.data) != day_of(today[0]):
            yield summary(today)
            today = []
        today.append(message.data)
    if today:
        yield summary(today)


def day_of(reading: Reading) -> str:
    return reading.time[:10]


def summary(readings: list[Reading]) -> Day:
    degrees = [reading.celsius for reading in readings]
    jumps = [reading for reading in readings if reading.jump is not None]
    return Day(day_of(readings[0]), min(degrees), round(fmean(degrees), 3), max(degrees), len(readings), jumps)


if __name__ == "__main__":
    main.run()
