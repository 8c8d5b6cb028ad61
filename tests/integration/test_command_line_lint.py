"""``lint`` and ``convert`` on the command line: files, folders, standard input, and a cluster beside them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, MANIFESTS, CommandLine

STORY = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: report}
spec:
  steps:
    - name: fetch
      ref: {name: worker}
      with: {url: "{{ inputs.url }}"}  # where from
    - name: nap
      sleep: {duration: 5m}
"""
WRONG = STORY.replace("5m", "soon")
CALL = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: caller}
spec:
  steps:
    - {name: call, type: executeStory, with: {storyRef: {name: their-story}}}
    - {name: work, ref: {name: their-engram}}
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A command line without a cluster. A cluster that a command starts must be gone at the end."""
    line = CommandLine(tmp_path)
    yield line
    assert not line.processes()


def test_sound_files_are_clean(line: CommandLine) -> None:
    line.file("all.yaml", f"{MANIFESTS}---\n{STORY}")
    done = line.quick("lint", "all.yaml")
    assert (done.code, done.out, done.err) == (0, "", "3 documents in 1 file: 0 errors, 0 warnings\n")


def test_findings_name_file_line_and_column_and_end_with_7(line: CommandLine) -> None:
    (line.folder / "below").mkdir()
    line.file("below/story.yml", WRONG)
    line.file("engram.yaml", MANIFESTS)
    done = line.quick("lint", ".")
    assert done.code == 7
    assert done.out == (
        "below/story.yml:10:15: error: spec.steps[1].sleep.duration: 'soon' is not a duration "
        "(write for example 30s, 5m or 1h30m) [story/sleep-duration]\n"
    )
    assert done.err == "3 documents in 2 files: 1 error, 0 warnings\n"
    assert line.quick("lint", ".", "--quiet").err == ""
    assert line.quick("lint", "-", stdin=WRONG).out.startswith("<stdin>:10:15: error: ")


def test_warnings_fail_only_where_they_are_told_to(line: CommandLine) -> None:
    line.file("story.yaml", STORY.replace("sleep: {duration: 5m}", "stop: {phase: Bored}"))
    done = line.quick("lint", "story.yaml")
    assert done.code == 0
    assert "warning: spec.steps[1].stop.phase: must be a phase" in done.out
    assert line.quick("lint", "story.yaml", "--fail-on", "warning").code == 7


def test_programs_get_json_sarif_and_workflow_commands(line: CommandLine) -> None:
    line.file("story.yaml", WRONG)
    found = json.loads(line.quick("lint", "story.yaml", "-o", "json").out)
    assert (found["errors"], found["findings"][0]["rule"]) == (1, "story/sleep-duration")
    log = json.loads(line.quick("lint", "story.yaml", "--output=sarif").out)
    assert log["runs"][0]["results"][0]["ruleId"] == "story/sleep-duration"
    assert line.quick("lint", "story.yaml", "-o", "github").out.startswith("::error file=story.yaml,line=10,col=15,")
    wrong = line.quick("lint", "story.yaml", "-o", "xml")
    assert (wrong.code, wrong.out) == (2, "")
    assert "use one of text, json, sarif, github" in wrong.err


def test_files_that_are_not_there_are_an_error_of_the_command(line: CommandLine) -> None:
    for arguments, message in [
        (("missing.yaml",), "error: missing.yaml does not exist\n"),
        ((line.file("empty.yaml", "# nothing\n"),), "error: no manifest in empty.yaml\n"),
    ]:
        done = line.quick("lint", *arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(message)


def test_on_a_terminal_the_line_is_shown_with_a_mark(line: CommandLine) -> None:
    line.file("story.yaml", WRONG)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*BOBRAPET, "lint", "story.yaml"],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**line.env, "TERM": "xterm"},
        cwd=line.folder,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # on Linux, this means that nobody writes to the terminal any more
            pass
        assert process.wait(DEADLINE_SECONDS) == 7
    os.close(ours)
    lines = shown.decode().replace("\r", "").splitlines()
    assert lines[0].startswith("story.yaml:10:15: \x1b[31merror:\x1b[0m ")
    assert lines[1:] == ["    10 |       sleep: {duration: soon}", "       |               \x1b[31m^\x1b[0m"]


def test_references_are_followed_into_the_cluster(example_line: CommandLine) -> None:
    line = example_line
    line.file("caller.yaml", CALL)
    assert line.quick("lint", "caller.yaml").out == "", "nobody knows what else there is"
    line.file("caller.yaml", CALL.replace("their-story", "report"))
    done = line.quick("lint", "caller.yaml", "--cluster", "--local")
    assert done.code == 0
    assert [text.rpartition("[")[2] for text in done.out.splitlines()] == [
        "story/call-missing]",
        "story/engram-missing]",
    ]
    line.file("report.yaml", STORY)
    both = line.quick("lint", "caller.yaml", "report.yaml", "--cluster", "--local")
    assert "story/call-missing" not in both.out, "what is in the files is there"
    assert both.out.count("story/engram-missing") == 2
    elsewhere = line.file("elsewhere.yaml", CALL.replace("their-engram", "worker, namespace: shared"))
    denied = line.quick("lint", elsewhere, "--cluster", "--local")
    assert denied.code == 7
    assert "story/engram-denied" in denied.out


def test_convert_prints_both_ways_and_leaves_the_rest_alone(line: CommandLine) -> None:
    line.file("all.yaml", f"{MANIFESTS}---\n{STORY}")
    done = line.quick("convert", "all.yaml", "--to", "v1alpha1")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{MANIFESTS}---\napiVersion: bubustack.io/v1alpha1\n")
    assert "    - name: nap\n      type: sleep\n      with: {duration: 5m}\n" in done.out
    assert "# where from" in done.out
    back = line.quick("convert", "-", "--to", "v1beta1", stdin=done.out)
    assert back.out == f"{MANIFESTS}---\n{STORY}"
    assert line.quick("convert", "all.yaml", "--to", "v1beta1").out == f"{MANIFESTS}---\n{STORY}"


def test_convert_refuses_what_it_cannot_read(line: CommandLine) -> None:
    line.file("bad.yaml", STORY.replace("v1beta1", "v7") + "---\na: [\n")
    done = line.quick("convert", "bad.yaml", "--to", "v1beta1")
    assert (done.code, done.out) == (7, "")
    first, second = done.err.splitlines()
    assert first.startswith("error: bad.yaml:1: apiVersion: Story has no version 'bubustack.io/v7'; it has ")
    assert second.startswith("bad.yaml:13:1: does not parse")
    assert line.quick("convert", "bad.yaml").code == 2
    assert line.quick("convert", "bad.yaml", "--to", "v2").code == 2
    assert line.quick("convert", "bad.yaml", "--to", "v1beta1", "-o", "json").code == 2
