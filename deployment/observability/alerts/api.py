"""Alerts about the API server as the operator meets it, and about the writes that it gets from the operator."""

from __future__ import annotations

from typing import Final

from deployment.observability.rule import BOTH_JOBS, Alert, RecordingRule, RuleGroup, Urgency, quantile, ratio

STEP_WRITES_AT_MOST: Final = 3
"""More writes of ``stepruns/status`` than the budget has for a step or a retry, which is 2 (docs/write-budget.md)."""

_REQUESTS: Final = "rest_client_requests_total"
_BOTH: Final = f'job=~"{BOTH_JOBS}"'
_STEP_WRITES: Final = 'bobrapet_api_writes_total{verb="patch", resource="stepruns/status"}'
_IDLE_WRITES: Final = 'bobrapet_api_writes_total{verb!="delete", resource=~"stepruns|stepruns/status|jobs"}'

GROUP: Final = RuleGroup(
    "bobrapet-api",
    (
        RecordingRule(
            "bobrapet:api_request_errors:ratio5m",
            ratio(
                f'{_REQUESTS}{{{_BOTH}, code=~"5..|429|<error>"}}',
                f"{_REQUESTS}{{{_BOTH}}}",
                "5m",
                "job",
            ),
        ),
        RecordingRule(
            "bobrapet:step_status_writes_per_step:ratio30m",
            f"sum(rate({_STEP_WRITES}[30m])) / (sum(rate(bobrapet_stepruns_total[30m])) + "
            "(sum(rate(bobrapet_steprun_retries_total[30m])) or vector(0)))",
        ),
    ),
    (
        Alert(
            "BobrapetApiErrors",
            Urgency.WARNING,
            "bobrapet:api_request_errors:ratio5m > 0.05",
            "10m",
            "Requests of {{ $labels.job }} to the API server fail.",
            "{{ $value | humanizePercentage }} of the requests get 5xx, 429 or no answer. They are repeated, so runs "
            "continue, but later.",
        ),
        Alert(
            "BobrapetForbidden",
            Urgency.WARNING,
            f'sum by (job, method) (rate({_REQUESTS}{{{_BOTH}, code="403"}}[10m])) > 0',
            "10m",
            "The API server forbids {{ $labels.job }} to {{ $labels.method }}.",
            "Requests have been answered with 403 for 10 minutes: a permission is missing, a quota is full, or a "
            "policy refuses. The affected steps wait with reason PermissionDenied.",
        ),
        Alert(
            "BobrapetApiSlow",
            Urgency.WARNING,
            quantile(0.99, f'rest_client_request_duration_seconds_bucket{{{_BOTH}, verb!="list"}}', "5m", "job", "verb")
            + " > 1",
            "10m",
            "The API server answers {{ $labels.job }} slowly ({{ $labels.verb }}).",
            "The p99 of {{ $labels.verb }} is {{ $value | humanizeDuration }}. Each step needs several requests, one "
            "after the other.",
        ),
        Alert(
            "BobrapetWriteBudgetExceeded",
            Urgency.WARNING,
            f"bobrapet:step_status_writes_per_step:ratio30m > {STEP_WRITES_AT_MOST} and "
            "on () sum(rate(bobrapet_stepruns_total[30m])) > 0.1",
            "30m",
            "The operator writes the status of steps too often.",
            "{{ $value | humanize }} writes of stepruns/status for each step or retry; the write budget has 2. etcd "
            "and the API server pay for it.",
        ),
        Alert(
            "BobrapetWritesWhileIdle",
            Urgency.WARNING,
            f"sum(rate({_IDLE_WRITES}[15m])) > 0.05 unless on () (sum(max_over_time(bobrapet_storyruns_live[30m])) > "
            f"0)",
            "30m",
            "The operator writes although no run is live.",
            "{{ $value | humanize }} writes of StepRuns or Jobs a second, and no live run for 30 minutes. An idle "
            "operator writes nothing.",
        ),
    ),
)
