"""The weather example on the embedded cluster: with an output cache a second run executes nothing, and without one
another run reuses what has succeeded.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.commandline import CommandLine

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FAILS_ON_PURPOSE = "    - name: earlier-year\n"
NEXT = "    - name: report\n"
STEPS = {"read-seattle", "read-san-francisco", "join", "months", "chart", "hot-hours", "report"}
POLICY = "  policy:\n    execution: {cache: {}}\n"


@pytest.fixture
def line(example_line: CommandLine) -> CommandLine:
    assert example_line.quick("up", f"--image-map={EXAMPLES / 'weather' / 'images.yaml'}").code == 0
    return example_line


def cached_story() -> str:
    """The example's definitions, with a cache for all steps, and without the step that always fails: a failure is not
    cached.
    """
    text = (EXAMPLES / "weather" / "manifests.yaml").read_text()
    head, _, rest = text.partition(FAILS_ON_PURPOSE)
    text = f"{head}{NEXT}{rest.partition(NEXT)[2]}".replace("[chart, hot-hours, earlier-year]", "[chart, hot-hours]")
    assert text.count("  policy:\n") == 1
    return text.replace("  policy:\n", POLICY)


def output_of(line: CommandLine, run: str) -> object:
    return json.loads(line.quick("outputs", run, "--local", "-ojson").out)


def cached_steps(line: CommandLine, run: str) -> set[str]:
    """The steps that are shown to be from the cache, without an attempt. A watch may begin too late for the first."""
    shown = line.quick("get", run, "--local", "--ascii").out
    return set(re.findall(r"^(\S+) +Succeeded\b.* cached, from two-cities-\w+$", shown, re.M))


def test_a_second_run_of_the_weather_example_executes_nothing(line: CommandLine) -> None:
    files = [str(EXAMPLES / "store.yaml"), line.file("weather.yaml", cached_story())]
    inputs = [f"--input=data={EXAMPLES / 'weather' / 'data'}", f"--input=report={line.folder / 'report'}"]
    first = line.quick("run", *files, "--local", "--story=two-cities", "-ojson", *inputs)
    assert first.code == 0, first.err
    again = line.quick("submit", "two-cities", "--local", "--name=again", "--watch", *inputs)
    assert again.code == 0, again.err

    assert output_of(line, "again") == json.loads(first.out)
    assert cached_steps(line, "again") == STEPS
    anew = line.quick("resubmit", "again", "--local", "--name=anew", "--no-cache", "--watch")
    assert anew.code == 0, anew.err
    assert output_of(line, "anew") == json.loads(first.out)
    assert cached_steps(line, "anew") == set()


def test_without_a_cache_another_run_reuses_what_has_succeeded(line: CommandLine) -> None:
    """The example as it is; the step that fails on purpose executes again."""
    files = [str(EXAMPLES / "store.yaml"), str(EXAMPLES / "weather" / "manifests.yaml")]
    inputs = [f"--input=data={EXAMPLES / 'weather' / 'data'}", f"--input=report={line.folder / 'report'}"]
    first = line.quick("run", *files, "--local", "--story=two-cities", "-ojson", *inputs)
    assert first.code == 0, first.err
    run = "@latest:two-cities"
    again = line.quick("resubmit", run, "--local", "--name=reusing", "--reuse-cache", "--watch")
    assert again.code == 0, again.err

    assert output_of(line, "reusing") == json.loads(first.out)
    assert cached_steps(line, "reusing") == STEPS
    contradiction = line.quick("resubmit", "reusing", "--local", "--reuse-cache", "--no-cache")
    assert contradiction.code == 2
    assert "--no-cache and --reuse-cache exclude each other" in contradiction.err
