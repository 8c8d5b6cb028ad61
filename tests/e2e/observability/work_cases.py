"""What the alerts about runs, steps, queues, expressions and streams do on bad series, good ones, gaps and restarts."""

from __future__ import annotations

from typing import Final

from tests.e2e.observability.alert_case import STARTED, UP, AlertCase, Firing

RUNS: Final = 'bobrapet_storyruns_total{job="bobrapet", instance="a", namespace="team", story="etl", phase="%s"}'
STORY: Final = {"namespace": "team", "story": "etl"}
STEPS: Final = 'bobrapet_stepruns_total{namespace="team", engram="http", phase="Succeeded"}'
RETRIES: Final = 'bobrapet_steprun_retries_total{namespace="team", engram="http", reason="%s"}'
OLDEST: Final = 'bobrapet_queue_oldest_wait_seconds{queue="gpu"}'
RUNNING: Final = 'bobrapet_queue_steps_running{queue="gpu"}'
WAIT: Final = 'bobrapet_evaluation_wait_seconds_bucket{lane="process", le="%s"}'
ENDED: Final = 'bobrapet_evaluation_workers_ended_total{limit="time"}'
THROTTLED: Final = 'bobrapet_impulse_throttled_triggers_total{namespace="team", impulse="hook"}'
STORED: Final = 'bobrapet_informer_objects{resource="storyruns"}'
BINDINGS: Final = 'bobrapet_informer_objects{resource="transportbindings"}'
HUB_UP: Final = 'up{job="bobrapet-hub", instance="h"}'
HUB_STARTED: Final = 'process_start_time_seconds{job="bobrapet-hub", instance="h"}'
STEP: Final = {"namespace": "team", "story": "etl", "step": "days"}
HELD: Final = 'bobrapet_hub_held_steps{namespace="team", story="etl", step="days"}'
WAITING: Final = 'bobravoz_hub_buffer_current_size{namespace="team", story="etl", step="days"}'
DELIVERED: Final = 'bobrapet_hub_messages_delivered_total{namespace="team", story="etl", step="days"}'
LOST: Final = (
    'bobravoz_hub_messages_dropped_total{job="bobrapet-hub", instance="h", namespace="team", story="etl", '
    'step="days", reason="invalid"}'
)

CASES: Final = (
    AlertCase(
        "BobrapetRunsFailing",
        "most runs fail",
        {UP: "1x60", STARTED: "0x60", RUNS % "Failed": "0+3x60", RUNS % "Succeeded": "0+1x60"},
        "50m",
        [Firing(STORY, "75%")],
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "all runs time out, since a deployment",
        {UP: "1x60", STARTED: "0x60", RUNS % "Succeeded": "100x60", RUNS % "Timeout": "_x30 2+2x30"},
        "45m",
        [Firing(STORY, "100%")],
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "every tenth run fails",
        {UP: "1x60", STARTED: "0x60", RUNS % "Failed": "0+1x60", RUNS % "Succeeded": "0+9x60"},
        "50m",
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "two runs, and both fail",
        {UP: "1x60", STARTED: "0x60", RUNS % "Failed": "0x40 1x5 2x15"},
        "58m",
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "people cancel runs",
        {UP: "1x60", STARTED: "0x60", RUNS % "Canceled": "0+3x60", RUNS % "Failed": "0x60"},
        "50m",
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "the operator restarts after many failures of long ago",
        {UP: "1x90", STARTED: "0x60 3600x30", RUNS % "Failed": "500x60 0x30", RUNS % "Succeeded": "0+9x60 0+9x30"},
        "80m",
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "label sets that left a full metric come back",
        {UP: "1x90", STARTED: "0x90", RUNS % "Failed": "500x50 stale _x5 1x30", RUNS % "Succeeded": "0+9x90"},
        "70m",
    ),
    AlertCase(
        "BobrapetRunsFailing",
        "runs fail whose label set left a full metric and came back",
        {UP: "1x90", STARTED: "0x90", RUNS % "Failed": "500x50 stale _x5 1+1x30"},
        "70m",
        [Firing(STORY, "100%")],
    ),
    AlertCase(
        "BobrapetStepsRetrying",
        "three retries for each step",
        {STEPS: "0+1x90", RETRIES % "rateLimited": "0+3x90"},
        "80m",
        [Firing({"namespace": "team", "engram": "http", "reason": "rateLimited"}, "3")],
    ),
    AlertCase("BobrapetStepsRetrying", "a retry now and then", {STEPS: "0+10x90", RETRIES % "retry": "0+1x90"}, "80m"),
    AlertCase(
        "BobrapetQueueWaitLong",
        "an hour",
        {OLDEST: "3000+60x20"},
        "12m",
        [Firing({"queue": "gpu"}, "1h 2m 0s")],
    ),
    AlertCase("BobrapetQueueWaitLong", "minutes", {OLDEST: "0+60x20"}, "19m"),
    AlertCase("BobrapetQueueWaitLong", "a gap after a long wait", {OLDEST: "3000x5 _x10 0x5"}, "19m"),
    AlertCase(
        "BobrapetQueueBlocked",
        "nothing runs",
        {OLDEST: "0+60x30", RUNNING: "0x30"},
        "20m",
        [Firing({"queue": "gpu"}, "20m 0s")],
    ),
    AlertCase("BobrapetQueueBlocked", "steps run", {OLDEST: "0+60x30", RUNNING: "4x30"}, "20m"),
    AlertCase("BobrapetQueueBlocked", "nothing waits", {OLDEST: "0x30", RUNNING: "0x30"}, "20m"),
    AlertCase(
        "BobrapetEvaluationSlow",
        "half a minute",
        {WAIT % "15": "0x40", WAIT % "60": "0+6x40", WAIT % "+Inf": "0+6x40"},
        "30m",
        [Firing({"lane": "process"}, "57.75s")],
    ),
    AlertCase("BobrapetEvaluationSlow", "no wait", {WAIT % "15": "0+6x40", WAIT % "+Inf": "0+6x40"}, "30m"),
    AlertCase(
        "BobrapetEvaluationsEnded", "one a minute", {ENDED: "0+1x60"}, "40m", [Firing({"limit": "time"}, "16.67m")]
    ),
    AlertCase("BobrapetEvaluationsEnded", "one in an hour", {ENDED: "0x30 1x30"}, "40m"),
    AlertCase(
        "BobrapetTriggersThrottled",
        "more and more",
        {THROTTLED: "0+2x40"},
        "35m",
        [Firing({"namespace": "team", "impulse": "hook"}, "30")],
    ),
    AlertCase("BobrapetTriggersThrottled", "a burst of an hour ago", {THROTTLED: "0+2x9 18x80"}, "80m"),
    AlertCase("BobrapetManyStoredRuns", "30,000", {STORED: "30000x90"}, "80m", [Firing({}, "30000")]),
    AlertCase("BobrapetManyStoredRuns", "3,000", {STORED: "3000x90"}, "80m"),
    AlertCase(
        "BobrapetHubAbsent", "realtime steps without a hub", {BINDINGS: "3x20", HUB_UP: "1x2 0x18"}, "15m", [Firing()]
    ),
    AlertCase("BobrapetHubAbsent", "a restart", {BINDINGS: "3x20", HUB_UP: "1x5 0x2 1x12"}, "15m"),
    AlertCase("BobrapetHubAbsent", "no hub is installed, and none is needed", {BINDINGS: "0x20"}, "15m"),
    AlertCase("BobrapetStreamBlocked", "for half an hour", {HELD: "1x40"}, "35m", [Firing(STEP)]),
    AlertCase("BobrapetStreamBlocked", "now and then", {HELD: "1 1 0 1 1 0 1 1 0 1x9 0 1x9 0 1x9"}, "35m"),
    AlertCase(
        "BobrapetStreamStalled",
        "nothing is acknowledged",
        {WAITING: "0+5x40", DELIVERED: "0+9x9 90x30"},
        "38m",
        [Firing(STEP, "190")],
    ),
    AlertCase("BobrapetStreamStalled", "a slow step", {WAITING: "100x40", DELIVERED: "0+1x40"}, "38m"),
    AlertCase("BobrapetStreamStalled", "nothing waits", {WAITING: "0x40", DELIVERED: "90x40"}, "38m"),
    AlertCase("BobrapetStreamStalled", "a restart of the hub", {WAITING: "9x40", DELIVERED: "900+9x20 0+9x20"}, "38m"),
    AlertCase(
        "BobrapetPacketsLost",
        "a burst between two scrapes, the first of the step",
        {HUB_UP: "1x40", HUB_STARTED: "0x40", LOST: "_x20 100x20"},
        "22m",
        [Firing({**STEP, "reason": "invalid"}, "100")],
    ),
    AlertCase(
        "BobrapetPacketsLost",
        "a newer packet has replaced them",
        {HUB_UP: "1x40", HUB_STARTED: "0x40", LOST.replace("invalid", "superseded"): "_x20 100x20"},
        "22m",
    ),
    AlertCase("BobrapetPacketsLost", "lost long ago", {HUB_UP: "1x60", HUB_STARTED: "0x60", LOST: "_x5 100x60"}, "45m"),
    AlertCase(
        "BobrapetPacketsLost",
        "Prometheus was down",
        {HUB_UP: "1x9 _x30 1x20", HUB_STARTED: "0x9 _x30 0x20", LOST: "100x9 _x30 100x20"},
        "45m",
    ),
)
