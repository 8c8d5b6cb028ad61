"""Certificates: how long they are valid, and whether their renewal works."""

from __future__ import annotations

from typing import Final

from deployment.observability.alerts.admission import LEAF_HOURS
from deployment.observability.board import RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import rates, sums
from deployment.observability.rule import BOTH_JOBS, growth

_EXPIRY: Final = "bobrapet_certificate_expiry_timestamp_seconds"
_BOTH: Final = f'job=~"{BOTH_JOBS}|$job"'

BOARD: Final = Dashboard(
    "certificates",
    "bobrapet / Certificates",
    "Certificates of admission and of the hub. A leaf lives for seven days and is renewed with 56 hours left.",
    (
        Row(
            "Now",
            (
                stat(
                    "Time left, by certificate",
                    Unit.SECONDS,
                    "Of the replica with the oldest one. `bobrapet certs show` has the whole chain.",
                    Query(f"min by (certificate) ({_EXPIRY}) - time()", "{{certificate}}"),
                    width=16,
                    bad_below=LEAF_HOURS * 3600,
                ),
                stat(
                    "Failures in the last hour",
                    Unit.COUNT,
                    "Of reading, storing, publishing and serving. Runbook BobrapetCertificateTrouble.",
                    Query(growth("bobrapet_certificate_failures_total", "1h")),
                    width=8,
                    bad_from=1,
                ),
            ),
        ),
        Row(
            "Over time",
            (
                graph(
                    "Time left, by certificate and replica",
                    Unit.SECONDS,
                    "A saw: each jump up is a renewal. A line that falls below 36 hours was not renewed.",
                    Query(f'{_EXPIRY}{{certificate!~".*authority"}} - time()', "{{certificate}} {{instance}}"),
                    bad_below=LEAF_HOURS * 3600,
                ),
                graph(
                    "Time left, by authority and replica",
                    Unit.SECONDS,
                    "The successor of an authority serves with 25 days left.",
                    Query(f'{_EXPIRY}{{certificate=~".*authority"}} - time()', "{{certificate}} {{instance}}"),
                ),
                graph(
                    "Steps of rotations since the start of the processes",
                    Unit.COUNT,
                    "Each step up is one; which replica acts does not matter. found: it was there already.",
                    sums("bobrapet_certificate_rotations_total", "step"),
                ),
                graph(
                    "Failures a minute, by operation",
                    Unit.PER_MINUTE,
                    "store: the Secret. publish: the caBundle of a webhook. serve: the certificate itself.",
                    rates("bobrapet_certificate_failures_total", "operation", times=60),
                ),
                graph(
                    "Mounted files read a minute",
                    Unit.PER_MINUTE,
                    "Only with certificates of cert-manager or other files: each new version, and those that failed.",
                    Query(f"sum(rate(certwatcher_read_certificate_total{{{_BOTH}}}[{RATE}])) * 60", "read"),
                    Query(f"sum(rate(certwatcher_read_certificate_errors_total{{{_BOTH}}}[{RATE}])) * 60", "failed"),
                    width=24,
                ),
            ),
        ),
    ),
)
