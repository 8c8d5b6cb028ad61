"""Traces are accepted by the receiver of OpenTelemetry's own collector, and are one tree there. Takes 20 s."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Final

import pytest
import trio

from bubu_contract.submission import story_run_name
from core.policy.settings import OperatorSettings
from core.telemetry.otlp.otlp_settings import OtlpSettings, QueueLimits
from tests.e2e.otlp_collector import OtlpCollector, attributes_of, open_collector
from tests.e2e.stream_rig import open_real_rig, until
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    eventually,
    open_on_real,
    open_operator_cluster,
    status_of,
    step,
)
from tools.control_plane.session import SessionCluster

ROOT: Final = Path(__file__).parents[2]
ON = OperatorSettings(tracing_enabled=True, trace_propagation=True)
SOON: Final = QueueLimits(delay_seconds=0.1)
PATIENCE_SECONDS: Final = 60.0


@pytest.mark.parametrize("compresses", [False, True], ids=["plain", "gzip"])
async def test_a_collector_gets_one_tree(tmp_path: Path, compresses: bool) -> None:
    """A retry and a child run are in it, too."""
    async with open_collector() as collector, open_operator_cluster(tmp_path, None) as world:
        otlp = OtlpSettings(f"{collector.endpoint}/v1/traces", compresses=compresses, limits=SOON)
        await world.engram("greet")
        await world.engram("fail", "exit 137")
        await world.story("inner", step("greet"))
        flaky = step("fail", allowFailure=True, execution={"retry": {"maxRetries": 1, "delay": "10ms"}})
        call = {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "inner"}}, "needs": ["fail"]}
        await world.story("outer", flaky, call)
        async with world.operator(ON, otlp=otlp):
            await world.run("one", "outer")
            run = await world.finished("one")
            await arrived(collector, "run outer", "run inner", "step fail")
    assert collector.roots() == ["run outer"]
    assert collector.edges() == {
        ("", "run outer"),
        ("run outer", "queued"),
        ("run outer", "step fail"),
        ("step fail", "attempt 1"),
        ("step fail", "retry wait"),
        ("step fail", "attempt 2"),
        ("run outer", "step call"),
        ("step call", "run inner"),
        ("run inner", "queued"),
        ("run inner", "step greet"),
        ("step greet", "attempt 1"),
    }
    assert {span["traceId"] for span in collector.spans} == {status_of(run)["trace"]["traceId"]}
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in collector.spans)


async def test_an_impulse_its_run_and_a_container_are_one_trace(
    tmp_path: Path, furnished: SessionCluster, mounts: None
) -> None:
    """The programs are those of the page. They export by OpenTelemetry's SDK, from their containers."""
    async with open_collector() as collector, open_on_real(tmp_path, furnished, isolate=True) as world:
        await world.engram("fetch", program(tmp_path, "main.run()", collector))
        await world.story("report", step("fetch"))
        async with world.operator(ON, otlp=OtlpSettings(f"{collector.endpoint}/v1/traces", limits=SOON)):
            await world.impulse(
                "hook", program(tmp_path, "orders.run()", collector), deliveryPolicy={"dedupe": {"mode": "token"}}
            )
            run = await world.finished(story_run_name(NAMESPACE_NAME, "report", "order-42"), seconds=PATIENCE_SECONDS)
            await arrived(collector, "order arrives", "run report", "download")
    assert status_of(run)["phase"] == "Succeeded"
    assert collector.roots() == ["order arrives"]
    assert collector.edges() == {
        ("", "order arrives"),
        ("order arrives", "run report"),
        ("run report", "queued"),
        ("run report", "step fetch"),
        ("step fetch", "attempt 1"),
        ("attempt 1", "download"),
    }
    assert {span["traceId"] for span in collector.spans} == {status_of(run)["trace"]["traceId"]}
    assert {(span["service"], span["name"]) for span in collector.spans if span["service"] != "bobrapet-operator"} == {
        ("orders", "order arrives"),
        ("main", "download"),
    }


async def test_packets_are_below_the_step_that_gets_them(tmp_path: Path, steerable: SessionCluster) -> None:
    """Operator and hub are processes; each exports by itself, as the standard variables say."""
    async with open_collector() as collector:
        exports = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        async with open_real_rig(tmp_path, steerable, exports=exports) as rig:
            await rig.apply()
            await rig.until_connected()
            rig.let_flow()
            await until(lambda: len(collector.named("hub.processPacket")) >= 5)
            rig.let_end()
            ended = await rig.ended()
            await arrived(collector, "run one", "step add", "step keep")
    packets = collector.named("hub.processPacket")
    assert collector.roots() == ["run one"]
    assert {parent for parent, name in collector.edges() if name == "hub.processPacket"} == {"step add", "step keep"}
    steps = {span["spanId"]: attributes_of(span)["step"] for span in collector.spans if span["name"][:5] == "step "}
    for packet in packets:
        assert packet["service"] == "bobrapet-hub"
        assert attributes_of(packet)["step"] == steps[packet["parentSpanId"]]
        assert int(attributes_of(packet)["packet.bytes"]) > 0
    assert {span["traceId"] for span in collector.spans} == {ended["trace"]["traceId"]}


async def arrived(collector: OtlpCollector, *names: str) -> None:
    async def all_there() -> bool:
        return collector.has(*names)

    try:
        await eventually(all_there, seconds=PATIENCE_SECONDS)
    except trio.TooSlowError:
        raise AssertionError(f"{names} did not all come, but: {sorted(collector.edges())}") from None


def program(folder: Path, ending: str, collector: OtlpCollector) -> str:
    """A script that runs the program of docs/telemetry.md that ends so; it exports to ``collector``."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "telemetry.md").read_text(), re.DOTALL)
    [code] = [block for block in blocks if block.rstrip().endswith(ending)]
    name = ending.partition(".")[0]
    file = folder / f"{name}.py"
    file.write_text(code)
    variables = f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.endpoint} OTEL_SERVICE_NAME={name} PYTHONPATH={ROOT}/sdk"
    return f"export {variables}; exec {shlex.join([sys.executable, str(file)])}"
