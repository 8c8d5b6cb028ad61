"""The workflows of a hosting service, which run nowhere else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools.control_plane.binaries import MissingBinariesError, ensure_tool

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.yaml"))


def test_actionlint_accepts_every_workflow() -> None:
    try:
        actionlint = ensure_tool("actionlint")
    except MissingBinariesError as missing:
        pytest.skip(str(missing))
    done = subprocess.run([actionlint, "-no-color", *WORKFLOWS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_of_others_are_named_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", each)] == []
