"""Warm workers on the embedded cluster, with the SDK: steps without Jobs, and what the death of a worker costs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.commandline import REPOSITORY, CommandLine, kill, wait_until

PROGRAM = """
import os, pathlib
from bubu_sdk import Context, engram


def reads_the_token() -> bool:
    try:
        return bool(pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token").read_text())
    except OSError:
        return False


@engram(setup=os.getpid)
def main(ctx: Context, inputs: dict) -> dict:
    print("at work in", ctx.step)
    if file := inputs.get("hold"):
        pathlib.Path(file).write_text(str(ctx.setup))
        while ctx.attempt == 1 and not ctx.cancelled.wait(0.05):
            pass
    said = {"pid": os.getpid(), "zygote": ctx.setup, "attempt": ctx.attempt, "given": inputs.get("given")}
    return {"token": reads_the_token(), **said}


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
metadata: {name: warm}
spec:
  templateRef: {name: warm}
  overrides: {warm: {replicas: 1, concurrencyPerWorker: 4, isolation: ISOLATION}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: chain}
spec:
  steps:
    - {name: a, ref: {name: warm}, with: {given: [1, {count: null}]}}
    - {name: b, ref: {name: warm}, needs: [a]}
    - {name: c, ref: {name: warm}, needs: [b]}
  output: {steps: ["{{ steps.a.output }}", "{{ steps.b.output }}", "{{ steps.c.output }}"]}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: held}
spec:
  inputsSchema: {type: object, properties: {file: {type: string}}}
  steps:
    - {name: hold, ref: {name: warm}, with: {hold: "{{ inputs.file }}"}}
  output: {attempt: "{{ steps.hold.output.attempt }}"}
"""


@pytest.mark.parametrize("isolation", ["process", "task"])
def test_steps_run_in_a_worker_which_may_be_killed(tmp_path: Path, isolation: str) -> None:
    line = CommandLine(tmp_path)
    program, manifests = tmp_path / "warm.py", tmp_path / "manifests.yaml"
    program.write_text(PROGRAM)
    manifests.write_text(MANIFESTS.replace("ISOLATION", isolation))
    command = ["/usr/bin/env", f"PYTHONPATH={REPOSITORY / 'sdk'}", sys.executable, str(program)]
    images = line.file("images.yaml", json.dumps({"images": {"test/warm": {"command": command}}}))
    up = line.bobrapet("up", "--quiet", f"--image-map={images}")
    assert up.code == 0, up.err
    try:
        _check_a_chain(line, manifests, isolation)
        _check_a_killed_worker(line, manifests, program, tmp_path / "held")
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def _check_a_chain(line: CommandLine, manifests: Path, isolation: str) -> None:
    done = line.bobrapet("run", str(manifests), "--story=chain", "-ojson")

    assert done.code == 0, done.err
    steps = json.loads(done.out)["steps"]
    assert steps[0]["given"] == [1, {"count": None}]
    assert len({step["zygote"] for step in steps}) == 1  # one process has imported the program
    assert len({step["pid"] for step in steps}) == (3 if isolation == "process" else 1)  # and each step had its own
    assert not any(step["token"] for step in steps)
    shown = line.quick("logs", "@latest:chain", "b").out
    assert "at work in b" in shown
    assert "at work in a" not in shown


def _check_a_killed_worker(line: CommandLine, manifests: Path, program: Path, file: Path) -> None:
    with line.started("run", str(manifests), "--story=held", "-ojson", f"--input=file={file}") as run:
        wait_until(lambda: file.exists() or None, seconds=60)
        kill(_supervisor_of(program))
        out, err = run.communicate(timeout=120)

    assert run.returncode == 0, err
    assert json.loads(out) == {"attempt": 2}


def _supervisor_of(program: Path) -> int:
    """The process with the name of the program that no other one has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(program).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    (found,) = (pid for pid, parent in parents.items() if parent not in parents)
    return found
