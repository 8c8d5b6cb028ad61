"""Join tables by hour; hours that are missing in one of them are left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tables import HOUR, cities_of, read_table, write_table

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    tables: list[str]
    work: str


@dataclass
class Joined:
    table: str
    rows: int
    cities: list[str]


@engram
def main(ctx: Context, inputs: Inputs) -> Joined:
    joined: dict[str, dict[str, str]] = {}
    cities: list[str] = []
    for path in inputs.tables:
        rows = read_table(path)
        cities += cities_of(rows)
        for row in rows:
            joined.setdefault(row[HOUR], {}).update(row)
    complete = [row for _, row in sorted(joined.items()) if len(row) == len(cities) + 1]
    table = Path(inputs.work) / "joined.csv"
    write_table(table, [HOUR, *cities], complete)
    ctx.logger.info("tables joined", extra={"rows": len(complete), "left_out": len(joined) - len(complete)})
    return Joined(str(table), len(complete), cities)


if __name__ == "__main__":
    main.run()
