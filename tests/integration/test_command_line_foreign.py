"""A file from somebody else: objects that run the author's commands are not applied without the user's consent."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, CommandLine

JOB = """\
---
apiVersion: batch/v1
kind: Job
metadata: {name: innocent}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox, command: [sh, -c, "touch %s"]}]
"""
PROBE = """\
---
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: probed}
spec:
  version: 1.0.0
  supportedModes: [job]
  image: shell
  execution: {probes: {startup: {exec: {command: [touch, %s]}}}}
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A command line without a cluster. A refused command must not start one."""
    line = CommandLine(tmp_path)
    yield line
    assert not line.processes()


def theirs(line: CommandLine, *documents: str) -> tuple[str, Path]:
    """A file from somebody else, and a file that would show that it has run a command."""
    trace = line.folder / "was-here"
    file = line.folder / line.story("one")
    with file.open("a") as stream:
        stream.write("".join(document % trace for document in documents))
    return file.name, trace


def test_a_job_in_the_file_is_refused_where_nobody_can_be_asked(line: CommandLine) -> None:
    file, trace = theirs(line, JOB, PROBE)
    done = line.quick("run", file, line.images)
    assert done.code == 7, done.err
    assert "these documents may run commands with your permissions" in done.err
    assert "Job 'innocent'" in done.err
    assert "EngramTemplate 'probed' runs a command (spec.execution.probes.startup.exec)" in done.err
    assert f"{file}:" in done.err
    assert "--allow-workloads" in done.err
    assert not trace.exists()


def test_a_terminal_asks_and_no_means_no(line: CommandLine) -> None:
    file, trace = theirs(line, JOB)
    code, shown = on_a_terminal(line, "n\n", "run", file, line.images)
    assert "Job 'innocent'" in shown
    assert "apply them? [y/N]" in shown
    assert "nothing was applied" in shown
    assert code == 7
    assert not trace.exists()


def on_a_terminal(line: CommandLine, answer: str, *arguments: str) -> tuple[int, str]:
    """What a terminal shows to a user who answers the question with ``answer``, and the exit code."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*BOBRAPET, *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        env=line.env,
        cwd=line.folder,
        start_new_session=True,
    ) as process:
        os.close(its)
        shown, asked, deadline = b"", False, time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    part = os.read(ours, 4096)
                except OSError:  # the other end is closed
                    break
                shown += part
            if b"[y/N]" in shown and not asked:
                asked = True
                os.write(ours, answer.encode())
        code = process.wait(DEADLINE_SECONDS)
    os.close(ours)
    return code, shown.decode(errors="replace")


@pytest.mark.parametrize("flag", ["--allow-workloads", "--yes"])
def test_whoever_wants_it_says_so_and_a_dry_run_needs_no_answer(line: CommandLine, flag: str) -> None:
    """After that question, the command asks for the Story's inputs. This fails here, before a cluster is started."""
    file, _ = theirs(line, JOB)
    done = line.quick("run", file, line.images, flag, "--kubeconfig=/nowhere")
    assert "may run commands" not in done.err
    assert done.code != 7
    done = line.quick("run", file, line.images, "--dry-run=server", "--kubeconfig=/nowhere")
    assert "may run commands" not in done.err


def test_the_script_of_a_story_runs_on_the_embedded_cluster_once_that_is_allowed(example_line: CommandLine) -> None:
    line = example_line
    trace = line.folder / "was-here"
    text = f"touch {trace}; echo $(cat $BUBU_VOLUME_ROOT$BUBU_INPUTS)"
    story = {
        "apiVersion": "bubustack.io/v1beta1",
        "kind": "Story",
        "metadata": {"name": "scripted"},
        "spec": {
            "steps": [{"name": "a", "run": text, "with": {"n": "{{ inputs.n }}"}}],
            "output": {"got": "{{ steps.a.output.n }}"},
        },
    }
    (line.folder / "scripted.yaml").write_text(json.dumps(story))
    refused = line.quick("run", "scripted.yaml", "-i", "n=7")
    assert refused.code == 7, refused.err
    assert "Story 'scripted' runs a command (spec.steps[0].run)" in refused.err
    assert not trace.exists()

    done = line.bobrapet("run", "scripted.yaml", "-i", "n=7", "--allow-workloads", "-o", "json")
    assert done.code == 0, done.err
    assert '"got": 7' in done.out
    assert trace.exists()
