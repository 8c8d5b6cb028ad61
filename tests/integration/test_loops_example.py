"""The Story of examples/loops: a step for each item of a list, and a Story that is run until little enough is left."""

from __future__ import annotations

import json
from pathlib import Path

from commandline import REPOSITORY, CommandLine

LOOPS = REPOSITORY / "examples" / "loops"
DATA = REPOSITORY / "examples" / "weather" / "data"


def test_the_tables_are_read_side_by_side_and_the_search_ends_where_few_hours_are_left(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    given = (f"--input=data={DATA}", f"--input=work={tmp_path / 'work'}", "--input=most=8000")
    done = line.bobrapet(
        "run",
        f"{LOOPS / 'manifests.yaml'}",
        "--story=rare-heat",
        f"--image-map={LOOPS / 'images.yaml'}",
        "-ojson",
        *given,
    )

    assert done.code == 0, done.err
    output = json.loads(done.out)
    assert max(output["hours"].values()) <= 8000
    for number in range(int(output["threshold"])):
        assert f"Iteration {number + 1} of at most 60" in done.err
    assert f"Iteration {output['threshold'] + 1} of" not in done.err
    assert "read/0 Running→Succeeded" in done.err
    assert "read/1 Running→Succeeded" in done.err
    line.wait_until_nothing_runs()
