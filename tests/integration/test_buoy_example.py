"""The realtime Story of examples/buoy, with readings of our own: replayed, marked, summed up, drawn, and finished.

Or watched, and canceled by a user.
"""

from __future__ import annotations

import gzip
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ruamel.yaml import YAML

from tests.integration.commandline import DEADLINE_SECONDS, REPOSITORY, CommandLine, wait_until

BUOY = REPOSITORY / "examples" / "buoy"
DAYS = 6
STORM = 100
"""The reading at which the sea becomes three degrees warmer."""


def readings(folder: Path, days: int = DAYS) -> None:
    """A package with the data, as the example's engram looks for it."""
    data = folder / "bokeh_sampledata" / "_data"
    data.mkdir(parents=True)
    (folder / "bokeh_sampledata" / "__init__.py").write_text("raise ImportError('the example must not import it')\n")
    start = datetime(2016, 2, 15, tzinfo=UTC)
    rows = [
        f"{start + number * timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ},{5 + 3 * (number >= STORM)}.{number % 10}"
        for number in range(48 * days)
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


def facts(page: str) -> tuple[int, int]:
    """The numbers of readings and days that the page shows."""
    found = re.search(r"<p>([\d,]+) readings, (\d+) days", page)
    assert found is not None, page
    return int(found[1].replace(",", "")), int(found[2])


def test_the_page_grows_while_one_watches_and_has_everything_once_the_run_is_canceled(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    readings(tmp_path, days=1000)
    given = (f"--image-map={images(tmp_path)}", f"--input=report={tmp_path}", "--input=perSecond=500")
    file = tmp_path / "buoy.html"

    def grown(than: int) -> str:
        """The page, once it has more days. Before there is a page it has none."""

        def more() -> str:
            page = file.read_text() if file.exists() else ""
            return page if page and facts(page)[1] > than else ""

        return wait_until(more, seconds=DEADLINE_SECONDS)

    with line.started("run", str(BUOY / "manifests.yaml"), *given) as running:
        seen = 0
        for _ in range(3):
            page = grown(than=seen)
            assert "<small>live</small>" in page
            assert "http-equiv=refresh" in page
            seen = facts(page)[1]
        assert line.quick("cancel", "@latest:buoy", "--yes").code == 0
        out, err = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == 5, (out, err)
    for step in ("replay", "jumps", "days", "page"):
        assert re.search(rf" {step} \w+→Canceled", err), err

    page = file.read_text()
    assert "<small>live</small>" not in page
    assert "http-equiv=refresh" not in page
    shown, days = facts(page)
    sent = re.search(r" replay \w+→Canceled +out ([\d,]+)", err)
    assert sent is not None, err
    assert shown == int(sent[1].replace(",", "")), "nothing that was replayed is missing"
    assert days == -(-shown // 48) >= seen, "the last day is the one in which the user canceled the run"
    line.wait_until_nothing_runs()
