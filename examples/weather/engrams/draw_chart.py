"""Draw the monthly means, and the band between minimum and maximum, as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    months: list[dict[str, Any]]
    file: str
    title: str = "Hourly temperatures by month"


@dataclass
class Chart:
    file: str


@engram
def main(ctx: Context, inputs: Inputs) -> Chart:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    names = [month["month"] for month in inputs.months]
    for city, colour in zip(inputs.months[0]["cities"], ("#1f6f9f", "#c2571a"), strict=False):
        values = [month["cities"][city] for month in inputs.months]
        axes.fill_between(
            names, [v["lowest"] for v in values], [v["highest"] for v in values], alpha=0.15, color=colour
        )
        axes.plot(names, [v["mean"] for v in values], marker="o", color=colour, label=city)
    axes.set_title(inputs.title)
    axes.set_ylabel("°C (line: mean, band: lowest to highest hour)")
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(axis="x", rotation=45)
    axes.legend()
    file = Path(inputs.file)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    ctx.logger.info("chart drawn", extra={"file": str(file), "bytes": file.stat().st_size})
    return Chart(str(file))


if __name__ == "__main__":
    main.run()
