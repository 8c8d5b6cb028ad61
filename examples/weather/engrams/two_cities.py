"""The Story of this folder in Python. It is the same as that in ``../manifests.yaml``.

bobrapet run examples/weather/engrams/two_cities.py -i data=$PWD/examples/weather/data -i report=$PWD/report
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from aggregate_months import main as aggregate_months
from compare_years import main as compare_years
from count_hot_hours import main as count_hot_hours
from draw_chart import main as draw_chart
from join_tables import main as join_tables
from read_table import main as read_temperatures
from write_report import main as write_report

from bubu_sdk.stories import as_json, story, when


@dataclass
class Inputs:
    data: Annotated[str, "Folder with the tables."]
    report: Annotated[str, "Folder the report is written to."]
    hot: Annotated[float, "From this many degrees Celsius an hour counts as hot."] = 20


@story(timeout="5m", step_timeout="1m")
def two_cities(inputs: Inputs) -> dict[str, Any]:
    work = f"{inputs.report}/work"
    read = []
    for city in ("Seattle", "San Francisco"):
        name = city.lower().replace(" ", "-")
        step = read_temperatures.options(name=f"read-{name}")
        read.append(step(city=city, file=f"{inputs.data}/{name}.csv", work=work))
    joined = join_tables.options(name="join")(tables=[one.table for one in read], work=work)
    months = aggregate_months.options(name="months")(table=joined.table)
    chart = draw_chart.options(name="chart")(months=months.months, file=f"{inputs.report}/temperatures.png")
    with when(months.highest > inputs.hot):
        hot = count_hot_hours.options(name="hot-hours")(table=joined.table, threshold=inputs.hot)
    earlier = compare_years.options(name="earlier-year", allow_failure=True)(
        months=months.months, file=f"{inputs.data}/earlier-year.csv"
    )
    report = write_report.options(name="report", after=[chart, hot, earlier])(
        folder=inputs.report,
        chart=chart.file,
        months=months.months,
        rows=joined.rows,
        dropped=[one.dropped for one in read],
        hot=as_json(hot, otherwise={}),
    )
    return {
        "report": report.markdown,
        "page": report.html,
        "chart": chart.file,
        "hours": joined.rows,
        "warmest": months.warmest,
    }


if __name__ == "__main__":
    two_cities.run()
