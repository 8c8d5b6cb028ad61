"""``init`` on the command line: the project that it writes is sound, tested and runs as its README says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import DEADLINE_SECONDS, REPOSITORY, CommandLine


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    yield line
    line.wait_until_nothing_runs()


def test_the_project_is_sound_tested_and_runs(example_line: CommandLine) -> None:
    line = example_line
    done = line.quick("init", "words")
    assert (done.code, done.out.splitlines()[0]) == (0, "words/story.yaml")

    linted = line.quick("lint", "words/story.yaml", "--fail-on", "warning")
    assert (linted.code, linted.err) == (0, "3 documents in 1 file: 0 errors, 0 warnings\n")

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "-W", "error"],
        cwd=line.folder / "words",
        env=line.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert tested.returncode == 0, tested.stdout
    assert "3 passed" in tested.stdout

    (said,) = re.findall(r"^run it with: bobrapet (.*)$", done.err, re.MULTILINE)
    ran = line.bobrapet(*shlex.split(said), "-o", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {"words": 6, "most_common": ["be", "to", "not"]}


def test_a_dry_run_prints_the_files_and_writes_none(line: CommandLine) -> None:
    done = line.quick("init", "words", "--dry-run=client")

    assert done.code == 0
    assert "==> words/story.yaml <==\n# The program, once for the cluster.\n" in done.out
    assert done.out.count("==> ") == 6
    assert not (line.folder / "words").exists()


def test_files_that_exist_stay_and_are_named(line: CommandLine) -> None:
    line.file("README.md", "mine")
    line.file("story.yaml", "mine")

    for options in ((), ("--dry-run=client",)):
        done = line.quick("init", *options)
        assert done.code == 1
        assert done.err == (
            "error: story.yaml exists\nREADME.md exists\n"
            "hint: nothing was written; choose another folder, or move these files away\n"
        )
    assert (line.folder / "README.md").read_text() == "mine"
    assert not (line.folder / "count_words.py").exists()


def test_wrong_options_are_refused(line: CommandLine) -> None:
    assert line.quick("init", "--dry-run=server").code == 2
    assert line.quick("init", "-o", "json").code == 2


def test_images_take_the_sdk_from_the_wheel_that_a_checkout_builds(line: CommandLine) -> None:
    line.quick("init", "words")
    pages = [*(REPOSITORY / "docs").glob("*.md"), line.folder / "words" / "Dockerfile"]
    installing = [row for page in pages for row in page.read_text().splitlines() if row.startswith("RUN pip install")]

    assert set(installing) == {"RUN pip install --no-cache-dir --find-links /wheels bubu-sdk"}
    assert len(installing) == 3
    assert "COPY wheels /wheels" in (line.folder / "words" / "Dockerfile").read_text()
