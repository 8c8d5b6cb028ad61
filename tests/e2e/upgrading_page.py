"""What tests take from docs/upgrading.md: its commands, which they run, and its list of new fields."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Final

import trio

from tests.e2e.operator_rig import OperatorRig
from tests.e2e.previous_release import ROOT

_PAGE: Final = ROOT / "docs/upgrading.md"
_MOST_CONFLICTS: Final = 5
"""The operator writes a Story's status soon after it was created, and then no more."""


def command(beginning: str) -> str:
    """The only command of the page that begins with these words."""
    blocks = re.findall(r"^```text\n(.*?)^```$", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found: str
    [found] = {line for block in blocks for line in block.splitlines() if line.startswith(beginning)}
    return found


def commands_of_an_upgrade() -> list[str]:
    """The commands of the section about the order, in their order."""
    section = _PAGE.read_text().partition("## Order\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("kubectl ")]


def listed_fields() -> dict[str, set[str]]:
    """The last names of the new fields by kind; the row of execution policies has an empty name."""
    section = _PAGE.read_text().partition("### Fields of this release")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+|execution policies of all kinds) \| (.+) \|$", section, re.MULTILINE)
    return {
        "" if " " in kind else kind: {path.rpartition(".")[2] for path in re.findall(r"`([^`]+)`", cells)}
        for kind, cells in rows
        if kind != "kind"
    }


async def play(rig: OperatorRig, line: str) -> str:
    """The output of a command of the page, run by an administrator; repeated after a conflict, as the page says."""
    for _ in range(_MOST_CONFLICTS):
        done = await _run(rig, line)
        if "(Conflict)" not in done.stderr.decode():
            break
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def _run(rig: OperatorRig, line: str) -> subprocess.CompletedProcess[bytes]:
    path = f"{rig.plane.binaries.kubectl.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(rig.plane.kubeconfig)}
    words = ["bash", "-o", "pipefail", "-c", line]
    return await trio.run_process(words, env=environment, capture_stdout=True, capture_stderr=True, check=False)
