"""Replay what a buoy has measured: the sea's temperature each half hour, faster than it was."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bubu_sdk import StreamContext, stream


@dataclass
class Config:
    per_second: float = 200.0
    """Readings; the buoy sent one each half hour."""
    first: int = 0
    last: int = 1_000_000


@dataclass
class Reading:
    time: str
    """RFC 3339, UTC."""
    celsius: float


@stream
def main(ctx: StreamContext[Config]) -> Iterator[Reading]:
    began_at = time.monotonic()
    for number, reading in enumerate(readings()[ctx.config.first : ctx.config.last]):
        time.sleep(max(0.0, began_at + number / ctx.config.per_second - time.monotonic()))
        yield reading


def readings() -> list[Reading]:
    """All of them, oldest first. The package that carries the data would import pandas, so it is not imported."""
    found = find_spec("bokeh_sampledata")
    if found is None or found.origin is None:
        raise SystemExit("the data is missing; run: uv pip install --no-deps -r examples/buoy/requirements.txt")
    with gzip.open(Path(found.origin).parent / "_data" / "sea_surface_temperature.csv.gz", "rt") as file:
        rows = csv.reader(file)
        next(rows)
        return [Reading(at, float(celsius)) for at, celsius in rows]


if __name__ == "__main__":
    main.run()
