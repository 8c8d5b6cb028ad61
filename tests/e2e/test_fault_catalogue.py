"""Each fault of the catalogue's first two parts has a test that names it, or a reason for having none here.

Faults of a manager: F01 it dies at a write, F02 it dies while it recovers, F03 it gets a signal to stop, F04 it is
frozen past its lease, F05 it is cut off from the API server, F06 it works beside another manager, F07 it has a bug in
one run, F08 it finds poisoned objects, F09 it stalls, F10 it waits for slow storage, F11 it runs out of memory, F12 it
is of another release than before.

Faults of its API server: F13 conflicts, F14 compaction, F15 refused status, F16 half-open watches, F17 lost answers,
F18 too many requests, F19 server errors, F20 duplicate events, F21 late events, F22 missing events, F23 kinds out of
step, F24 a replica in the past at the start, F25 a replica in the past later on.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NOT_HERE = {
    "F07": "a bug must be put into the process: tests/unit/core/engine/run/test_engine_supervisor.py",
    "F08": "runs on both control planes: tests/integration/test_operator_poison.py",
    "F10": "runs on both control planes: tests/integration/test_operator_storage_outage.py",
    "F12": "there is no earlier release",
    "F22": "servers lose no events of a watch; with a model that does: fuzz/engine/test_engine_faults.py",
}


@pytest.mark.parametrize("row", [f"F{number:02}" for number in range(1, 26)])
def test_a_fault_is_tested_or_said_to_be_elsewhere(row: str) -> None:
    named = {found for path in HERE.glob("test_faults_*.py") for found in re.findall(r"F\d\d", path.read_text())}

    assert (row in named) != (row in NOT_HERE)


def test_elsewhere_exists() -> None:
    places = [place for reason in NOT_HERE.values() for place in re.findall(r"\S+\.py", reason)]

    assert [place for place in places if not (HERE.parents[1] / place).exists()] == []
