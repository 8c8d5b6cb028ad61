"""A disk of a working cluster that really fills up: nothing ends, and everything continues once there is space."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.commandline import CommandLine, is_alive, kill, wait_until
from tests.integration.disklimit import SmallDisk, small_disk

MEBIBYTE = 1 << 20
OUTAGE_SECONDS = 3.0
FULL_SECONDS = float(os.environ.get("FULL_DISK_SECONDS", "9"))
"""Longer than six attempts of a container, which take about 3 s."""
RUNS = 12
ENGRAM = """
import json, os, time
from bubu_sdk import Context, engram

FOLDER = {folder!r}

@engram
def work(ctx: Context, inputs: dict) -> dict:
    mine = os.environ["BUBU_STEPRUN_NAME"]
    open(FOLDER + "/began-" + mine, "w").close()
    while not os.path.exists(FOLDER + "/go"):
        time.sleep(0.05)
    if inputs.get("charge"):
        def charge(lease):
            with open(FOLDER + "/charges", "a") as file:
                file.write(mine + chr(10))
            return {{"receipt": mine}}
        ctx.execute_once("charge", charge)
    return {{"n": inputs["n"] + 1}}

if __name__ == "__main__":
    work.run()
"""
IMAGES = """
images:
  python: {{command: ["$(PYTHON)", {program}]}}
  busybox: {{command: [/bin/sh]}}
"""
STORY = """
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: python}
spec: {version: 1.0.0, supportedModes: [job], image: python}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: worker}
spec: {templateRef: {name: python}}
---
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: full}
spec:
  steps:
  - {name: first, ref: {name: worker}, with: {n: 0}}
  - name: pay
    needs: [first]
    ref: {name: worker}
    sideEffects: true
    with: {n: "{{ steps.first.output.n }}", charge: true}
  - name: told
    image: busybox
    run: |
      echo $$ > @FOLDER@/told-$BUBU_STEPRUN_NAME
      while ! test -e @FOLDER@/go; do sleep 0.05; done
      echo '{"n": 40}'
  - {name: last, needs: [pay, told], ref: {name: worker}, with: {n: "{{ steps.told.output.n }}"}}
  output: {n: "{{ steps.last.output.n }}"}
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    (tmp_path / "data").mkdir()
    with small_disk(tmp_path / "data", 24 * MEBIBYTE) as disk:
        if disk is None:
            pytest.skip("no file system can be mounted here, not even in a namespace of its own")
        yield disk


@pytest.fixture
def line(tmp_path: Path, disk: SmallDisk) -> Iterator[CommandLine]:
    """All data of its processes is on the small disk."""
    line = CommandLine(tmp_path, prefix=(*disk.prefix, "env", f"--chdir={tmp_path}"))
    yield line
    if line.processes():
        line.bobrapet("down")
    line.wait_until_nothing_runs()


class Api:
    """Plain requests as an administrator of the cluster on ``disk``."""

    def __init__(self, disk: SmallDisk) -> None:
        config = YAML(typ="safe", pure=True).load((disk.inside / "kubeconfig").read_text())
        self._url = config["clusters"][0]["cluster"]["server"]
        self._token = config["users"][0]["user"]["token"]
        self._tls = ssl._create_unverified_context()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        request = urllib.request.Request(
            f"{self._url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.slow
def test_a_run_in_flight_outlives_a_disk_that_is_full_for_a_while(line: CommandLine, disk: SmallDisk) -> None:
    assert line.bobrapet("up", "--quiet", line.images).code == 0
    api = Api(disk)
    with line.started("run", line.story("one", "slow-two", "three")) as run:
        wait_until((line.folder / "began").exists)
        serving = {line.process("cli.embedded --data"), line.process("cli manager")}
        disk.fill()
        (line.folder / "go").touch()  # a Pod ends, but its end cannot be stored
        for number in steadily(OUTAGE_SECONDS):
            config_map = {"metadata": {"name": f"during-{number}"}, "data": {"text": "x" * 20_000}}
            code, status = api.ask("POST", CONFIG_MAPS, config_map)
            assert (code, status["reason"]) == (507, "InsufficientStorage"), status
            assert "free some disk space" in str(status["message"])
            assert api.ask("GET", "/api/v1/namespaces/default/pods")[0] == 200
            assert run.poll() is None
        refused = line.bobrapet("submit", "story")
        disk.free()
        out, err = run.communicate(timeout=40)

    assert (run.returncode, "Traceback" in err) == (0, False), f"{out}{err}"
    assert refused.code == 1
    assert refused.err.startswith(f"error: {line.data}/cluster.db: no space left"), refused.err
    assert "Traceback" not in refused.err
    assert api.ask("POST", CONFIG_MAPS, {"metadata": {"name": "after"}})[0] == 201
    assert all(map(is_alive, serving))


@pytest.mark.slow
def test_no_finished_work_is_lost_and_effects_happen_once_while_the_disk_is_full(
    line: CommandLine, disk: SmallDisk
) -> None:
    """Containers end while every write is refused with 507: those with the SDK after they have charged, whose results
    they report, and scripts, whose results the node and the operator read.
    """
    program = line.folder / "work.py"
    program.write_text(ENGRAM.format(folder=str(line.folder)))
    images = line.file("sdk-images.yaml", IMAGES.format(program=json.dumps(str(program))))
    assert line.bobrapet("up", "--quiet", f"--image-map={images}").code == 0
    api = Api(disk)
    paths = {
        "EngramTemplate": "/apis/catalog.bubustack.io/v1alpha1/engramtemplates",
        "Engram": "/apis/bubustack.io/v1alpha1/namespaces/default/engrams",
        "Story": "/apis/bubustack.io/v1alpha1/namespaces/default/stories",
    }
    for manifest in YAML(typ="safe", pure=True).load_all(STORY.replace("@FOLDER@", str(line.folder))):
        assert api.ask("POST", paths[manifest["kind"]], manifest)[0] == 201
    runs = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/storyruns"
    for number in range(RUNS):
        run = {"metadata": {"name": f"full-{number}"}, "spec": {"storyRef": {"name": "full"}}}
        kind = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StoryRun"}
        assert api.ask("POST", runs, {**kind, **run})[0] == 201
    wait_until(lambda: all(len(list(line.folder.glob(name))) >= 2 for name in ("began-*", "told-*")), seconds=120)
    disk.fill()
    (line.folder / "go").touch()
    for number in steadily(FULL_SECONDS):
        if number % 10 == 0:
            disk.fill()  # whatever was deleted meanwhile
        assert api.ask("GET", runs)[0] == 200
    disk.free()

    def phases() -> list[str]:
        items: Any = api.ask("GET", runs)[1]["items"]
        return [(item.get("status") or {}).get("phase", "") for item in items]

    wait_until(lambda: all(phase in ("Succeeded", "Failed") for phase in phases()), seconds=300)
    assert phases() == ["Succeeded"] * RUNS
    outputs: Any = api.ask("GET", runs)[1]["items"]
    assert [run["status"]["output"] for run in outputs] == [{"n": 41}] * RUNS
    charges = (line.folder / "charges").read_text().split()
    assert (len(charges), len(set(charges))) == (RUNS, RUNS)


@pytest.mark.slow
def test_what_is_lost_while_the_disk_is_full_comes_back(line: CommandLine, disk: SmallDisk) -> None:
    """Both the operator and the node are separate processes."""
    assert line.bobrapet("up", "--quiet", line.images).code == 0
    cluster = line.process("cli.embedded --data")
    parts = {word: line.process(word) for word in ("cli manager", "localcluster.node")}
    disk.fill()
    for part in parts.values():
        kill(part)
    wait_until(lambda: all(line.process(word) != part for word, part in parts.items()))
    for _ in steadily(OUTAGE_SECONDS):
        assert is_alive(cluster)
    disk.free()
    done = line.bobrapet("run", line.story("one"))

    assert done.code == 0, done.err
    assert is_alive(cluster)


def test_a_cluster_is_not_started_on_a_full_disk(line: CommandLine, disk: SmallDisk) -> None:
    story = line.story("one")
    disk.fill()
    for verb in (("run", story), ("up",)):
        done = line.bobrapet(*verb)

        assert (done.code, done.out) == (1, "")
        said = done.err.splitlines()[-1]
        assert said.startswith(f"error: no space left on the disk of {line.data}"), done.err
        assert "free some" in said
        line.wait_until_nothing_runs()
    disk.free()
    assert line.bobrapet("run", story, line.images).code == 0


def steadily(seconds: float) -> Iterator[int]:
    """Yields a number every 0.2 s, for ``seconds``."""
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < seconds:
        yield number
        number += 1
        time.sleep(0.2)
