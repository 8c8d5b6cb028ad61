"""The realtime Story of examples/buoy, with readings of our own: replayed, marked, summed up, drawn, and finished."""

from __future__ import annotations

import gzip
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ruamel.yaml import YAML

from tests.integration.commandline import REPOSITORY, CommandLine

BUOY = REPOSITORY / "examples" / "buoy"
DAYS = 6
STORM = 100
"""The reading at which the sea becomes three degrees warmer."""


def readings(folder: Path) -> None:
    """A package with the data, as the example's engram looks for it."""
    data = folder / "bokeh_sampledata" / "_data"
    data.mkdir(parents=True)
    (folder / "bokeh_sampledata" / "__init__.py").write_text("raise ImportError('the example must not import it')\n")
    start = datetime(2016, 2, 15, tzinfo=UTC)
    rows = [
        f"{start + number * timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ},{5 + 3 * (number >= STORM)}.{number % 10}"
        for number in range(48 * DAYS)
    ]
    with gzip.open(data / "sea_surface_temperature.csv.gz", "wt") as file:
        file.write("time (UTC),temperature (celsius)\n" + "\n".join(rows) + "\n")


def images(folder: Path) -> Path:
    """The example's programs, with our package in front of others."""
    yaml = YAML(typ="safe", pure=True)
    declared = yaml.load(BUOY / "images.yaml")["images"]
    for image in declared.values():
        program = BUOY / image["command"][1]
        run = f"runpy.run_path({str(program)!r}, run_name='__main__')"
        image["command"] = [sys.executable, "-c", f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); {run}"]
    file = folder / "images.yaml"
    yaml.dump({"images": declared}, file)
    return file


def test_a_buoy_is_replayed_to_its_end_and_the_page_has_every_day(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    readings(tmp_path)
    given = (f"--image-map={images(tmp_path)}", f"--input=report={tmp_path}", "--input=perSecond=2000")

    done = line.bobrapet("run", str(BUOY / "manifests.yaml"), *given)

    assert done.code == 0, done.err
    for step in ("replay", "jumps", "days", "page"):
        assert re.search(rf" {step} \w+→Succeeded", done.err), done.err
    page = (tmp_path / "buoy.html").read_text()
    facts = re.findall(r"<p>(.*?)</p>", page)
    assert facts[0] == f"{48 * DAYS} readings, {DAYS} days, 1 jump", (facts, done.err)
    assert "2016-02-20: 8.0 to 8.9 °C" in page
    assert "<small>live</small>" not in page
    assert "refresh" not in page
    line.wait_until_nothing_runs()
