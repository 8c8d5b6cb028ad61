"""A realtime run whose middle step starts a Job for each message: source, Jobs and sink are programs.

Beside them a step waits for the moment when all are connected, as an assistant does that greets.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from core.api.objects import Object
from tests.integration.commandline import DEADLINE_SECONDS, CommandLine, wait_until
from tests.integration.test_command_line_streams import ENGRAM, MANIFESTS
from tests.integration.test_embedded_hub import hubs

EMIT = """
from collections.abc import Iterator
from bubu_sdk import stream

@stream
def main() -> Iterator[dict]:
    for number in (1, 2, 3):
        yield {"number": number}
    %(then)s

main.run()
"""
GREET = """
import json, pathlib
from bubu_sdk import Messages, stream

@stream
def main(messages: Messages[dict]) -> None:
    for message in messages:
        said = {"kind": message.kind, "type": message.payload["type"], "inputs": message.inputs}
        with pathlib.Path(%(file)r).open("a") as file:
            file.write(json.dumps(said) + "\\n")

main.run()
"""
WORK = """
from dataclasses import dataclass
from bubu_sdk import engram

@dataclass
class Inputs:
    number: int
    factor: int

@engram
def main(inputs: Inputs) -> dict:
    %(work)s
    return {"product": inputs.number * inputs.factor}

main.run()
"""
SINK = """
import json, pathlib
from bubu_sdk import Messages, stream

@stream
def main(messages: Messages[dict]) -> None:
    for message in messages:
        with pathlib.Path(%(file)r).open("a") as file:
            file.write(json.dumps(message.data) + "\\n")

main.run()
"""
STEPS = """
    - {name: emit, ref: {name: emit}}
    - name: work
      ref: {name: work}
      needs: [emit]
      with: {factor: "{{ inputs.factor }}"}
      runtime: {number: "{{ packet.number }}"}
      execution: {retry: {maxRetries: 0}, timeout: 60s}
    - {name: sink, ref: {name: sink}, needs: [work]}
"""
GREETER = """
    - name: greet
      ref: {name: greet}
      needs: [emit]
      if: '{{ eq (default "" packet.type) "storyrun.ready" }}'
      with: {prompt: "Greet {{ inputs.factor }} callers"}
"""


def begin(tmp_path: Path, work: str, *, greets: bool = False) -> CommandLine:
    """A cluster that is up, with the Story in ``story.yaml``.

    Args:
        work: what each Job does.
        greets: whether a step waits for the moment when all are connected. The source ends after that.
    """
    line, greeted = CommandLine(tmp_path), str(tmp_path / "greeted")
    wait = f"import os, time\n    while not os.path.exists({greeted!r}): time.sleep(0.1)"
    programs = {
        "emit": EMIT % {"then": wait if greets else "pass"},
        "work": WORK % {"work": work},
        "sink": SINK % {"file": str(tmp_path / "kept")},
    } | ({"greet": GREET % {"file": greeted}} if greets else {})
    for name, program in programs.items():
        line.file(f"{name}.py", program)
    images = "".join(f'  stream/{name}:\n    command: ["$(PYTHON)", ./{name}.py]\n' for name in programs)
    line.file("images.yaml", f"images:\n{images}")
    story = MANIFESTS[: MANIFESTS.index("  steps:\n")] + "  steps:" + STEPS + (GREETER if greets else "")
    engrams = [
        (ENGRAM % {"name": name}).replace("deployment", "job" if name == "work" else "deployment") for name in programs
    ]
    line.file("story.yaml", story + "".join(engrams))
    up = line.bobrapet("up", "--quiet", line.images)
    assert up.code == 0, up.err
    return line


def runs_of(line: CommandLine) -> tuple[str, list[Object]]:
    """The run of the stream, and the runs that its packets have started."""
    names = [each.rpartition("/")[2] for each in line.quick("list", "--output=name").out.split()]
    run = min(names, key=len, default="")
    return run, [json.loads(line.quick("get", each, "--output=json").out) for each in names if each != run]


def test_each_message_starts_a_job_and_a_step_is_told_once_that_all_are_connected(tmp_path: Path) -> None:
    line = begin(tmp_path, 'if inputs.number == 2: raise ValueError("two is not allowed")', greets=True)
    try:
        done = line.bobrapet("run", "story.yaml", line.images, "-i", "factor=10")
        assert done.code == 0, done.err + done.out
        kept = (tmp_path / "kept").read_text().splitlines()
        assert [json.loads(each) for each in kept] == [{"product": 10}, {"product": 30}]
        greeted = [json.loads(each) for each in (tmp_path / "greeted").read_text().splitlines()]
        assert greeted == [{"kind": "hook", "type": "storyrun.ready", "inputs": {"prompt": "Greet 10 callers"}}]
        run, jobs = runs_of(line)
        found = json.loads(line.quick("get", run, "--output=json").out)
        stream = found["streams"]["work"]
        assert (found["status"]["phase"], found["status"]["stepsTotal"]) == ("Succeeded", 4)
        assert (stream["delivered"], stream["received"], stream["lost"]) == (3, 2, 1)
        assert "two is not allowed" in stream["trouble"]
        assert sorted(each["status"]["phase"] for each in jobs) == ["Failed", "Succeeded", "Succeeded"]
        assert {tuple(each["status"]["stepStates"]) for each in jobs} == {("work",)}
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def test_a_cancel_of_the_stream_cancels_its_jobs(tmp_path: Path) -> None:
    line = begin(tmp_path, "import time; time.sleep(3600)")
    try:
        with line.started("run", "story.yaml", "-i", "factor=10") as running:
            wait_until(lambda: runs_of(line)[0])
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=DEADLINE_SECONDS)

        def are_at_work() -> bool:
            jobs = runs_of(line)[1]
            states = [each.get("status", {}).get("stepStates", {}).get("work", {}) for each in jobs]
            return [each.get("phase") for each in states] == ["Running"] * 3

        wait_until(are_at_work)
        run, _ = runs_of(line)
        why = line.quick("why", f"{run}/work").out
        assert "is served by the hub; no message has passed yet" in why or "on their way" in why, why
        assert line.bobrapet("cancel", run, "--yes").code == 0
        wait_until(lambda: all(each["status"]["phase"] == "Finished" for each in runs_of(line)[1]))
        found = wait_until(lambda: _ended(line, run))
        assert found["status"]["phase"] == "Finished"
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def test_a_hub_that_is_killed_leaves_jobs_that_end_and_a_stream_that_goes_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    line = begin(tmp_path, f"import os, time\n    while not os.path.exists({str(go)!r}): time.sleep(0.1)")
    try:
        with line.started("run", "story.yaml", "-i", "factor=10") as running:
            wait_until(lambda: len(runs_of(line)[1]) == 3)
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=DEADLINE_SECONDS)
        (hub,) = hubs(line.data)
        os.kill(hub, signal.SIGKILL)
        go.touch()
        run, _ = runs_of(line)
        found = wait_until(lambda: _ended(line, run))
        assert found["status"]["phase"] == "Succeeded"
        jobs = runs_of(line)[1]
        assert [each["status"]["phase"] for each in jobs] == ["Succeeded"] * 3, "none was started again"
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def _ended(line: CommandLine, run: str) -> Object | None:
    found: Object = json.loads(line.quick("get", run, "--output=json").out)
    return found if found["status"].get("finishedAt") else None
