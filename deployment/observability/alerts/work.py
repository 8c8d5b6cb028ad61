"""Alerts about the work of users: runs, steps, queues, expressions, triggers."""

from __future__ import annotations

from typing import Final

from deployment.observability.rule import Alert, RecordingRule, RuleGroup, Urgency, growth, quantile, ratio

FAILED: Final = "Failed|Timeout|Aborted|Compensated"
"""Phases of runs that did not do what they were started for; a canceled run did what a person wanted."""

_RUNS: Final = "bobrapet_storyruns_total"

GROUP: Final = RuleGroup(
    "bobrapet-work",
    (
        RecordingRule(
            "bobrapet:storyruns_failed:ratio30m",
            ratio(f'{_RUNS}{{phase=~"{FAILED}"}}', _RUNS, "30m", "namespace", "story"),
        ),
        RecordingRule("bobrapet:storyruns:increase30m", growth(_RUNS, "30m", "namespace", "story")),
    ),
    (
        Alert(
            "BobrapetRunsFailing",
            Urgency.WARNING,
            "bobrapet:storyruns_failed:ratio30m > 0.5 and bobrapet:storyruns:increase30m >= 5",
            "5m",
            "Runs of Story {{ $labels.namespace }}/{{ $labels.story }} fail.",
            "{{ $value | humanizePercentage }} of the runs that ended within 30 minutes failed or timed out.",
        ),
        Alert(
            "BobrapetStepsRetrying",
            Urgency.WARNING,
            "sum by (namespace, engram, reason) (rate(bobrapet_steprun_retries_total[30m])) "
            "/ ignoring (reason) group_left () sum by (namespace, engram) (rate(bobrapet_stepruns_total[30m])) > 1 "
            "and sum by (namespace, engram, reason) (rate(bobrapet_steprun_retries_total[30m])) > 0.005",
            "30m",
            "Steps of Engram {{ $labels.namespace }}/{{ $labels.engram }} are retried ({{ $labels.reason }}).",
            "{{ $value | humanize }} retries for each step that ended. Steps take longer, and each retry is a Pod.",
        ),
        Alert(
            "BobrapetQueueWaitLong",
            Urgency.WARNING,
            "max by (queue) (bobrapet_queue_oldest_wait_seconds) > 1800",
            "10m",
            "Steps wait long for a slot of queue {{ $labels.queue }}.",
            "The oldest step has waited for {{ $value | humanizeDuration }}. More work arrives than the limit of the "
            "queue lets through, or steps hold their slots for long.",
        ),
        Alert(
            "BobrapetQueueBlocked",
            Urgency.CRITICAL,
            "max by (queue) (bobrapet_queue_oldest_wait_seconds) > 300 "
            "and on (queue) max by (queue) (bobrapet_queue_steps_running) == 0",
            "10m",
            "Steps of queue {{ $labels.queue }} wait although no slot is in use.",
            "The oldest step has waited for {{ $value | humanizeDuration }}, and no step of the queue runs. A limit "
            "elsewhere holds it back, or the operator has lost a slot.",
        ),
        Alert(
            "BobrapetEvaluationSlow",
            Urgency.WARNING,
            quantile(0.95, "bobrapet_evaluation_wait_seconds_bucket", "10m", "lane") + " > 15",
            "10m",
            "Expressions wait for their turn (lane {{ $labels.lane }}).",
            "The p95 of the wait is {{ $value | humanizeDuration }}. Steps with costly expressions start late.",
        ),
        Alert(
            "BobrapetEvaluationsEnded",
            Urgency.WARNING,
            'sum by (limit) (rate(bobrapet_evaluation_workers_ended_total{limit=~"time|memory|crash"}[15m])) > 0.01',
            "15m",
            "Expressions exceed their limits ({{ $labels.limit }}).",
            "{{ $value | humanize }} processes a second are ended, each with an expression that needed more than it "
            "may. Their steps fail.",
        ),
        Alert(
            "BobrapetTriggersThrottled",
            Urgency.WARNING,
            "sum by (namespace, impulse) (delta(bobrapet_impulse_throttled_triggers_total[15m])) > 0",
            "15m",
            "Impulse {{ $labels.namespace }}/{{ $labels.impulse }} throttles its triggers.",
            "{{ $value | humanize }} triggers within 15 minutes had to wait, because the Impulse is at its own limits.",
        ),
        Alert(
            "BobrapetManyStoredRuns",
            Urgency.WARNING,
            'max(bobrapet_informer_objects{resource="storyruns"}) > 20000',
            "1h",
            "The cluster keeps {{ $value }} StoryRuns.",
            "More runs are kept than the operator was measured with. Its memory grows with them, and so do etcd and "
            "the time of a start.",
        ),
    ),
)
