"""Write the report as Markdown and as one HTML page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    folder: str
    chart: str
    months: list[dict[str, Any]]
    rows: int
    dropped: list[int]
    hot: str
    """JSON; an empty object if the hours were not counted."""


@dataclass
class Report:
    markdown: str
    html: str


@engram
def main(ctx: Context, inputs: Inputs) -> Report:
    folder = Path(inputs.folder)
    markdown, page = folder / "report.md", folder / "report.html"
    markdown.write_text(as_markdown(inputs), encoding="utf-8")
    page.write_text(as_html(inputs), encoding="utf-8")
    ctx.logger.info("report written", extra={"markdown": str(markdown), "html": str(page)})
    return Report(str(markdown), str(page))


def cities(inputs: Inputs) -> list[str]:
    return list(inputs.months[0]["cities"])


def facts(inputs: Inputs) -> list[str]:
    lines = [f"{inputs.rows} hours known for both cities; {sum(inputs.dropped)} unreadable rows were dropped."]
    hot = json.loads(inputs.hot)
    if hot:
        counted = ", ".join(f"{city} {count}" for city, count in hot["hours"].items())
        lines.append(f"Hours of at least {hot['threshold']:g} °C: {counted}.")
    return lines


def as_markdown(inputs: Inputs) -> str:
    names = cities(inputs)
    head = ["| month | " + " | ".join(f"{city}: mean (lowest to highest) °C" for city in names) + " |"]
    head.append("|---|" + "---|" * len(names))
    body = [
        f"| {month['month']} | "
        + " | ".join("{mean} ({lowest} to {highest})".format(**month["cities"][city]) for city in names)
        + " |"
        for month in inputs.months
    ]
    title = f"# Temperatures of {' and '.join(names)}"
    chart = f"![monthly temperatures]({Path(inputs.chart).name})"
    return "\n\n".join([title, *facts(inputs), chart, "\n".join([*head, *body])]) + "\n"


def as_html(inputs: Inputs) -> str:
    names = cities(inputs)
    rows = "\n".join(
        f"<tr><th>{escape(month['month'])}</th>"
        + "".join(
            f"<td>{v['mean']}</td><td class=range>{v['lowest']} to {v['highest']}</td>"
            for v in (month["cities"][city] for city in names)
        )
        + "</tr>"
        for month in inputs.months
    )
    head = "".join(f"<th colspan=2>{escape(city)}: mean, range (°C)</th>" for city in names)
    title = f"Temperatures of {escape(' and '.join(names))}"
    paragraphs = "\n".join(f"<p>{escape(fact)}</p>" for fact in facts(inputs))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
img {{ max-width: 100% }} table {{ border-collapse: collapse }} th, td {{ padding: .25rem .75rem; text-align: right }}
tr {{ border-bottom: 1px solid #ddd }} .range {{ color: #777 }}
</style></head><body>
<h1>{title}</h1>
{paragraphs}
<img src="{escape(Path(inputs.chart).name)}" alt="Monthly temperatures of both cities">
<table><thead><tr><th>month</th>{head}</tr></thead><tbody>
{rows}
</tbody></table>
</body></html>
"""


if __name__ == "__main__":
    main.run()
