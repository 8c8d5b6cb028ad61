"""A Story in Python on the embedded cluster: the weather example runs as it does from YAML, and a function that fails
says why.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bubu_sdk.stories import Story
from bubu_sdk.testing import StoryRunner
from tests.integration.commandline import BOBRAPET, REPOSITORY, CommandLine

WEATHER = REPOSITORY / "examples" / "weather"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    line = CommandLine(tmp_path)
    for name, value in line.env.items():
        monkeypatch.setenv(name, value)
    return line


@pytest.fixture
def run_story(line: CommandLine) -> Iterator[StoryRunner]:
    runner = StoryRunner(line.data, command=BOBRAPET)
    yield runner
    runner.close()
    line.wait_until_nothing_runs()


@pytest.fixture
def two_cities(monkeypatch: pytest.MonkeyPatch) -> Iterator[Story[Any]]:
    """Its file, imported as a test beside it would."""
    monkeypatch.syspath_prepend(str(WEATHER / "engrams"))
    before = set(sys.modules)
    found: Story[Any] = importlib.import_module("two_cities").two_cities
    yield found
    for name in set(sys.modules) - before:
        if str(WEATHER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_example_runs_alike_from_python_and_from_yaml(
    line: CommandLine, run_story: StoryRunner, two_cities: Story[Any]
) -> None:
    inputs = {"data": str(WEATHER / "data"), "report": str(line.folder / "report"), "hot": 20}

    python = run_story(two_cities, inputs)

    assert python.succeeded, python.progress
    assert re.search(r"hot-hours (Pending|Running)→Succeeded", python.progress), python.progress
    page = Path(python.output["page"]).read_text()
    yaml = line.quick(
        "run",
        str(WEATHER / "manifests.yaml"),
        f"--image-map={WEATHER / 'images.yaml'}",
        "-ojson",
        *(f"--input={name}={value}" for name, value in inputs.items()),
    )
    assert yaml.code == 0, yaml.err
    assert json.loads(yaml.out) == python.output
    assert Path(python.output["page"]).read_text() == page

    nothing_hot = run_story(two_cities, {**inputs, "hot": 100})
    assert nothing_hot.succeeded, nothing_hot.progress
    assert "hot-hours Pending→Skipped" in nothing_hot.progress

    (line.folder / "broken.py").write_text(
        "from bubu_sdk import engram\n"
        "from bubu_sdk.stories import story\n"
        "@engram\ndef break_off(ctx):\n    raise ValueError('out of paper')\n"
        "@story\ndef broken():\n    break_off()\n"
    )
    failed = line.quick("run", "broken.py")
    assert failed.code != 0
    assert "out of paper" in failed.err
