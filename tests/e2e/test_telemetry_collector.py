"""Traces are accepted by the receiver of OpenTelemetry's own collector, and are one tree there. Takes 5 s."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from core.policy.settings import OperatorSettings
from core.telemetry.otlp.otlp_settings import OtlpSettings, QueueLimits
from tests.e2e.control_plane.binaries import ensure_tool
from tests.e2e.control_plane.ports import unshared_port
from tests.integration.operator_cluster import OperatorCluster, eventually, open_operator_cluster, status_of, step

ON = OperatorSettings(tracing_enabled=True, trace_propagation=True)


@asynccontextmanager
async def collector(port: int) -> AsyncIterator[list[dict[str, Any]]]:
    """The spans that the collector has got, as it writes them: OTLP JSON."""
    program = await trio.to_thread.run_sync(ensure_tool, "otlp-collector")
    spans: list[dict[str, Any]] = []

    async def read(process: trio.Process, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        text = b""
        assert process.stdout is not None
        async for part in process.stdout:
            *lines, text = (text + part).split(b"\n")
            for line in lines:
                if line == b"ready":
                    task_status.started()
                    continue
                for resource in json.loads(line)["resourceSpans"]:
                    spans.extend(span for scope in resource["scopeSpans"] for span in scope["spans"])

    async with trio.open_nursery() as nursery:
        command = [str(program), f"127.0.0.1:{port}"]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            with trio.fail_after(20):
                await nursery.start(read, process)
            yield spans
        finally:
            process.kill()
            await process.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("compresses", [False, True], ids=["plain", "gzip"])
async def test_a_collector_gets_one_tree(tmp_path: Path, compresses: bool) -> None:
    port = unshared_port()
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    otlp = OtlpSettings(endpoint, compresses=compresses, limits=QueueLimits(delay_seconds=0.1))
    async with collector(port) as spans, open_operator_cluster(tmp_path, None) as world:
        run = await _played(world, otlp, spans)
    by_id = {span["spanId"]: span for span in spans}
    parents = {span["name"]: by_id.get(span.get("parentSpanId", ""), {}).get("name", "") for span in spans}
    assert parents == {"run pair": "", "queued": "run pair", "step a": "run pair", "attempt 1": "step a"}
    assert {span["traceId"] for span in spans} == {status_of(run)["trace"]["traceId"]}
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)


async def _played(world: OperatorCluster, otlp: OtlpSettings, spans: list[dict[str, Any]]) -> dict[str, Any]:
    await world.engram("greet")
    await world.story("pair", step("a", "greet"))

    async def all_there() -> bool:
        return {"run pair", "attempt 1"} <= {span["name"] for span in spans}

    async with world.operator(ON, otlp=otlp):
        await world.run("one", "pair")
        run = await world.finished("one")
        await eventually(all_there)
    return run
