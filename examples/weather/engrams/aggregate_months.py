"""Compute the mean, minimum and maximum of every month and city."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypedDict

from tables import HOUR, cities_of, read_table

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    table: str


class Month(TypedDict):
    month: str
    cities: dict[str, dict[str, float]]


@dataclass
class Months:
    months: list[Month]
    warmest: dict[str, Any]
    highest: float


@engram
def main(ctx: Context, inputs: Inputs) -> Months:
    rows = read_table(inputs.table)
    cities = cities_of(rows)
    months: list[Month] = [
        {"month": month, "cities": {city: summary([float(row[city]) for row in hours]) for city in cities}}
        for month, group in groupby(rows, lambda row: row[HOUR][:7])
        for hours in [list(group)]
    ]
    warmest = max(((m["month"], city) for m in months for city in cities), key=lambda key: mean_of(months, *key))
    highest = max(values["highest"] for month in months for values in month["cities"].values())
    ctx.logger.info("months aggregated", extra={"months": len(months), "highest": highest})
    warm = {"month": warmest[0], "city": warmest[1], "mean": mean_of(months, *warmest)}
    return Months(months, warm, highest)


def summary(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(sum(values) / len(values), 1),
        "lowest": round(min(values), 1),
        "highest": round(max(values), 1),
    }


def mean_of(months: list[Month], month: str, city: str) -> float:
    return next(entry["cities"][city]["mean"] for entry in months if entry["month"] == month)


if __name__ == "__main__":
    main.run()
