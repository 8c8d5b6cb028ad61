"""The Story of examples/loops: a step for each item of a list, and a Story that is repeated until a condition holds."""

from __future__ import annotations

import json
import re

from tests.integration.commandline import REPOSITORY, CommandLine

LOOPS = REPOSITORY / "examples" / "loops"
DATA = REPOSITORY / "examples" / "weather" / "data"


def test_the_tables_are_read_side_by_side_and_the_search_ends_where_few_hours_are_left(
    example_line: CommandLine,
) -> None:
    line = example_line
    assert line.quick("up", f"--image-map={LOOPS / 'images.yaml'}").code == 0
    given = (f"--input=data={DATA}", f"--input=work={line.folder / 'work'}", "--input=most=8000")
    done = line.quick("run", f"{LOOPS / 'manifests.yaml'}", "--local", "--story=rare-heat", "-ojson", *given)

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

    run = line.quick("get", "@latest:rare-heat", "--local", "-oname").out.strip()
    listed = line.quick("list", "--local", "--phase=Succeeded", "-oname").out.split()
    found = [each for each in listed if each == run or each.startswith(f"{run}-search-")]
    assert sorted(found) == sorted([run, *(f"{run}-search-{number + 1}" for number in range(output["threshold"]))])
