"""Prints figures as rows of a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was measured, the value with its unit, and its target, if any."""

    what: str
    value: str
    target: str = ""


def print_table(title: str, rows: Sequence[Row]) -> None:
    print(f"\n### {title}\n\n| what | measured | target |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.value} | {row.target} |")


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolates linearly; a single value is returned for each percentile."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[min(int(percent * 10) - 1, 998)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
