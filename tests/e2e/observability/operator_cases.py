"""What the alerts about the operator and about the API server do on bad series, on good ones, in gaps and restarts."""

from __future__ import annotations

from typing import Final

from tests.e2e.observability.alert_case import STARTED, UP, AlertCase, Firing

LEADS: Final = 'leader_election_master_status{job="bobrapet", instance="%s"}'
STUCK: Final = 'bobrapet_informer_stuck_seconds{instance="a", resource="jobs"}'
CONFIGURATION: Final = 'bobrapet_ready{instance="a", check="configuration"}'
MEMORY: Final = 'process_resident_memory_bytes{job="bobrapet", instance="a"}'
CPU: Final = 'process_cpu_seconds_total{job="bobrapet", instance="a"}'
CRASHES: Final = (
    'bobrapet_controller_reconcile_errors_total{job="bobrapet", instance="a", controller="storyrun", '
    'error_type="KeyError"}'
)
RECONCILES: Final = 'bobrapet_controller_reconcile_total{job="bobrapet", instance="a", controller="story", result="%s"}'
RESYNC: Final = 'bobrapet_resync_runs_total{job="bobrapet", instance="a", found="%s"}'
UNREADABLE: Final = 'bobrapet_unreadable_objects_total{job="bobrapet", instance="a", resource="stories"}'
LEFT_OUT: Final = 'bobrapet_objects_left_out_total{job="bobrapet", instance="a", resource="stories"}'
REMOVED: Final = 'bobrapet_metric_label_sets_removed_total{job="bobrapet", instance="a", metric="%s"}'
REQUESTS: Final = 'rest_client_requests_total{job="bobrapet", instance="a", host="h", method="GET", code="%s"}'
BUCKET: Final = 'rest_client_request_duration_seconds_bucket{job="bobrapet", instance="a", verb="%s", le="%s"}'
WRITES: Final = 'bobrapet_api_writes_total{job="bobrapet", instance="a", verb="%s", resource="%s"}'
STEPS: Final = 'bobrapet_stepruns_total{namespace="team", engram="http", phase="Succeeded"}'
RETRIES: Final = 'bobrapet_steprun_retries_total{namespace="team", engram="http", reason="retry"}'
LIVE: Final = 'bobrapet_storyruns_live{namespace="team"}'

CASES: Final = (
    AlertCase("BobrapetAbsent", "no replica is up", {UP: "1x3 0x12"}, "10m", [Firing()]),
    AlertCase("BobrapetAbsent", "the targets are gone", {UP: "1x3 stale _x12"}, "14m", [Firing()]),
    AlertCase("BobrapetAbsent", "one of two replicas is up", {UP: "0x20", UP.replace('"a"', '"b"'): "1x20"}, "15m"),
    AlertCase("BobrapetAbsent", "a restart of a minute", {UP: "1x5 0 1x14"}, "15m"),
    AlertCase("BobrapetNoLeader", "two standbys", {LEADS % "a": "1x3 0x9", LEADS % "b": "0x12"}, "10m", [Firing()]),
    AlertCase("BobrapetNoLeader", "the lead changes", {LEADS % "a": "1x5 0x9", LEADS % "b": "0x5 1x9"}, "12m"),
    AlertCase("BobrapetNoLeader", "no replica is scraped: another alert", {LEADS % "a": "1x3 stale _x9"}, "12m"),
    AlertCase(
        "BobrapetCannotWatch",
        "a kind stands still",
        {STUCK: "0x2 60+60x9"},
        "9m",
        [Firing({"resource": "jobs"}, "7m 0s")],
    ),
    AlertCase("BobrapetCannotWatch", "a watch is opened again", {STUCK: "0x2 60 120 0x9"}, "10m"),
    AlertCase(
        "BobrapetConfigurationRejected", "a wrong value", {CONFIGURATION: "1x2 0x9"}, "9m", [Firing({"instance": "a"})]
    ),
    AlertCase("BobrapetConfigurationRejected", "corrected within minutes", {CONFIGURATION: "1x2 0x2 1x9"}, "9m"),
    AlertCase(
        "BobrapetRestarts",
        "three starts",
        {STARTED: "100x4 200x4 300x4 400x9"},
        "16m",
        [Firing({"job": "bobrapet", "instance": "a"}, "3")],
    ),
    AlertCase("BobrapetRestarts", "an update", {STARTED: "100x4 200x20"}, "20m"),
    AlertCase("BobrapetRestarts", "a gap is no restart", {STARTED: "100x4 _x8 100x4 _x8 100x4"}, "26m"),
    AlertCase(
        "BobrapetMemoryHigh",
        "950 MiB",
        {MEMORY: "996147200x30"},
        "20m",
        [Firing({"job": "bobrapet", "instance": "a"}, "950Mi")],
    ),
    AlertCase("BobrapetMemoryHigh", "a peak of five minutes", {MEMORY: "1e8x5 1e9x5 1e8x20"}, "25m"),
    AlertCase(
        "BobrapetEventLoopBusy",
        "a whole core",
        {CPU: "0+60x40"},
        "25m",
        [Firing({"job": "bobrapet", "instance": "a"}, "100%")],
    ),
    AlertCase("BobrapetEventLoopBusy", "half a core", {CPU: "0+30x40"}, "25m"),
    AlertCase("BobrapetEventLoopBusy", "a restart takes the counter back", {CPU: "9000+6x20 0+6x20"}, "25m"),
    AlertCase(
        "BobrapetRunsCrash",
        "the first crash of a process that has run for long",
        {UP: "1x40", STARTED: "0x40", CRASHES: "_x30 1x10"},
        "32m",
        [Firing({"error_type": "KeyError"}, "1")],
    ),
    AlertCase(
        "BobrapetRunsCrash",
        "crashes of a new process",
        {UP: "_x30 1x10", STARTED: "_x30 1800x10", CRASHES: "_x31 2x10"},
        "33m",
        [Firing({"error_type": "KeyError"}, "2")],
    ),
    AlertCase("BobrapetRunsCrash", "an old crash", {UP: "1x60", STARTED: "0x60", CRASHES: "_x5 3x60"}, "40m"),
    AlertCase(
        "BobrapetRunsCrash",
        "Prometheus was down, and finds an old crash",
        {UP: "1x9 _x30 1x20", STARTED: "0x9 _x30 0x20", CRASHES: "3x9 _x30 3x20"},
        "45m",
    ),
    AlertCase(
        "BobrapetReconcileErrors",
        "half of them fail",
        {RECONCILES % "error": "0+6x40", RECONCILES % "success": "0+6x40"},
        "30m",
        [Firing({"controller": "story"}, "50%")],
    ),
    AlertCase(
        "BobrapetReconcileErrors",
        "a conflict now and then",
        {RECONCILES % "error": "0+1x40", RECONCILES % "success": "0+60x40"},
        "30m",
    ),
    AlertCase(
        "BobrapetReconcileErrors",
        "a restart",
        {RECONCILES % "error": "500x20 0x20", RECONCILES % "success": "0+60x20 0+60x20"},
        "35m",
    ),
    AlertCase(
        "BobrapetEventsLost",
        "a run was not woken",
        {UP: "1x90", STARTED: "0x90", RESYNC % "nothing": "0+5x90", RESYNC % "lost-event": "_x70 1x20"},
        "75m",
        [Firing({"found": "lost-event"}, "1")],
    ),
    AlertCase(
        "BobrapetEventsLost",
        "every resync finds nothing",
        {UP: "1x90", STARTED: "0x90", RESYNC % "nothing": "0+5x90"},
        "75m",
    ),
    AlertCase(
        "BobrapetObjectsUnreadable",
        "a Story that is too deep",
        {UP: "1x40", STARTED: "0x40", UNREADABLE: "_x20 1x20"},
        "25m",
        [Firing({"resource": "stories"}, "1")],
    ),
    AlertCase(
        "BobrapetObjectsUnreadable",
        "objects without a readable name",
        {UP: "1x40", STARTED: "0x40", LEFT_OUT: "0x20 4x20"},
        "21m",
        [Firing({"resource": "stories"}, "4")],
    ),
    AlertCase(
        "BobrapetObjectsUnreadable", "none", {UP: "1x40", STARTED: "0x40", UNREADABLE: "0x40", LEFT_OUT: "0x40"}, "25m"
    ),
    AlertCase(
        "BobrapetMetricFull",
        "the first label set leaves",
        {UP: "1x90", STARTED: "0x90", REMOVED % "bobrapet_storyruns_total": "_x70 1x20"},
        "75m",
        [Firing({"job": "bobrapet", "metric": "bobrapet_storyruns_total"}, "1")],
    ),
    AlertCase(
        "BobrapetMetricFull",
        "label sets of single runs may leave",
        {UP: "1x90", STARTED: "0x90", REMOVED % "bobrapet_child_stepruns_created_total": "0+5x90"},
        "75m",
    ),
    AlertCase(
        "BobrapetMetricFull",
        "the setting was raised long ago",
        {UP: "1x90", STARTED: "0x90", REMOVED % "bobrapet_storyruns_total": "_x5 7x90"},
        "89m",
    ),
    AlertCase(
        "BobrapetApiErrors",
        "every tenth request fails",
        {REQUESTS % "200": "0+54x30", REQUESTS % "503": "0+6x30"},
        "20m",
        [Firing({"job": "bobrapet"}, "10%")],
    ),
    AlertCase(
        "BobrapetApiErrors",
        "objects that are not there, and conflicts, are answers",
        {REQUESTS % "200": "0+54x30", REQUESTS % "404": "0+30x30", REQUESTS % "409": "0+30x30"},
        "20m",
    ),
    AlertCase(
        "BobrapetApiErrors",
        "an API server that restarts",
        {REQUESTS % "200": "0+54x30", REQUESTS % "<error>": "0x10 60x20"},
        "20m",
    ),
    AlertCase(
        "BobrapetForbidden",
        "a right is missing",
        {REQUESTS % "403": "0+1x40"},
        "25m",
        [Firing({"job": "bobrapet", "method": "GET"})],
    ),
    AlertCase("BobrapetForbidden", "rights were given", {REQUESTS % "403": "0+1x5 5x40"}, "25m"),
    AlertCase(
        "BobrapetApiSlow",
        "requests of two seconds",
        {BUCKET % ("patch", "1"): "0+50x30", BUCKET % ("patch", "2"): "0+60x30", BUCKET % ("patch", "+Inf"): "0+60x30"},
        "20m",
        [Firing({"job": "bobrapet", "verb": "patch"}, "1.94s")],
    ),
    AlertCase(
        "BobrapetApiSlow",
        "large lists may take long",
        {BUCKET % ("list", "1"): "0x30", BUCKET % ("list", "2"): "0+60x30", BUCKET % ("list", "+Inf"): "0+60x30"},
        "20m",
    ),
    AlertCase(
        "BobrapetWriteBudgetExceeded",
        "five writes for each step",
        {WRITES % ("patch", "stepruns/status"): "0+60x90", STEPS: "0+12x90"},
        "80m",
        [Firing({}, "5")],
    ),
    AlertCase(
        "BobrapetWriteBudgetExceeded",
        "two writes for each step and each retry",
        {WRITES % ("patch", "stepruns/status"): "0+48x90", STEPS: "0+12x90", RETRIES: "0+12x90"},
        "80m",
    ),
    AlertCase(
        "BobrapetWriteBudgetExceeded",
        "few steps",
        {WRITES % ("patch", "stepruns/status"): "0+10x90", STEPS: "0+1x90"},
        "80m",
    ),
    AlertCase(
        "BobrapetWritesWhileIdle",
        "no run is live",
        {WRITES % ("patch", "stepruns/status"): "0+6x90", LIVE: "1x10 stale _x80"},
        "89m",
        [Firing({}, "100m")],
    ),
    AlertCase(
        "BobrapetWritesWhileIdle",
        "a run is live",
        {WRITES % ("patch", "stepruns/status"): "0+6x90", LIVE: "1x90"},
        "89m",
    ),
    AlertCase(
        "BobrapetWritesWhileIdle", "retention deletes old runs", {WRITES % ("delete", "stepruns"): "0+6x90"}, "89m"
    ),
)
