"""The fixture that runs Stories in tests: one cluster for all, and what the command says about a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bubu_sdk import Context, engram
from bubu_sdk.stories import story
from bubu_sdk.testing import StoryRunner

COMMAND = """
import json, sys
words = sys.argv[1:]
with open({calls!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
if words[0] == "run":
    inputs = json.load(sys.stdin)
    sys.stderr.write("progress")
    if inputs.get("fail"):
        sys.exit(3)
    print(json.dumps(inputs))
if words[0] == {refused!r}:
    sys.exit("no space")
"""


@engram
def count(ctx: Context) -> dict[str, int]:
    del ctx
    return {}


@story
def letters() -> None:
    count()


def runner(folder: Path, refused: str = "") -> StoryRunner:
    program = folder / "bobrapet.py"
    program.write_text(COMMAND.format(calls=str(folder / "calls"), refused=refused))
    return StoryRunner(folder / "data", command=[sys.executable, str(program)], image_map=Path("images.yaml"))


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_one_cluster_serves_all_runs(tmp_path: Path) -> None:
    run = runner(tmp_path)

    good, bad = run(letters, {"text": "a"}), run(letters, {"fail": True})
    run.close()
    run.close()

    assert (good.succeeded, good.output, good.progress) == (True, {"text": "a"}, "progress")
    assert (bad.succeeded, bad.exit_code, bad.output) == (False, 3, None)
    data = f"--data={tmp_path / 'data'}"
    started = ["run", __file__, "--story=letters", "--inputs=-", "--output=json", "--image-map=images.yaml", data]
    assert calls(tmp_path) == [["up", "--quiet", data], started, started, ["down", data]]


def test_a_cluster_that_does_not_start_says_why(tmp_path: Path) -> None:
    run = runner(tmp_path, refused="up")

    with pytest.raises(RuntimeError, match="the embedded cluster does not start: no space"):
        run(letters)
    run.close()
    assert [words[0] for words in calls(tmp_path)] == ["up"]


def test_without_the_command_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match="pip install bobrapet"):
        StoryRunner(tmp_path)
