"""The Story of examples/loops: a step for each item of a list, and a Story that is repeated until a condition holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.integration.commandline import REPOSITORY, CommandLine

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
    told = [int(number) for number in re.findall(r"Iteration (\d+) of at most 60", done.err)]
    assert told, done.err
    # Once each and in order. An iteration that takes a fraction of a second may be missed between two looks.
    assert told == sorted(set(told))
    assert told[-1] <= output["threshold"]
    assert re.search(r"read/0 \w+→Succeeded", done.err), done.err
    assert re.search(r"read/1 \w+→Succeeded", done.err), done.err

    assert line.bobrapet("up", "--quiet").code == 0
    listed = line.bobrapet("list", "--local", "--phase=Succeeded", "-oname").out.split()
    assert line.bobrapet("down").code == 0
    run = min(listed, key=len)
    assert sorted(listed) == sorted([run, *(f"{run}-search-{number + 1}" for number in range(output["threshold"]))])
    line.wait_until_nothing_runs()
