"""Draw the days so far as a page that reloads itself: the range of each day, its mean, and the jumps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from bubu_sdk import Messages, StreamContext, stream

WIDTH, HEIGHT, LEFT, BOTTOM = 1000, 320, 46, 26
EACH_SECONDS = 0.4
"""The page is not written more often."""
STYLE = (
    "body{font:16px system-ui;margin:2rem auto;max-width:1000px;color:#1c2733}"
    "p{margin:.2rem 0}small{color:#68778a}svg{display:block;margin:1.2rem 0}"
)


@dataclass
class Config:
    file: str


@dataclass
class Day:
    day: str
    low: float
    mean: float
    high: float
    readings: int
    jumps: list[dict[str, Any]] = field(default_factory=list)


@stream
def main(ctx: StreamContext[Config], messages: Messages[Day]) -> None:
    days: dict[str, Day] = {}
    """By its name: one that is delivered again takes its own place."""
    written_at = 0.0
    for message in messages:
        days[message.data.day] = message.data
        if time.monotonic() - written_at >= EACH_SECONDS:
            write(Path(ctx.config.file), page([*days.values()], is_live=True))
            written_at = time.monotonic()
    if days:
        write(Path(ctx.config.file), page([*days.values()], is_live=False))


def write(file: Path, text: str) -> None:
    """Whole or not at all: a browser may read it at any time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def page(days: list[Day], *, is_live: bool) -> str:
    last = days[-1]
    jumps = [jump for day in days for jump in day.jumps]
    facts = [
        f"{sum(day.readings for day in days):,} readings, {len(days)} days, {len(jumps)} jump{'s'[len(jumps) == 1 :]}",
        f"{escape(last.day)}: {last.low:.1f} to {last.high:.1f} °C",
    ]
    if jumps:
        facts.append(
            f"latest jump: {jumps[-1]['jump']:+.1f} °C, {escape(str(jumps[-1]['time'])[:16].replace('T', ' '))}"
        )
    note = (
        "Half-hourly readings of a NERACOOS buoy, 2016 and 2017, replayed. The band is the range of a day; "
        "a red dot is a change of two degrees within six hours."
    )
    return "\n".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8><title>A buoy off New England</title>",
            "<meta http-equiv=refresh content=1>" if is_live else "",
            f"<style>{STYLE}</style>",
            f"<h1>The sea off New England{' <small>live</small>' if is_live else ''}</h1>",
            *(f"<p>{fact}</p>" for fact in facts),
            drawing(days),
            f"<small>{note}</small></html>",
        ]
    )


def drawing(days: list[Day]) -> str:
    low, high = min(day.low for day in days) - 1, max(day.high for day in days) + 1
    step = (WIDTH - LEFT) / max(len(days) - 1, 60)

    def x(number: int) -> float:
        return round(LEFT + number * step, 1)

    def y(celsius: float) -> float:
        return round((HEIGHT - BOTTOM) * (high - celsius) / (high - low), 1)

    upper = [f"{x(number)},{y(day.high)}" for number, day in enumerate(days)]
    lower = [f"{x(number)},{y(day.low)}" for number, day in enumerate(days)]
    means = [f"{x(number)},{y(day.mean)}" for number, day in enumerate(days)]
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(mark)}" y2="{y(mark)}" stroke="#e3e8ee"/>'
        f'<text x="{LEFT - 8}" y="{y(mark) + 4}" text-anchor="end">{mark}°</text>'
        for mark in range(int(low) + 1, int(high) + 1)
        if mark % 2 == 0
    ]
    months = [
        f'<text x="{x(number)}" y="{HEIGHT - 6}">{escape(day.day[:7])}</text>'
        for number, day in enumerate(days)
        if day.day[8:10] == "01" and day.day[5:7] in ("01", "04", "07", "10")
    ]
    dots = [
        f'<circle cx="{x(number)}" cy="{y(float(jump["celsius"]))}" r="4" fill="#d1345b"/>'
        for number, day in enumerate(days)
        for jump in day.jumps
    ]
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" fill="#68778a">',
            *lines,
            *months,
            f'<polygon points="{" ".join(upper + lower[::-1])}" fill="#8ec5e8" opacity=".7"/>',
            f'<polyline points="{" ".join(means)}" fill="none" stroke="#1f6f9f" stroke-width="1.5"/>',
            *dots,
            "</svg>",
        ]
    )


if __name__ == "__main__":
    main.run()
