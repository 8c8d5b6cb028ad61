"""Count the hours at or above a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from tables import cities_of, read_table

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    table: str
    threshold: float


@dataclass
class HotHours:
    threshold: float
    hours: dict[str, int]


@engram
def main(ctx: Context, inputs: Inputs) -> HotHours:
    rows = read_table(inputs.table)
    hours = {city: sum(float(row[city]) >= inputs.threshold for row in rows) for city in cities_of(rows)}
    ctx.logger.info("hot hours counted", extra={"threshold": inputs.threshold, "hours": hours})
    return HotHours(inputs.threshold, hours)


if __name__ == "__main__":
    main.run()
