"""Runs measurements by name, or all of them if no name is given; exits with 1 if a target is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import (
    admission,
    command_line,
    deliveries,
    expressions,
    go_streams,
    history,
    history_on_server,
    hub,
    idle,
    kill,
    large,
    live_steps,
    main_job,
    neighbour,
    object_store,
    stall,
    stored_data,
    stream_sdk,
    streams,
    telemetry,
    throughput,
    warm,
    warm_kill,
    warm_waves,
    webhook,
    week,
    whole_operator,
    wire,
)
from bench.plane import measure as plane
from bench.report import Row, report

MEASUREMENTS: dict[str, Callable[[], list[Row]]] = {
    "command-line": command_line.measure,
    "expressions": expressions.measure,
    "stall": stall.measure,
    "admission": admission.measure,
    "throughput": throughput.measure,
    "warm": warm.measure,
    "warm-kill": warm_kill.measure,
    "kill": kill.measure,
    "idle": idle.measure,
    "history": history.measure,
    "main-job": main_job.measure,
    "large": large.measure,
    "live-steps": live_steps.rows,
    "operator-memory": whole_operator.rows,
    "neighbour": neighbour.measure,
    "webhook": webhook.measure,
    "object-store": object_store.measure,
    "control-plane": plane.measure,
    "wire": wire.measure,
    "stream-sdk": stream_sdk.measure,
    "hub": hub.measure,
    "streams": streams.measure,
    "telemetry": telemetry.measure,
}
PARTS: dict[str, Callable[[], list[Row]]] = {
    "control-plane-rates": plane.measure_rates,
    "control-plane-warm": plane.measure_warm,
    "reactions": plane.measure_reactions,
    "deliveries": deliveries.measure,
    "warm-kill-on-server": warm_kill.measure_on_server,
    "warm-waves": warm_waves.measure,
    "stored-data": stored_data.measure,
    "go-streams": go_streams.measure,
    "history-on-server": history_on_server.measure,
    "week": week.measure,
}
"""Only run when named: parts of the measurements above, and what takes many minutes and has one right result."""


def main(names: list[str]) -> int:
    known = MEASUREMENTS | PARTS
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.stderr.write(f"unknown measurement {', '.join(unknown)}; known: {', '.join(known)}\n")
        return 2
    return report((name, known[name]()) for name in names or MEASUREMENTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
