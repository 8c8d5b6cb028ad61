"""Plays 200 runs with outputs of 2 MiB, and their deletion, while operator, containers and object store are killed.

On a real control plane and a real S3 server. What is wrong is printed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from bench.report import Row, exactly
from tests.e2e.stored_data.campaign import StoredDataOutcome, StoredDataPlan, StoreVictim, play

PLAN: Final = StoredDataPlan(
    runs=200,
    output_bytes=2 << 20,
    kills={StoreVictim.OPERATOR: 10, StoreVictim.CONTAINER: 20, StoreVictim.STORE: 10},
    seconds=1800.0,
)
_MIB: Final = 1 << 20


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-", ignore_cleanup_errors=True) as folder:
        outcome = trio.run(play, PLAN, Path(folder))
    sys.stderr.write("".join(f"WRONG: {problem}\n" for problem in outcome.problems))
    return _rows(outcome)


def _rows(outcome: StoredDataOutcome) -> list[Row]:
    kills = ", ".join(f"{victim} {many}" for victim, many in outcome.kills.items())
    return [
        Row(f"{PLAN.runs} runs have ended after", f"{outcome.run_seconds:.0f} s"),
        Row("kills", f"{outcome.kills.total()}: {kills}"),
        Row("attempts beyond the first of each step", str(outcome.retries)),
        Row("stored", f"{outcome.stored_objects:,} objects, {outcome.stored_bytes / _MIB:.0f} MiB"),
        Row("the largest status of a run", f"{outcome.largest_run_bytes / 1024:.1f} KiB"),
        Row("all runs were deleted after", f"{outcome.delete_seconds:.0f} s"),
        Row("what is wrong: lost, served in part, or left", exactly(len(outcome.problems), 0)),
    ]
