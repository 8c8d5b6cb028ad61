"""Admission: what is reviewed, how fast, and what is refused."""

from __future__ import annotations

from typing import Final

from deployment.observability.board import OF_JOB, RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import highest, quantiles, rates, sums

_REVIEWS: Final = f"controller_runtime_webhook_requests_total{{{OF_JOB}}}"
_FAILED: Final = f'controller_runtime_webhook_requests_total{{{OF_JOB}, code=~"5.."}}'
_LATENCY: Final = f"controller_runtime_webhook_latency_seconds_bucket{{{OF_JOB}}}"
_DECISIONS: Final = "bobrapet_admission_decisions_total"

BOARD: Final = Dashboard(
    "admission",
    "bobrapet / Admission",
    "The webhook server that accepts or refuses new objects. If it fails, the API server refuses them.",
    (
        Row(
            "Now",
            (
                stat(
                    "Ready replicas",
                    Unit.COUNT,
                    "Replicas that answer reviews. 0: all new objects are refused.",
                    Query('sum(bobrapet_ready{check="webhook"})'),
                    width=6,
                    bad_below=1,
                ),
                stat(
                    "Reviews a second",
                    Unit.PER_SECOND,
                    "All webhooks.",
                    Query(f"sum(rate({_REVIEWS}[{RATE}]))"),
                    width=6,
                ),
                stat(
                    "Failed reviews",
                    Unit.SHARE,
                    "Answers 5xx. Runbook BobrapetAdmissionFailing.",
                    Query(f"(sum(rate({_FAILED}[{RATE}])) or vector(0)) / sum(rate({_REVIEWS}[{RATE}]))"),
                    width=6,
                    bad_from=0.05,
                ),
                stat(
                    "p99",
                    Unit.SECONDS,
                    "The API server gives up after 4 s (defaults) or 5 s (validation).",
                    Query(f"histogram_quantile(0.99, sum by (le) (rate({_LATENCY}[{RATE}])))"),
                    width=6,
                    bad_from=1,
                ),
            ),
        ),
        Row(
            "Reviews",
            (
                graph(
                    "Reviews a second, by webhook",
                    Unit.PER_SECOND,
                    "What users and the operator write.",
                    rates(_REVIEWS, "webhook"),
                    is_stacked=True,
                ),
                graph(
                    "Decisions a second",
                    Unit.PER_SECOND,
                    "Denials are mistakes of users. The log has the object, the user and the rules.",
                    rates(_DECISIONS, "decision"),
                ),
                graph(
                    "Denials a minute, by webhook",
                    Unit.PER_MINUTE,
                    "A steady line is a client that sends the same wrong object again and again.",
                    rates(f'{_DECISIONS}{{decision="denied"}}', "webhook", times=60),
                ),
                graph(
                    "Answers a second, by code",
                    Unit.PER_SECOND,
                    "200: decided. 400: not a review. 429, 503: not decided, the client may repeat it. 500: a bug.",
                    rates(_REVIEWS, "code"),
                ),
            ),
        ),
        Row(
            "Load",
            (
                graph(
                    "Duration of reviews",
                    Unit.SECONDS,
                    "All webhooks together.",
                    *quantiles(_LATENCY),
                    bad_from=1,
                ),
                graph(
                    "Duration of reviews (p99), by webhook",
                    Unit.SECONDS,
                    "Stories with many steps take longest.",
                    *quantiles(_LATENCY, "webhook", shares=(0.99,)),
                ),
                graph(
                    "Reviews in progress",
                    Unit.COUNT,
                    "By replica.",
                    sums(f"controller_runtime_webhook_requests_in_flight{{{OF_JOB}}}", "instance"),
                ),
                graph(
                    "Reviews left undecided a second, by limit",
                    Unit.PER_SECOND,
                    "requests, bytes, turns, time: too much at once. Runbook BobrapetAdmissionShedding.",
                    rates("bobrapet_webhook_shed_total", "reason"),
                ),
                graph(
                    "Ready, by replica",
                    Unit.SWITCH,
                    "0: this replica answers no reviews; /readyz has the reason.",
                    highest('bobrapet_ready{check="webhook"}', "instance"),
                    width=24,
                ),
            ),
        ),
    ),
)
