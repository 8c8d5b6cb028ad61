"""Draws the pictures of docs/monitoring.md from a real run: ``python -m tests.e2e.observability.pictures [MINUTES]``.

It opens the stage, plays the load, asks a real Prometheus every query of every dashboard as it is shipped, and draws
the panels where Grafana would. ``--keep FILE`` keeps the answers; ``--from FILE`` draws them again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from core.api.objects import Object
from core.engine.clock import system_now
from deployment.observability.dashboards import Dashboard, dashboards
from tests.e2e.observability.drawing import draw
from tests.e2e.observability.load import play
from tests.e2e.observability.prometheus import Prometheus
from tests.e2e.observability.stage import open_stage

ROOT: Final = Path(__file__).parents[3]
PICTURES: Final = ROOT / "docs/pictures"
SCRAPE_SECONDS: Final = 5
RATE_WINDOW: Final = "30s"
"""What Grafana takes for ``$__rate_interval``: more than four scrapes."""


async def answers(prometheus: Prometheus, start: float, end: float) -> Object:
    """Dashboard → panel → its lines: legend, instants, values."""
    found: Object = {"start": start, "end": end, "boards": {}}
    for board in dashboards():
        panels: Object = {}
        found["boards"][board.name] = panels
        for panel in board.document["panels"]:
            lines: list[Any] = []
            panels[str(panel["id"])] = lines
            for target in panel.get("targets", ()):
                expression = filled_in(target["expr"], job_of(board))
                series = (
                    await prometheus.at(expression)
                    if target["instant"]
                    else await prometheus.over(expression, start, end, SCRAPE_SECONDS)
                )
                lines += [[legend_of(target["legendFormat"], line.labels), list(line.points)] for line in series]
    return found


def job_of(board: Dashboard) -> str:
    """The job that is chosen when it is opened."""
    (job,) = (each for each in board.document["templating"]["list"] if each["name"] == "job")
    return str(job["current"]["value"])


def filled_in(expression: str, job: str) -> str:
    """The expression as Grafana sends it, with all namespaces chosen."""
    values = {"$__rate_interval": RATE_WINDOW, "$namespace": ".*", "$job": job}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def legend_of(template: str, labels: Any) -> str:
    if template == "__auto":
        return ""
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


async def record(minutes: float) -> Object:
    with tempfile.TemporaryDirectory() as folder:
        async with open_stage(Path(folder), f"{SCRAPE_SECONDS}s") as stage:
            began_at = system_now().timestamp()
            await play(stage, minutes * 60)
            found = await answers(stage.prometheus, began_at, system_now().timestamp())
            print(f"alerts: {sorted(await stage.prometheus.firing())}", file=sys.stderr)
            return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.observability.pictures")
    parser.add_argument("minutes", nargs="?", type=float, default=12)
    parser.add_argument("--keep", type=Path, help="write the answers of Prometheus there")
    parser.add_argument("--from", dest="source", type=Path, help="draw these answers instead of a new run")
    options = parser.parse_args(arguments)
    found = json.loads(options.source.read_text()) if options.source else trio.run(record, options.minutes)
    if options.keep:
        options.keep.write_text(json.dumps(found))
    PICTURES.mkdir(exist_ok=True)
    for board in dashboards():
        draw(
            board.document, found["boards"][board.name], (found["start"], found["end"]), PICTURES / f"{board.name}.png"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
