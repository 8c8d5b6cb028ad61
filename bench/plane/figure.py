"""Figures of the control plane: they are stored in a file and compared with those of an earlier run.

Absolute figures are valid for one machine. Between machines, ratios are compared: a figure divided by another figure of
the same run (runs by bare Jobs), and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.report import Row, Unit, Value

BASELINE = Path(__file__).with_name("baseline.json")
NOTABLE = 0.1
"""A ratio that differs by more is marked."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``key`` is its name in files, ``what`` its name for readers. ``ratio``: it is comparable between machines."""

    key: str
    what: str
    value: float
    unit: str = ""
    ratio: bool = False
    at_most: float | None = None
    at_least: float | None = None


def write_figures(figures: Iterable[Figure], path: Path) -> None:
    """Writes JSON: key → value, unit, and whether it is a ratio."""
    content = {
        figure.key: {"value": round(figure.value, 4), "unit": figure.unit, "ratio": figure.ratio} for figure in figures
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_figures(path: Path) -> dict[str, float]:
    """Key → value; empty if the file does not exist yet."""
    if not path.exists():
        return {}
    return {key: entry["value"] for key, entry in orjson.loads(path.read_bytes()).items()}


def as_rows(figures: Sequence[Figure], baseline: Mapping[str, float]) -> list[Row]:
    return [Row(figure.what, _value(figure, baseline.get(figure.key))) for figure in figures]


def _value(figure: Figure, before: float | None) -> Value:
    digits = 0 if figure.unit in ("/min", "MiB", "KiB") else 2 if figure.ratio and not figure.unit else 1
    unit = Unit(figure.unit if figure.unit[:1] in ("", "/") else f" {figure.unit}", digits=digits)
    note = ""
    if before is not None and figure.ratio:
        notable = abs(figure.value - before) > NOTABLE * max(abs(before), 1e-9)
        note = f" (baseline {before:.{digits}f}{', **changed**' if notable else ''})"
    return Value(figure.value, unit, at_most=figure.at_most, at_least=figure.at_least, note=note)
