"""Thousands of warm steps while operator, workers and processes of steps are killed with ``kill -9``.

On the embedded cluster, or on a real control plane, where the API server is killed, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from bench.report import Row, Value, exactly
from bench.stand import open_stand
from tests.e2e.warm_kills.campaign import IMAGE, PROGRAM, Victims, WarmPlan, WarmVerdict, play
from tests.e2e.warm_kills.on_server import play_on_server

PLAN: Final = WarmPlan(runs=25, items=200, kills=52, seconds=1800.0, longest_pause_seconds=1.8, cancels=25)


def measure() -> list[Row]:
    return _rows(trio.run(_on_embedded_cluster))


def measure_on_server() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        return _rows(trio.run(play_on_server, PLAN, Path(folder)))


async def _on_embedded_cluster() -> WarmVerdict:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        beats = Path(folder) / "beats"
        images = {"images": {IMAGE: {"command": [sys.executable, str(PROGRAM), str(beats)]}}}
        async with open_stand(json.dumps(images)) as stand:
            return await play(PLAN, Victims(stand.client, stand.cluster.pid, stand.operator_pid), beats)


def _rows(verdict: WarmVerdict) -> list[Row]:
    kills = ", ".join(f"{target} {count}" for target, count in verdict.killed.items())
    return [
        Row(f"kills: {kills}", Value(sum(verdict.killed.values()), at_least=PLAN.kills)),
        Row(f"runs that succeeded with their {PLAN.items} results in order", exactly(verdict.runs_in_order, PLAN.runs)),
        Row("steps that succeeded", exactly(verdict.succeeded, PLAN.runs * PLAN.items)),
        Row("steps that were retried", str(verdict.retried)),
        Row("runs of an endless step that were canceled", exactly(verdict.canceled, PLAN.cancels)),
        Row("steps whose end was recorded twice, or changed after that", exactly(verdict.recorded_twice, 0)),
        Row("steps that worked on after their end", exactly(len(verdict.worked_after_end), 0)),
        Row("steps with two attempts at work at once", exactly(verdict.overlapping, 0)),
    ]
