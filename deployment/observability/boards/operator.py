"""The operator itself: does it lead, does it see the cluster, how much does it use?"""

from __future__ import annotations

from typing import Final

from deployment.observability.alerts.operator import LABEL_SETS_REMOVED, MEMORY_LIMIT_BYTES
from deployment.observability.board import OF_JOB, RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import highest, rates
from deployment.observability.rule import growth

_UNREADABLE: Final = "bobrapet_unreadable_objects_total"
_LEFT_OUT: Final = "bobrapet_objects_left_out_total"

BOARD: Final = Dashboard(
    "operator",
    "bobrapet / Operator",
    "The first look when something is wrong: leader, readiness, watches, errors, CPU and memory.",
    (
        Row(
            "Now",
            (
                stat(
                    "Replicas up",
                    Unit.COUNT,
                    "That Prometheus reaches. 0: runbook BobrapetAbsent.",
                    Query(f"sum(up{{{OF_JOB}}})"),
                    bad_below=1,
                ),
                stat(
                    "Leaders",
                    Unit.COUNT,
                    "Must be 1. A process without election has none. Runbook BobrapetNoLeader.",
                    Query(f"sum(leader_election_master_status{{{OF_JOB}}})"),
                    bad_below=1,
                ),
                stat(
                    "Failed checks of readiness",
                    Unit.COUNT,
                    "On all replicas; the panel below names them.",
                    Query("count(bobrapet_ready == 0) or vector(0)"),
                    bad_from=1,
                ),
                stat(
                    "Longest time without a watch",
                    Unit.SECONDS,
                    "Of any kind. Runbook BobrapetCannotWatch.",
                    Query("max(bobrapet_informer_stuck_seconds)"),
                    bad_from=120,
                ),
                stat(
                    "Crashes of runs in the last hour",
                    Unit.COUNT,
                    "Each is a bug. Runbook BobrapetRunsCrash.",
                    Query(growth('bobrapet_controller_reconcile_errors_total{controller="storyrun"}', "1h")),
                    bad_from=1,
                ),
                stat(
                    "Memory",
                    Unit.BYTES,
                    "Of the largest replica. Runbook BobrapetMemoryHigh.",
                    Query(f"max(process_resident_memory_bytes{{{OF_JOB}}})"),
                    bad_from=0.85 * MEMORY_LIMIT_BYTES,
                ),
            ),
        ),
        Row(
            "Does it work?",
            (
                graph(
                    "Readiness, by check and replica",
                    Unit.SWITCH,
                    "0: the check fails; /readyz?verbose has the reason.",
                    Query("min by (check, instance) (bobrapet_ready)", "{{check}} {{instance}}"),
                ),
                graph(
                    "Reconciles a second, by result",
                    Unit.PER_SECOND,
                    "error: repeated after a pause. terminal: the object is wrong, and its status says so.",
                    rates("bobrapet_controller_reconcile_total", "result"),
                ),
                graph(
                    "Errors of controllers a minute",
                    Unit.PER_MINUTE,
                    "Of which controller: its log has the object. Full metrics: runbook BobrapetMetricFull.",
                    rates('bobrapet_controller_reconcile_total{result="error"}', "controller", times=60),
                    Query(
                        f"sum by (error_type) (rate(bobrapet_controller_reconcile_errors_total[{RATE}])) * 60",
                        "crash: {{error_type}}",
                    ),
                    Query(f"sum by (metric) (rate({LABEL_SETS_REMOVED}[{RATE}])) * 60", "metric is full: {{metric}}"),
                ),
                graph(
                    "Runs checked by the resync, a minute",
                    Unit.PER_MINUTE,
                    "Anything but nothing: an event was lost. Runbook BobrapetEventsLost.",
                    rates("bobrapet_resync_runs_total", "found", times=60),
                ),
            ),
        ),
        Row(
            "What it sees",
            (
                graph(
                    "Time without a watch, by kind",
                    Unit.SECONDS,
                    "0: the kind is watched.",
                    Query("topk(10, max by (resource) (bobrapet_informer_stuck_seconds))", "{{resource}}"),
                    bad_from=120,
                ),
                graph(
                    "Objects held in memory, by kind",
                    Unit.COUNT,
                    "Memory follows storyruns and stepruns; retention deletes old ones.",
                    Query("topk(10, max by (resource) (bobrapet_informer_objects))", "{{resource}}"),
                ),
                graph(
                    "Watches opened again a minute, by kind",
                    Unit.PER_MINUTE,
                    "An API server ends each watch after some minutes.",
                    rates(f"bobrapet_watch_restarts_total{{{OF_JOB}}}", "resource", times=60),
                ),
                graph(
                    "Objects that cannot be read, a minute",
                    Unit.PER_MINUTE,
                    "Too deep, too large or damaged. Runbook BobrapetObjectsUnreadable.",
                    Query(f"sum by (resource) (rate({_UNREADABLE}[{RATE}])) * 60", "unreadable {{resource}}"),
                    Query(f"sum by (resource) (rate({_LEFT_OUT}[{RATE}])) * 60", "left out {{resource}}"),
                ),
            ),
        ),
        Row(
            "Process",
            (
                graph(
                    "CPU, by replica",
                    Unit.SHARE,
                    "One thread does the work: 100 % is all there is.",
                    Query(f"rate(process_cpu_seconds_total{{{OF_JOB}}}[{RATE}])", "{{instance}}"),
                    bad_from=0.9,
                ),
                graph(
                    "Memory, by replica",
                    Unit.BYTES,
                    "The limit that is shipped is 1 GiB.",
                    Query(f"process_resident_memory_bytes{{{OF_JOB}}}", "{{instance}}"),
                ),
                graph(
                    "Leader",
                    Unit.SWITCH,
                    "Which replica holds the Lease.",
                    highest(f"leader_election_master_status{{{OF_JOB}}}", "instance"),
                ),
                graph(
                    "Starts of the process within ten minutes",
                    Unit.COUNT,
                    "More than one or two: runbook BobrapetRestarts.",
                    Query(f"changes(process_start_time_seconds{{{OF_JOB}}}[10m])", "{{instance}}"),
                ),
            ),
        ),
    ),
)
