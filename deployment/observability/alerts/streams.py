"""Alerts about the hub and the streams of realtime Stories."""

from __future__ import annotations

from typing import Final

from deployment.observability.rule import HUB_JOB, Alert, RecordingRule, RuleGroup, Urgency, growth

_STEP: Final = ("namespace", "story", "step")
_BY_STEP: Final = f"sum by ({', '.join(_STEP)})"

GROUP: Final = RuleGroup(
    "bobrapet-streams",
    (
        RecordingRule(
            "bobrapet:packets_lost:increase15m",
            growth('bobravoz_hub_messages_dropped_total{reason!="superseded"}', "15m", *_STEP, "reason"),
        ),
    ),
    (
        Alert(
            "BobrapetHubAbsent",
            Urgency.CRITICAL,
            f'absent(up{{job="{HUB_JOB}"}} == 1) '
            'and on () (max(bobrapet_informer_objects{resource="transportbindings"}) > 0)',
            "5m",
            "The hub does not answer Prometheus, and realtime steps exist.",
            "No target of job bobrapet-hub has been up for 5 minutes. Realtime steps keep their packets and wait, or "
            "Prometheus may not scrape the hub.",
        ),
        Alert(
            "BobrapetStreamBlocked",
            Urgency.WARNING,
            f"{_BY_STEP} (min_over_time(bobrapet_hub_held_steps[15m])) > 0",
            "5m",
            "Step {{ $labels.step }} of {{ $labels.namespace }}/{{ $labels.story }} waits for a full receiver.",
            "The step has been held back for 15 minutes: a step behind it takes less than it gets. Nothing is lost.",
        ),
        Alert(
            "BobrapetStreamStalled",
            Urgency.WARNING,
            f"{_BY_STEP} (bobravoz_hub_buffer_current_size) > 0 and "
            f"{_BY_STEP} (rate(bobrapet_hub_messages_delivered_total[10m])) == 0",
            "10m",
            "Step {{ $labels.step }} of {{ $labels.namespace }}/{{ $labels.story }} takes no packets.",
            "{{ $value }} packets wait for it, and it has acknowledged none for 10 minutes.",
        ),
        Alert(
            "BobrapetPacketsLost",
            Urgency.WARNING,
            "bobrapet:packets_lost:increase15m > 0",
            "0m",
            "Packets to or from step {{ $labels.step }} of {{ $labels.namespace }}/{{ $labels.story }} were lost.",
            "{{ $value | humanize }} packets within 15 minutes, reason {{ $labels.reason }}.",
        ),
    ),
)
