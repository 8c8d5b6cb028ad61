"""``bobrapet up`` with admission: what ``lint`` refuses is refused, whichever of its processes has just been killed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commandline import DEADLINE_SECONDS, CommandLine, kill
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl

GOOD = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: good}
spec: {steps: [{name: nap, sleep: {duration: 1s}}]}
"""
BAD = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: bad}
spec:
  steps:
    - {name: a, needs: [b], sleep: {duration: 1s}}
    - {name: b, needs: [a, nope], if: "{{ inputs.x | uper }}", sleep: {duration: 1s}}
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    yield line
    if line.processes():
        line.quick("down")
    line.wait_until_nothing_runs()


def kubectl(line: CommandLine, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    assert KUBECTL is not None
    return subprocess.run(
        [KUBECTL, f"--kubeconfig={line.data}/kubeconfig", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def assert_refused(line: CommandLine) -> None:
    applied = kubectl(line, "apply", "-f", "-", stdin=BAD)
    assert applied.returncode == 1, applied.stdout
    for expected in ("dependency cycle", "there is no step 'nope'", "no function uper"):
        assert expected in applied.stderr


@needs_kubectl
def test_bad_manifests_are_refused_after_each_kind_of_death(line: CommandLine) -> None:
    assert line.bobrapet("up", "--quiet").code == 0
    assert_refused(line)
    good = kubectl(line, "apply", "-f", "-", stdin=GOOD)
    stored = kubectl(line, "get", "stories.v1alpha1.bubustack.io", "good", "-o", "json")
    kill(line.process(" manager "))
    assert_refused(line)
    kill(line.process("cli.embedded --data"))
    line.wait_until_nothing_runs()
    again = line.bobrapet("up", "--quiet")
    assert_refused(line)
    deleted = kubectl(line, "delete", "story", "good")

    assert good.returncode == 0, good.stderr
    assert json.loads(stored.stdout)["spec"]["steps"] == [{"name": "nap", "type": "sleep", "with": {"duration": "1s"}}]
    assert again.code == 0, again.err
    assert deleted.returncode == 0, deleted.stderr
