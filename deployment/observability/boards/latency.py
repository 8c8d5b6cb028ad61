"""Latency: where the time between two steps goes."""

from __future__ import annotations

from typing import Final

from deployment.observability.board import HERE, OF_JOB, RATE, Dashboard, Query, Row, Unit, graph
from deployment.observability.query import quantiles, rates

_P50_P99: Final = (0.5, 0.99)

BOARD: Final = Dashboard(
    "latency",
    "bobrapet / Latency",
    "Where time goes: in the operator, in the API server, in admission, in queues, in the steps themselves.",
    (
        Row(
            "The operator",
            (
                graph(
                    "Reconciles, by controller (p99)",
                    Unit.SECONDS,
                    "One slow controller: look at its log. All slow: the API server is slow, or the event loop is "
                    "busy.",
                    *quantiles("bobrapet_controller_reconcile_duration_seconds_bucket", "controller", shares=(0.99,)),
                ),
                graph(
                    "Use of the event loop",
                    Unit.SHARE,
                    "CPU of each process. All work shares one thread: near 100 % everything takes longer.",
                    Query(f"rate(process_cpu_seconds_total{{{OF_JOB}}}[{RATE}])", "{{instance}}"),
                    bad_from=0.9,
                ),
                graph(
                    "Expressions, by dialect",
                    Unit.SECONDS,
                    "Evaluation of templates and CEL, without the wait for a turn.",
                    *quantiles("bobrapet_cel_evaluation_duration_seconds_bucket", "expression_type", shares=_P50_P99),
                ),
                graph(
                    "Expressions a second, by result",
                    Unit.PER_SECOND,
                    "limit, error: users get these as failed steps.",
                    rates("bobrapet_cel_evaluation_total", "expression_type", "result"),
                    Query(
                        f"sum by (cache_type) (rate(bobrapet_cel_cache_hits_total[{RATE}]))", "{{cache_type}} reused"
                    ),
                ),
            ),
        ),
        Row(
            "The API server, as the operator sees it",
            (
                graph(
                    "Requests (p50), by verb",
                    Unit.SECONDS,
                    "A step needs several requests, one after the other.",
                    *quantiles(f"rest_client_request_duration_seconds_bucket{{{OF_JOB}}}", "verb", shares=(0.5,)),
                ),
                graph(
                    "Requests (p99), by verb",
                    Unit.SECONDS,
                    "Over a second: runbook BobrapetApiSlow.",
                    *quantiles(f"rest_client_request_duration_seconds_bucket{{{OF_JOB}}}", "verb", shares=(0.99,)),
                    bad_from=1,
                ),
            ),
        ),
        Row(
            "What users wait for",
            (
                graph(
                    "Admission of an object",
                    Unit.SECONDS,
                    "All webhooks together. The API server gives up after 4 or 5 s.",
                    *quantiles(f"controller_runtime_webhook_latency_seconds_bucket{{{OF_JOB}}}"),
                    bad_from=1,
                ),
                graph(
                    "A slot",
                    Unit.SECONDS,
                    "Of the steps that had to wait for one; the dashboard of queues has more.",
                    *quantiles(f"bobrapet_storyrun_queue_age_seconds_bucket{{{HERE}}}"),
                ),
                graph(
                    "A step",
                    Unit.SECONDS,
                    "From Pending to the end: the start of the Pod, the work, and all retries.",
                    *quantiles(f"bobrapet_steprun_duration_seconds_bucket{{{HERE}}}"),
                ),
                graph(
                    "A run",
                    Unit.SECONDS,
                    "From start to end.",
                    *quantiles(f"bobrapet_storyrun_duration_seconds_bucket{{{HERE}}}"),
                ),
            ),
        ),
    ),
    has_namespaces=True,
)
