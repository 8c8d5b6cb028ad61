"""What the alerts about admission and certificates do on bad series, on good ones, in gaps and restarts."""

from __future__ import annotations

from typing import Final

from tests.e2e.observability.alert_case import STARTED, UP, AlertCase, Firing

PATH: Final = "/validate-story"
REVIEWS: Final = (
    f'controller_runtime_webhook_requests_total{{job="bobrapet", instance="a", webhook="{PATH}", code="%s"}}'
)
OTHERS: Final = 'controller_runtime_webhook_requests_total{job="cert-manager", webhook="/validate", code="%s"}'
BUCKET: Final = f'controller_runtime_webhook_latency_seconds_bucket{{job="bobrapet", webhook="{PATH}", le="%s"}}'
READY: Final = 'bobrapet_ready{instance="a", check="webhook"}'
SHED: Final = 'bobrapet_webhook_shed_total{reason="turns"}'
DECISIONS: Final = f'bobrapet_admission_decisions_total{{webhook="{PATH}", decision="%s"}}'
EXPIRY: Final = 'bobrapet_certificate_expiry_timestamp_seconds{job="bobrapet", instance="a", certificate="%s"}'
FAILURES: Final = 'bobrapet_certificate_failures_total{job="bobrapet", instance="a", operation="publish"}'
READ_ERRORS: Final = 'certwatcher_read_certificate_errors_total{job="bobrapet", instance="a"}'
DAY: Final = 86_400

CASES: Final = (
    AlertCase(
        "BobrapetAdmissionFailing",
        "every fifth review fails",
        {REVIEWS % "200": "0+8x20", REVIEWS % "503": "0+2x20"},
        "15m",
        [Firing({"webhook": PATH}, "20%")],
    ),
    AlertCase(
        "BobrapetAdmissionFailing",
        "reviews that cannot be read, and an old failure",
        {REVIEWS % "200": "0+8x20", REVIEWS % "400": "0+8x20", REVIEWS % "500": "7x20"},
        "15m",
    ),
    AlertCase(
        "BobrapetAdmissionFailing",
        "webhooks of another operator",
        {OTHERS % "200": "0+8x20", OTHERS % "500": "0+8x20"},
        "15m",
    ),
    AlertCase("BobrapetAdmissionNotReady", "it stays so", {READY: "1x2 0x20"}, "15m", [Firing({"instance": "a"})]),
    AlertCase("BobrapetAdmissionNotReady", "a start", {READY: "0x3 1x20"}, "15m"),
    AlertCase("BobrapetAdmissionShedding", "for long", {SHED: "0+6x30"}, "20m", [Firing({"reason": "turns"}, "100m")]),
    AlertCase("BobrapetAdmissionShedding", "a burst", {SHED: "0+6x3 18x30"}, "20m"),
    AlertCase(
        "BobrapetAdmissionSlow",
        "two seconds",
        {BUCKET % "1": "0x30", BUCKET % "2.5": "0+6x30", BUCKET % "+Inf": "0+6x30"},
        "20m",
        [Firing({"webhook": PATH}, "2.485s")],
    ),
    AlertCase("BobrapetAdmissionSlow", "quick", {BUCKET % "1": "0+6x30", BUCKET % "+Inf": "0+6x30"}, "20m"),
    AlertCase(
        "BobrapetAdmissionDenials",
        "a client that does not learn",
        {DECISIONS % "denied": "0+9x90", DECISIONS % "allowed": "0+1x90"},
        "80m",
        [Firing({"webhook": PATH}, "90%")],
    ),
    AlertCase(
        "BobrapetAdmissionDenials",
        "a person who makes a mistake",
        {DECISIONS % "denied": "0x40 3x50", DECISIONS % "allowed": "0x90"},
        "80m",
    ),
    AlertCase(
        "BobrapetCertificateExpiring",
        "a leaf with a day left",
        {EXPIRY % "leaf": f"{DAY}x60"},
        "30m",
        [Firing({"job": "bobrapet", "certificate": "leaf"}, "23h 30m 0s")],
    ),
    AlertCase(
        "BobrapetCertificateExpiring",
        "an authority with a week left",
        {EXPIRY % "hub-authority": f"{7 * DAY}x60"},
        "30m",
        [Firing({"job": "bobrapet", "certificate": "hub-authority"}, "6d 23h 30m 0s")],
    ),
    AlertCase(
        "BobrapetCertificateExpiring",
        "just before the renewal",
        {EXPIRY % "leaf": f"{3 * DAY}x60", EXPIRY % "authority": f"{26 * DAY}x60"},
        "30m",
    ),
    AlertCase("BobrapetCertificateExpiring", "renewed", {EXPIRY % "leaf": f"{DAY}x10 {7 * DAY}x50"}, "30m"),
    AlertCase(
        "BobrapetCertificateNearlyExpired",
        "one replica of two serves an old one",
        {EXPIRY % "leaf": f"{DAY // 4}x60", (EXPIRY % "leaf").replace('"a"', '"b"'): f"{7 * DAY}x60"},
        "10m",
        [Firing({"job": "bobrapet", "certificate": "leaf"}, "5h 50m 0s")],
    ),
    AlertCase("BobrapetCertificateNearlyExpired", "a day left", {EXPIRY % "leaf": f"{DAY}x60"}, "10m"),
    AlertCase(
        "BobrapetCertificateTrouble",
        "the bundle cannot be published",
        {UP: "1x60", STARTED: "0x60", FAILURES: "_x20 1+1x40"},
        "40m",
        [Firing({"job": "bobrapet", "operation": "publish"}, "15")],
    ),
    AlertCase(
        "BobrapetCertificateTrouble",
        "a mounted file that cannot be used",
        {UP: "1x60", STARTED: "0x60", READ_ERRORS: "0+1x60"},
        "40m",
        [Firing({"job": "bobrapet"}, "15")],
    ),
    AlertCase(
        "BobrapetCertificateTrouble",
        "one failure that passed",
        {UP: "1x60", STARTED: "0x60", FAILURES: "_x20 1x40", READ_ERRORS: "0x60"},
        "50m",
    ),
)
