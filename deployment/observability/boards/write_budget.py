"""The write budget: what the operator asks of the API server, and whether it is worth it."""

from __future__ import annotations

from typing import Final

from deployment.observability.alerts.api import STEP_WRITES_AT_MOST
from deployment.observability.board import OF_JOB, RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import rates

_WRITES: Final = "bobrapet_api_writes_total"
_STEP_WRITES: Final = f'{_WRITES}{{{OF_JOB}, resource="stepruns/status"}}'
_FAILED: Final = f'rest_client_requests_total{{{OF_JOB}, code=~"5..|429|<error>"}}'
_ENDED: Final = f"sum(rate(bobrapet_stepruns_total[{RATE}]))"
_RETRIES: Final = f"(sum(rate(bobrapet_steprun_retries_total[{RATE}])) or vector(0))"

BOARD: Final = Dashboard(
    "write-budget",
    "bobrapet / Write budget",
    "Requests and writes of the operator, compared with the work that they are for (docs/write-budget.md).",
    (
        Row(
            "Now",
            (
                stat(
                    "Writes a second",
                    Unit.PER_SECOND,
                    "0 while nothing changes.",
                    Query(f"sum(rate({_WRITES}{{{OF_JOB}}}[{RATE}]))"),
                    width=6,
                ),
                stat(
                    "Writes for each ended step",
                    Unit.COUNT,
                    "All writes, those for runs included. One more engram step costs 3 to 7.",
                    Query(f"sum(rate({_WRITES}{{{OF_JOB}}}[{RATE}])) / ({_ENDED} > 0)"),
                    width=6,
                ),
                stat(
                    "Failed requests",
                    Unit.SHARE,
                    "5xx, 429 and requests without an answer. Runbook BobrapetApiErrors.",
                    Query(
                        f"(sum(rate({_FAILED}[{RATE}])) or vector(0)) "
                        f"/ sum(rate(rest_client_requests_total{{{OF_JOB}}}[{RATE}]))"
                    ),
                    width=6,
                    bad_from=0.05,
                ),
                stat(
                    "Stored StoryRuns",
                    Unit.COUNT,
                    "Live and finished. Retention deletes old ones; measured up to 3,000.",
                    Query('max(bobrapet_informer_objects{resource="storyruns"})'),
                    width=6,
                    bad_from=20000,
                ),
            ),
        ),
        Row(
            "Writes",
            (
                graph(
                    "Writes a second, by verb and resource",
                    Unit.PER_SECOND,
                    "Should follow the ended steps. A line of its own that does not: find out which controller.",
                    rates(f"{_WRITES}{{{OF_JOB}}}", "verb", "resource"),
                    is_stacked=True,
                ),
                graph(
                    "Writes of a step's status, for each step or retry",
                    Unit.COUNT,
                    "The budget has at most 2. Above 3 for long: runbook BobrapetWriteBudgetExceeded.",
                    Query(
                        f"sum(rate({_STEP_WRITES}[{RATE}])) / ({_ENDED} + {_RETRIES} > 0)",
                        "writes",
                    ),
                    bad_from=STEP_WRITES_AT_MOST,
                ),
                graph(
                    "Kubernetes Events a second, by outcome",
                    Unit.PER_SECOND,
                    "coalesced: counted in an earlier one. dropped: too many at once. refused: a permission is "
                    "missing.",
                    rates("bobrapet_events_total", "outcome"),
                ),
                graph(
                    "Spans of traces a second, by outcome",
                    Unit.PER_SECOND,
                    "dropped: the collector does not take them in time. refused: it does not accept them.",
                    rates("bobrapet_trace_spans_total", "outcome"),
                ),
                graph(
                    "Ended steps and runs a second",
                    Unit.PER_SECOND,
                    "What the writes are for.",
                    Query(_ENDED, "steps"),
                    Query(f"sum(rate(bobrapet_storyruns_total[{RATE}]))", "runs"),
                ),
            ),
        ),
        Row(
            "All requests",
            (
                graph(
                    "Requests a second, by method",
                    Unit.PER_SECOND,
                    "Without watches that stay open.",
                    rates(f"rest_client_requests_total{{{OF_JOB}}}", "method"),
                    is_stacked=True,
                ),
                graph(
                    "Answers a second other than 2xx, by code",
                    Unit.PER_SECOND,
                    "404, 409: usual. 403: a permission or a quota. 429, 5xx, <error>: the API server is overloaded "
                    "or away.",
                    rates(f'rest_client_requests_total{{{OF_JOB}, code!~"2.."}}', "code"),
                ),
                graph(
                    "Watches opened again a minute, by reason",
                    Unit.PER_MINUTE,
                    "An API server ends each watch after some minutes. Many more: they are cut.",
                    rates(f"bobrapet_watch_restarts_total{{{OF_JOB}}}", "reason", times=60),
                ),
                graph(
                    "Full lists a minute, by resource",
                    Unit.PER_MINUTE,
                    "One for each kind at the start; later only after a watch was lost.",
                    Query(
                        f"topk(10, sum by (resource) (rate(bobrapet_informer_relists_total{{{OF_JOB}}}[{RATE}]))) * 60",
                        "{{resource}}",
                    ),
                ),
            ),
        ),
    ),
)
