"""The tables that these engrams exchange: CSV files with an ISO hour and one column of degrees Celsius per city."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

HOUR = "hour"


def read_table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
    """Writes the whole table or nothing, so that a retried step never leaves half a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def cities_of(rows: list[dict[str, str]]) -> list[str]:
    return [column for column in rows[0] if column != HOUR]
