"""A realtime run from the command line: a source and a sink, one cluster for all tests."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from core.api.objects import Object
from tests.integration.commandline import BOBRAPET, DEADLINE_SECONDS, CommandLine, wait_until

EMIT = """
import time
from collections.abc import Iterator
from bubu_sdk import stream

@stream
def main() -> Iterator[dict]:
    number = 0
    while True:
        number += 1
        yield {"number": number}
        time.sleep(0.02)

main.run()
"""
SINK = """
from bubu_sdk import Messages, stream

@stream
def main(messages: Messages[dict]) -> None:
    for message in messages:
        pass

main.run()
"""
MANIFESTS = """
apiVersion: transport.bubustack.io/v1alpha1
kind: Transport
metadata: {name: hub}
spec: {provider: bobrapet, driver: hub, supportedBinary: [application/json]}
---
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: numbers}
spec:
  pattern: realtime
  transports: [{name: wire, transportRef: hub}]
  steps:
    - {name: emit, ref: {name: emit}}
    - {name: sink, ref: {name: sink}, needs: [emit]}
"""
ENGRAM = """
---
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: %(name)s}
spec: {version: 1.0.0, supportedModes: [deployment], image: "stream/%(name)s:1"}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: %(name)s}
spec: {mode: deployment, templateRef: {name: %(name)s}}
"""


class Stand:
    """A cluster that is up, with one realtime run that streams."""

    def __init__(self, line: CommandLine, run: str) -> None:
        self.line = line
        self.run = run

    def said(self, *arguments: str) -> str:
        done = self.line.quick(*arguments)
        assert done.code == 0, done.err
        return done.out

    def streams(self) -> Object:
        found: Object = json.loads(self.said("get", self.run, "--output=json"))["streams"]
        return found


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    line = CommandLine(tmp_path_factory.mktemp("streams"))
    for name, program in (("emit", EMIT), ("sink", SINK)):
        line.file(f"{name}.py", program)
    programs = "".join(f'  stream/{name}:\n    command: ["$(PYTHON)", ./{name}.py]\n' for name in ("emit", "sink"))
    line.file("images.yaml", f"images:\n{programs}")
    line.file("story.yaml", MANIFESTS + "".join(ENGRAM % {"name": name} for name in ("emit", "sink")))
    up = line.bobrapet("up", "--quiet", line.images)
    assert up.code == 0, up.err
    try:
        with line.started("run", "story.yaml") as running:  # detached as soon as it is known
            name = wait_until(lambda: line.quick("list", "--output=name").out.strip().rpartition("/")[2])
            running.send_signal(signal.SIGINT)
            _, farewell = running.communicate(timeout=DEADLINE_SECONDS)
        assert running.returncode == 130
        assert f"its streams continue until their sources end or it is canceled: bobrapet watch {name}" in farewell
        there = Stand(line, name)
        wait_until(lambda: "2/2 connected" in there.said("get", name))
        yield there
        line.quick("cancel", name, "--yes")
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


def test_a_watcher_on_a_terminal_gets_news_every_second(stand: Stand) -> None:
    ours, theirs = os.openpty()
    seen = b""
    command = [*BOBRAPET, "watch", stand.run]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, env=stand.line.env, cwd=stand.line.folder) as watcher:
        os.close(theirs)
        try:
            deadline = time.monotonic() + 20
            while len(set(re.findall(rb"out ([\d,]+)", seen))) < 5 and time.monotonic() < deadline:
                if select.select([ours], [], [], 0.2)[0]:
                    seen += os.read(ours, 65_536)
        finally:
            watcher.send_signal(signal.SIGINT)
            watcher.wait(timeout=DEADLINE_SECONDS)
            os.close(ours)

    assert len(set(re.findall(rb"out ([\d,]+)", seen))) >= 5, "without asking, the hub reports every ten seconds"


def test_get_and_list_show_who_is_connected_and_what_passes(stand: Stand) -> None:
    wait_until(lambda: re.search(r"sink +Running +\S+ +in [1-9]\d* +\S+/(s|min)", stand.said("get", stand.run)))

    assert re.search(r"emit +Running +\S+ +out [1-9]", stand.said("get", stand.run))
    assert re.search(rf"{stand.run} +numbers +Running +2/2 connected", stand.said("list"))
    streams = stand.streams()
    assert streams["emit"]["connected"] is True
    assert streams["sink"]["delivered"] > 0
    assert stand.said("get", stand.run, "--output=jsonpath={.streams.emit.connected}").strip() == "true"


def test_a_watcher_in_a_pipe_gets_lines_for_grep(stand: Stand) -> None:
    done = stand.line.bobrapet("watch", stand.run, "--timeout=3s")

    assert done.code == 124
    assert len(re.findall(rf"^\S+Z {stand.run} sink in [1-9].*$", done.err, re.MULTILINE)) == 1, done.err
    assert len(re.findall(rf"^\S+Z {stand.run} emit out [1-9].*$", done.err, re.MULTILINE)) == 1, done.err


def test_why_and_graph_show_the_streams(stand: Stand) -> None:
    assert re.search(r"step sink is connected; [\d,]+ messages in", stand.said("why", stand.run))
    assert "runs in Pod" not in stand.said("why", f"{stand.run}/emit")
    wait_until(lambda: re.search(r"sink +← emit \S+/s", stand.said("graph", stand.run)))


ALWAYS_ON = """
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: steady}
spec:
  pattern: realtime
  streamingStrategy: PerStory
  version: "%s"
  transports: [{name: wire, transportRef: hub}]
  steps:
    - {name: emit, ref: {name: emit}}
    - {name: sink, ref: {name: sink}, needs: [emit]}
"""


def live_run(stand: Stand, *, other_than: str = "") -> str:
    """The name of the run that ``run`` shows, once its streams are connected; then it is left alone."""

    def started() -> str:
        names = stand.line.quick("list", "--story=steady", "--output=name").out.split()
        found = [name.rpartition("/")[2] for name in names if not name.endswith(f"/{other_than}")]
        return next((name for name in found if "2/2 connected" in stand.line.quick("get", name).out), "")

    with stand.line.started("run", "always.yaml") as running:
        name = wait_until(started, seconds=60)
        running.send_signal(signal.SIGINT)
        _, farewell = running.communicate(timeout=DEADLINE_SECONDS)
    assert f"the operator keeps it running: bobrapet watch {name}" in farewell
    assert f"cancel it with: bobrapet cancel {name}" in farewell
    return name


def test_run_follows_the_run_of_a_story_that_is_always_on_and_a_change_replaces_it(stand: Stand) -> None:
    stand.line.file("always.yaml", ALWAYS_ON % 1)
    first = live_run(stand)
    assert stand.said("submit", "steady").strip() == first
    assert first in stand.said("get", "steady")
    assert stand.line.quick("submit", "steady", "-i", "room=7").code == 2

    stand.line.file("always.yaml", ALWAYS_ON % 2)
    second = live_run(stand, other_than=first)
    assert second != first
    assert json.loads(stand.said("get", first, "--output=json"))["status"]["phase"] == "Finished"

    assert stand.line.quick("cancel", "steady", "--yes").code == 0
    ended = stand.line.bobrapet("run", "always.yaml")
    assert ended.code == 5, "it rests, because a person has canceled it"
    assert second in ended.err
