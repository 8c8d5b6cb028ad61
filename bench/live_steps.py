"""Measures the memory of an operator with 1,000 live steps that report as much as they may.

``python -m bench.live_steps [STEPS]`` prints three numbers in MiB: the memory of the process before; the memory when
all steps are listed, watched through one change and stored for templates; and the peak. The API server is a transport
in the same process. It makes each answer on request and keeps no answer.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import orjson
import trio

from bench.process import peak_resident_bytes, resident_bytes
from bench.report import Row, Unit, Value
from core.api.resource import STEP_RUN
from core.api.sizes import MAX_STEP_STATUS_BYTES, MAX_STEP_STATUS_VALUES
from core.engine.values.variables import Variables
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from manager.assembly import Operator
from manager.memory import give_back_large_blocks
from reconcilers.adapters.world import OWNER_UID, World

STEPS: Final = 1_000
STEPS_OF_A_RUN: Final = 10
MIB: Final = 1 << 20
MOST_MIB: Final = 768
"""What a whole operator may take."""

_UNIT: Final = b'{"a":{}}'
_VALUES_OF_UNIT: Final = 3
_LEFT_VALUES: Final = 150
_LEFT_BYTES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Cost:
    """The MiB of a process: before the load, with the whole load, and at the peak."""

    before: float
    after: float
    peak: float


def measure(steps: int = STEPS) -> Cost:
    """Measures in a new process."""
    command = [sys.executable, "-m", "bench.live_steps", str(steps)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return Cost(*map(float, result.stdout.split()))


def rows() -> list[Row]:
    cost = measure()
    what = f"{STEPS:,} live steps that report as much as they may: memory of an operator that holds them; at most"
    return [Row(what, tuple(operator_memory(each) for each in (cost.after, cost.peak)))]


def operator_memory(mib: float) -> Value:
    return Value(mib, Unit(" MiB"), at_most=MOST_MIB)


def largest_status() -> bytes:
    """A status with the maximum of values, of the kind that takes most memory, and with the maximum of bytes."""
    units = (MAX_STEP_STATUS_VALUES - _LEFT_VALUES) // _VALUES_OF_UNIT
    dense = b"[" + b",".join([_UNIT] * units) + b"]"
    text = b"x" * (MAX_STEP_STATUS_BYTES - len(dense) - _LEFT_BYTES)
    conditions = [
        {
            "type": type_,
            "status": status,
            "reason": "Completed",
            "message": "The step succeeded",
            "observedGeneration": 1,
        }
        for type_, status in (("Ready", "True"), ("Progressing", "False"), ("Degraded", "False"))
    ]
    head = orjson.dumps({"phase": "Succeeded", "retries": 0, "conditions": conditions})
    return b'%s,"output":{"dense":%s,"text":"%s"}}' % (head[:-1], dense, text)


class _Server(httpx.AsyncBaseTransport):
    """Lists the StepRuns, sends one change of each, and has no other objects."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._status = largest_status()
        self.told = trio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        is_theirs = request.url.path == STEP_RUN.path(None)
        params = request.url.params
        if "watch" in params:
            return httpx.Response(200, stream=_Changes(self if is_theirs else None))
        begin = int(params.get("continue") or 0)
        end = min(begin + int(params["limit"]), self._steps) if is_theirs else 0
        items = b",".join(self.step_run(number, 1) for number in range(begin, end))
        token = str(end) if is_theirs and end < self._steps else ""
        return httpx.Response(
            200, content=b'{"metadata":{"resourceVersion":"9","continue":"%s"},"items":[%s]}' % (token.encode(), items)
        )

    def step_run(self, number: int, version: int) -> bytes:
        run = f"run-{number // STEPS_OF_A_RUN}"
        owner = {"apiVersion": "v1", "kind": "StoryRun", "name": run, "uid": run, "controller": True}
        metadata = {
            "name": f"{run}-{number % STEPS_OF_A_RUN}",
            "namespace": "team",
            "uid": f"uid-{number}",
            "resourceVersion": str(version),
            "ownerReferences": [owner],
        }
        spec = {"stepId": f"s{number % STEPS_OF_A_RUN}", "engramRef": {"name": "e"}}
        head = orjson.dumps({"apiVersion": STEP_RUN.api_version, "kind": "StepRun", "metadata": metadata, "spec": spec})
        return b'%s,"status":%s}' % (head[:-1], self._status)

    def changes(self) -> int:
        return self._steps


class _Changes(httpx.AsyncByteStream):
    """One line for each StepRun; after them the stream stays open."""

    def __init__(self, server: _Server | None) -> None:
        self._server = server

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._server is not None:
            for number in range(self._server.changes()):
                await trio.lowlevel.checkpoint()
                yield b'{"type":"MODIFIED","object":%s}\n' % self._server.step_run(number, 100 + number)
            self._server.told.set()
        await trio.sleep_forever()


async def _hold(steps: int) -> None:
    assert Operator is not None, "an operator has all its code in memory"
    give_back_large_blocks()
    before = _resident_mib()
    server = _Server(steps)
    async with (
        open_client(ClusterConfig("https://api.test"), transport=server) as client,
        trio.open_nursery() as nursery,
    ):
        world = World.watching(client)
        await nursery.start(world.run)
        await server.told.wait()
        while world.step_runs.changes < 2 * steps:  # noqa: ASYNC110 - informers tell nobody how far they are
            await trio.sleep(0.01)
        runs = [_variables_of(world, f"run-{number}") for number in range(steps // STEPS_OF_A_RUN)]
        assert all(len(run.snapshot()["steps"]) >= STEPS_OF_A_RUN for run in runs)
        peak = peak_resident_bytes(os.getpid()) / MIB
        print(before, _resident_mib(), peak)
        nursery.cancel_scope.cancel()


def _variables_of(world: World, run: str) -> Variables:
    """The data that a live run stores about its steps."""
    variables = Variables({})
    for step_run in world.step_runs.each_by_index(OWNER_UID, run):
        variables.remember(step_run)
    return variables


def _resident_mib() -> float:
    gc.collect()
    return resident_bytes(os.getpid()) / MIB


if __name__ == "__main__":
    trio.run(_hold, int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
