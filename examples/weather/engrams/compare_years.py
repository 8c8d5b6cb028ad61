"""Compare with an earlier year. If that year's table is missing, the step fails, and its Story allows this failure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import HOUR, read_table

from bubu_sdk import Context, EngramError, ErrorType, engram


@dataclass
class Inputs:
    months: list[dict[str, Any]]
    file: str


@dataclass
class Changes:
    changes: dict[str, float]


@engram
def main(ctx: Context, inputs: Inputs) -> Changes:
    if not Path(inputs.file).is_file():
        raise EngramError(f"no table of an earlier year at {inputs.file}", type=ErrorType.VALIDATION)
    earlier = {row[HOUR]: row for row in read_table(inputs.file)}
    changes = {
        f"{month['month']} {city}": round(values["mean"] - float(earlier[month["month"]][city]), 1)
        for month in inputs.months
        for city, values in month["cities"].items()
        if month["month"] in earlier
    }
    ctx.logger.info("years compared", extra={"months": len(changes)})
    return Changes(changes)


if __name__ == "__main__":
    main.run()
