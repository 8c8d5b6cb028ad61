"""Alerts about admission and about certificates."""

from __future__ import annotations

from typing import Final

from deployment.observability.rule import JOB, Alert, RecordingRule, RuleGroup, Urgency, growth, quantile, ratio

LEAF_HOURS: Final = 36
"""A leaf lives for seven days and is renewed with 56 hours left."""
AUTHORITY_DAYS: Final = 10
"""The successor of an authority serves with 25 days left."""

_REVIEWS: Final = "controller_runtime_webhook_requests_total"
_DECISIONS: Final = "bobrapet_admission_decisions_total"
_EXPIRY: Final = "bobrapet_certificate_expiry_timestamp_seconds"


def _left(certificates: str) -> str:
    return f'min by (job, certificate) ({_EXPIRY}{{certificate=~"{certificates}"}}) - time()'


GROUP: Final = RuleGroup(
    "bobrapet-admission",
    (
        RecordingRule(
            "bobrapet:certificate_failures:increase15m",
            growth("bobrapet_certificate_failures_total", "15m", "job", "operation"),
        ),
        RecordingRule(
            "bobrapet:certificate_read_errors:increase15m",
            growth('certwatcher_read_certificate_errors_total{job=~"bobrapet.*"}', "15m", "job"),
        ),
    ),
    (
        Alert(
            "BobrapetAdmissionFailing",
            Urgency.CRITICAL,
            ratio(f'{_REVIEWS}{{job="{JOB}", code=~"5.."}}', f'{_REVIEWS}{{job="{JOB}"}}', "5m", "webhook") + " > 0.05",
            "5m",
            "Admission answers {{ $labels.webhook }} with errors.",
            "{{ $value | humanizePercentage }} of the reviews fail, and the API server then refuses the requests of "
            "users.",
        ),
        Alert(
            "BobrapetAdmissionNotReady",
            Urgency.WARNING,
            'min by (instance) (bobrapet_ready{check="webhook"}) == 0',
            "10m",
            "Admission is not ready on {{ $labels.instance }}.",
            "This replica answers no reviews: its certificate is not trusted yet, or its caches are not filled. When "
            "no replica is ready, new objects are refused.",
        ),
        Alert(
            "BobrapetAdmissionShedding",
            Urgency.WARNING,
            "sum by (reason) (rate(bobrapet_webhook_shed_total[5m])) > 0",
            "10m",
            "Admission leaves reviews undecided ({{ $labels.reason }}).",
            "{{ $value | humanize }} reviews a second exceed a limit ({{ $labels.reason }}). The API server refuses "
            "these requests; clients may repeat them.",
        ),
        Alert(
            "BobrapetAdmissionSlow",
            Urgency.WARNING,
            quantile(0.99, f'controller_runtime_webhook_latency_seconds_bucket{{job="{JOB}"}}', "5m", "webhook")
            + " > 1",
            "10m",
            "Admission is slow on {{ $labels.webhook }}.",
            "The p99 is {{ $value | humanizeDuration }}. The API server gives up after 4 or 5 seconds and refuses the "
            "request.",
        ),
        Alert(
            "BobrapetAdmissionDenials",
            Urgency.WARNING,
            ratio(f'{_DECISIONS}{{decision="denied"}}', _DECISIONS, "30m", "webhook")
            + f' > 0.5 and sum by (webhook) (rate({_DECISIONS}{{decision="denied"}}[30m])) > 0.05',
            "15m",
            "Admission denies most objects on {{ $labels.webhook }}.",
            "{{ $value | humanizePercentage }} of the reviews are denied. Some client sends the same wrong object "
            "again and again.",
        ),
        Alert(
            "BobrapetCertificateExpiring",
            Urgency.WARNING,
            f"{_left('.*leaf')} < {LEAF_HOURS * 3600} or {_left('.*authority')} < {AUTHORITY_DAYS * 86400}",
            "15m",
            "Certificate {{ $labels.certificate }} of {{ $labels.job }} was not renewed.",
            "It expires in {{ $value | humanizeDuration }}, and should have been renewed by now.",
        ),
        Alert(
            "BobrapetCertificateNearlyExpired",
            Urgency.CRITICAL,
            f"{_left('.*')} < {12 * 3600}",
            "0m",
            "Certificate {{ $labels.certificate }} of {{ $labels.job }} expires within hours.",
            "It expires in {{ $value | humanizeDuration }}. After that, the API server refuses all new objects "
            "(leaf, authority), or the containers of realtime steps cannot connect (hub-leaf, hub-authority).",
        ),
        Alert(
            "BobrapetCertificateTrouble",
            Urgency.WARNING,
            "bobrapet:certificate_failures:increase15m > 0 or bobrapet:certificate_read_errors:increase15m > 0",
            "15m",
            "{{ $labels.job }} cannot renew or publish certificates.",
            "{{ $value | humanize }} failures within 15 minutes. The served certificate stays valid until it expires.",
        ),
    ),
)
