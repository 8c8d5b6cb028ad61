"""Where ``CI`` is true, no test vanishes for a reason that nobody has accepted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import why_accepted

ROOT = Path(__file__).parents[2]
PASSES = "def test_passes(): pass\n"
SKIPS = """
import pytest
@pytest.mark.skipif(True, reason={reason!r})
def test_a(): pass
def test_b(): pytest.skip({reason!r})
"""
WHOLE = "import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
ACCEPTED = "needs a real control plane: --control-plane real"
MISSING = "no kubectl on PATH; install one or name it in BOBRAPET_KUBECTL"


def run(folder: Path, source: str, ci: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(source)
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("source", "reason", "ci", "code"),
    [
        pytest.param(PASSES + SKIPS, ACCEPTED, "true", 0, id="accepted"),
        pytest.param(PASSES + SKIPS, MISSING, "true", 1, id="missing"),
        pytest.param(PASSES + SKIPS, MISSING, "", 0, id="missing on a laptop"),
        pytest.param(WHOLE, MISSING, "true", 1, id="a whole module"),
        pytest.param("import pytest\n@pytest.mark.xfail\ndef test_a(): assert False\n", MISSING, "true", 0, id="xfail"),
    ],
)
def test_a_skip_that_nobody_has_accepted_fails_in_ci(
    tmp_path: Path, source: str, reason: str, ci: str, code: int
) -> None:
    found, said = run(tmp_path, source.format(reason=reason) if "{reason" in source else source, ci)
    assert found == code, said
    if "xfail" not in source:
        assert f"× {reason}: {why_accepted(reason) or 'NOT ACCEPTED in CI'}" in said


def test_the_check_of_every_change_is_ci() -> None:
    assert "\nexport CI=true" in (ROOT / ".ci/run").read_text()
