"""Warm workers on the embedded cluster: whose lines `logs --follow` shows, and what becomes of a blocked worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.integration.commandline import REPOSITORY, CommandLine, kill, wait_until

PROGRAM = """
import os, pathlib, re, time
from bubu_sdk import Context, engram


@engram
def main(ctx: Context, inputs: dict) -> dict:
    folder = pathlib.Path(inputs["folder"])
    print(f"{ctx.step} begins attempt {ctx.attempt}")
    (folder / f"{ctx.step}-{ctx.attempt}").write_text(f'{os.environ["BUBU_POD_NAME"]} {os.getpid()}')
    if inputs.get("blocks") and ctx.attempt == 1:
        re.match("(a+)+$", "a" * 64 + "b")  # keeps the lock of the interpreter, practically for ever
    while not (folder / "go").exists():
        time.sleep(0.02)
    print(f"{ctx.step} ends")
    return {"attempt": ctx.attempt}


main.run()
"""
MANIFESTS = """
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: warm}
spec: {version: 1.0.0, supportedModes: [job, worker], image: test/warm}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: forked}
spec: {templateRef: {name: warm}, overrides: {warm: {concurrencyPerWorker: 2}}}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: threaded}
spec: {templateRef: {name: warm}, overrides: {warm: {replicas: 2, isolation: task}}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: talk}
spec:
  steps:
    - {name: a, ref: {name: forked}, with: {folder: "{{ inputs.folder }}"}}
    - {name: b, ref: {name: forked}, with: {folder: "{{ inputs.folder }}"}}
  policy: {retries: {stepRetryPolicy: {maxRetries: 3, delay: 10ms}}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: block}
spec:
  steps:
    - name: c
      ref: {name: threaded}
      with: {folder: "{{ inputs.folder }}", blocks: true}
      execution: {retry: {maxRetries: 1, delay: 10ms}}
  output: {attempt: "{{ steps.c.output.attempt }}"}
"""


def test_a_followed_step_shows_its_lines_only_and_a_blocked_worker_is_ended(tmp_path: Path) -> None:
    """One cluster for both: the blocked worker is waited for while the other step is followed."""
    line = CommandLine(tmp_path)
    program, manifests = tmp_path / "warm.py", tmp_path / "manifests.yaml"
    program.write_text(PROGRAM)
    manifests.write_text(MANIFESTS)
    (tmp_path / "talk").mkdir()
    (tmp_path / "block").mkdir()
    command = ["/usr/bin/env", f"PYTHONPATH={REPOSITORY / 'sdk'}", sys.executable, str(program)]
    images = line.file("images.yaml", json.dumps({"images": {"test/warm": {"command": command}}}))
    up = line.bobrapet("up", "--quiet", f"--image-map={images}")
    assert up.code == 0, up.err
    try:
        folder = tmp_path / "block"
        with line.started("run", str(manifests), "--story=block", "-ojson", f"--input=folder={folder}") as blocked:
            wait_until(lambda: (folder / "c-1").exists() or None, seconds=60)
            _check_that_only_one_step_is_followed(line, tmp_path / "talk", program)
            _check_that_another_process_repeats_the_step(line, folder, blocked)
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def _check_that_only_one_step_is_followed(line: CommandLine, folder: Path, program: Path) -> None:
    submitted = line.quick("submit", "talk", f"--input=folder={folder}")
    assert submitted.code == 0, submitted.err
    wait_until(lambda: ((folder / "a-1").exists() and (folder / "b-1").exists()) or None)
    with line.started("logs", "@latest:talk/a", "--follow") as logs:
        reader = _Reader(logs)
        wait_until(lambda: "a begins attempt 1" in reader.text() or None)
        assert "a ends" not in reader.text(), "the step is still at work"
        kill(_worker_that_forks(program))  # its container is started again
        wait_until(lambda: "a begins attempt 2" in reader.text() or None)
        (folder / "go").touch()
        assert logs.wait(60) == 0
        shown = reader.text()

    assert "a ends" in shown
    assert [each for each in shown.splitlines() if not each.startswith(("a[1] ", "a[2] "))] == []
    assert (folder / "a-1").read_text().split()[0] == (folder / "a-2").read_text().split()[0], "the Pod is the same"
    assert "b begins" not in shown
    assert "b ends" not in shown


def _check_that_another_process_repeats_the_step(
    line: CommandLine, folder: Path, blocked: subprocess.Popen[str]
) -> None:
    """The lock is held, so the process of the steps does not answer its supervisor, which ends the worker after 15 s.

    The step goes to the other worker, or to the next process of the same Pod.
    """
    with line.started("logs", "@latest:block", "--follow") as logs:
        reader = _Reader(logs)
        wait_until(lambda: (folder / "c-2").exists() or None, seconds=60)
        wait_until(lambda: "c begins attempt 2" in reader.text() or None)
        (folder / "go").touch()
        out, err = blocked.communicate(timeout=60)
        assert logs.wait(60) == 0
        shown = reader.text()

    assert blocked.returncode == 0, err
    assert json.loads(out) == {"attempt": 2}
    assert "c begins attempt 1" in shown
    assert (folder / "c-1").read_text() != (folder / "c-2").read_text()


def _worker_that_forks(program: Path) -> int:
    """The process of the program that has children, and is none itself. The supervisor of tasks is one of another."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if str(program).encode() in command and b"-c" not in command:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    (found,) = {parent for parent in parents.values() if parent in parents and parents[parent] not in parents}
    return found


class _Reader:
    """What a process has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        os.set_blocking(self._descriptor, False)
        self._read = b""

    def text(self) -> str:
        try:
            while more := os.read(self._descriptor, 65536):
                self._read += more
        except BlockingIOError:
            pass
        return self._read.decode()
