"""Measures what traces cost: the same runs, alternately without and with export, in one operator process.

The setting ``telemetry.enabled`` is switched while the process runs, so both are measured under the same load of the
machine. The collector only reads requests; it is in this process, so its CPU is not the operator's. CPU seconds of the
operator are what counts; times depend on what else the machine does. What traces cost while they are off is the time of
their handlers, measured here, for the number of changes of a step.
"""

from __future__ import annotations

import gzip
import os
import time
from collections import defaultdict
from statistics import mean, median, stdev
from typing import Final, cast

import h11
import trio

from bench.observer import Observer, open_observer
from bench.report import Row, Unit, Value
from bench.stand import NAMESPACE, Stand, install_chain, open_stand, start_run
from core.api.objects import Object
from core.api.resource import CONFIG_MAP
from core.engine.clock import system_now
from core.kube.store import Change, ChangeKind
from core.telemetry.tracing.run_trace import TraceRules, run_trace, untraced
from core.telemetry.tracing.trace_span import TraceSpan
from reconcilers.adapters.world import World
from reconcilers.traces.run_spans import TracedRun, TracedStep, run_spans, step_spans
from reconcilers.traces.trace_projection import LiveStates, TraceProjection

ROUNDS: Final = 10
"""Pairs, after one that warms up."""
RUNS: Final = 120
STEPS: Final = 3
BATCH: Final = 512
DEADLINE_SECONDS: Final = 300.0
CHANGES_OF_A_STEP: Final = 8
"""Of a StepRun: created, twice by its container, ended; of its run: a share of the changes that all steps have."""
OPERATOR_NAMESPACE: Final = "bobrapet-system"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_THOUSANDTHS = Unit(digits=3)


class Sink:
    """Answers every request with 200, and counts bytes."""

    def __init__(self) -> None:
        self.requests = 0
        self.size_bytes = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            try:
                await self._answer(connection, stream)
            except trio.BrokenResourceError:
                return

    async def _answer(self, connection: h11.Connection, stream: trio.SocketStream) -> None:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65_536))
            elif isinstance(event, h11.Data):
                self.size_bytes += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.requests += 1
                answer = h11.Response(status_code=200, headers=[("content-length", "0")])
                parts = [connection.send(answer), connection.send(h11.EndOfMessage())]
                await stream.send_all(b"".join(part or b"" for part in parts))
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    sink = Sink()
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(_serve, sink)
        os.environ[ENDPOINT] = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        try:
            async with open_stand() as stand, open_observer(stand.client) as observer:
                cpu, wall = await _rounds(stand, observer)
        finally:
            del os.environ[ENDPOINT]
        nursery.cancel_scope.cancel()
    steps = RUNS * STEPS
    off, on = mean(cpu[False]) / steps, mean(cpu[True]) / steps
    ratios = [after / before for before, after in zip(cpu[False], cpu[True], strict=True)]
    times = [after / before for before, after in zip(wall[False], wall[True], strict=True)]
    idle_seconds, made = _seconds_of_a_change(), _seconds_of_spans()
    return [
        Row("CPU of the operator for a step, traces off", f"{off * 1000:.2f} ms"),
        Row("… on", f"{on * 1000:.2f} ms"),
        Row("CPU, on ÷ off: median of pairs; of all", (_ratio(median(ratios)), _ratio(on / off))),
        Row("pairs", ", ".join(f"{ratio:.3f}" for ratio in ratios)),
        Row("time of the same runs, on ÷ off: median of pairs", _ratio(median(times))),
        Row(
            "… of all together; standard error of the pairs' mean",
            (_ratio(sum(wall[True]) / sum(wall[False])), Value(stdev(times) / len(times) ** 0.5, _THOUSANDTHS)),
        ),
        Row("bytes exported for a step", f"{sink.size_bytes / (steps * (ROUNDS + 1)):.0f}"),
        Row("on: the spans of a step with one attempt, made, encoded and compressed, alone", f"{made * 1e6:.0f} µs"),
        Row("… as a share of the CPU of a step, traces off", Value(made / off, Unit(" %", 100, 1), at_most=0.1)),
        Row("off: the handlers of one change", f"{idle_seconds * 1e9:.0f} ns"),
        Row(
            f"off: {CHANGES_OF_A_STEP} changes, as a share of the CPU of a step",
            Value(idle_seconds * CHANGES_OF_A_STEP / off, Unit(" %", 100, 4), at_most=0.01),
        ),
    ]


def _ratio(on_to_off: float) -> Value:
    return Value(on_to_off, _THOUSANDTHS, at_most=1.1)


async def _rounds(stand: Stand, observer: Observer) -> tuple[dict[bool, list[float]], dict[bool, list[float]]]:
    story = await install_chain(stand.client, length=STEPS)
    cpu: dict[bool, list[float]] = defaultdict(list)
    wall: dict[bool, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        order = (False, True) if number % 2 else (True, False)
        for is_on in order:
            await _switch(stand, is_on)
            used, seconds = await _burst(stand, observer, story, f"{'on' if is_on else 'off'}-{number}")
            if number:
                cpu[is_on].append(used)
                wall[is_on].append(seconds)
    return cpu, wall


async def _switch(stand: Stand, is_on: bool) -> None:
    config: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bobrapet-operator-config", "namespace": OPERATOR_NAMESPACE},
        "data": {"telemetry.enabled": str(is_on).lower(), "telemetry.trace-propagation": str(is_on).lower()},
    }
    await stand.client.apply(CONFIG_MAP, config, force=True)
    await trio.sleep(8)  # the export starts or ends, and the counts of the runs before are written


async def _burst(stand: Stand, observer: Observer, story: str, prefix: str) -> tuple[float, float]:
    """CPU seconds of the operator, those of the export included, and the seconds until all runs had ended."""
    before, _ = stand.cpu_seconds()
    ended, began_at = len(observer.run_ended), trio.current_time()
    async with trio.open_nursery() as nursery:
        for index in range(RUNS):
            nursery.start_soon(start_run, stand.client, story, f"{prefix}-{index}")
    with trio.fail_after(DEADLINE_SECONDS):
        await observer.wait_for_runs(ended + RUNS)
    seconds = trio.current_time() - began_at
    await trio.sleep(7)  # the last batch leaves after five seconds
    return stand.cpu_seconds()[0] - before, seconds


def _seconds_of_spans(steps: int = 5_000) -> float:
    """CPU seconds for the spans of one step of a chain, a third of those of its run included, without the request."""
    from core.telemetry.otlp.otlp_encoding import encoded_request  # here protobuf is wanted

    at = "2026-01-01T00:00:00Z"
    owner = {"metadata": {"name": "chain-1", "namespace": NAMESPACE, "uid": "1", "creationTimestamp": at}}
    entry = {"phase": "Succeeded", "reason": "Completed", "startedAt": at, "finishedAt": at}
    run: Object = owner | {"spec": {"storyRef": {"name": "chain"}}}
    run["status"] = entry | {"attempts": 1, "stepStates": {f"s{index}": entry for index in range(STEPS)}}
    step_run: Object = owner | {"spec": {"stepId": "s0", "engramRef": {"name": "noop"}}, "status": entry}
    known, rules = TracedStep(step_run, "engram", has_job=True), TraceRules(records=True)
    began_at = time.process_time()
    waiting: list[TraceSpan] = []
    for number in range(steps):
        facts = TracedRun(run, run_trace(run, rules))
        waiting.extend(step_spans(facts, f"s{number % STEPS}", known))
        if number % STEPS == 0:
            waiting.extend(run_spans(facts))
        if len(waiting) >= BATCH:
            gzip.compress(encoded_request(waiting, {"service.name": "bench"}), 1)
            waiting = []
    return (time.process_time() - began_at) / steps


def _seconds_of_a_change(changes: int = 200_000) -> float:
    nothing = cast("World", None)  # while there is no sink, a handler looks at nothing
    projection = TraceProjection(nothing, cast("LiveStates", None), untraced, system_now)
    change = Change(ChangeKind.UPDATED, {"metadata": {}}, {"metadata": {}})
    began_at = time.process_time()
    for _ in range(changes):
        projection.step_run_changed(change)
    return (time.process_time() - began_at) / changes


async def _serve(
    sink: Sink, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
) -> None:
    await trio.serve_tcp(sink.serve, 0, host="127.0.0.1", task_status=task_status)
