"""Alerts about the operator's process and what it knows: is it there, does it lead, does it see the cluster?"""

from __future__ import annotations

from typing import Final

from core.telemetry.catalogue import CATALOGUE
from deployment.observability.rule import BOTH_JOBS, JOB, Alert, RecordingRule, RuleGroup, Urgency, growth

MEMORY_LIMIT_BYTES: Final = 1 << 30
"""Of both Deployments, as ``deployment.workload`` and ``deployment.hub`` ship them."""

_BOTH: Final = f'job=~"{BOTH_JOBS}"'
_RECONCILES: Final = "bobrapet_controller_reconcile_total"
_OF_RUNS: Final = "|".join(series.name for series in CATALOGUE if "storyrun" in series.labels and not series.stays)
"""Every run is a label set of these, so that they are full after as many runs; those of ended runs leave."""
LABEL_SETS_REMOVED: Final = f'bobrapet_metric_label_sets_removed_total{{metric!~"{_OF_RUNS}"}}'

GROUP: Final = RuleGroup(
    "bobrapet-operator",
    (
        RecordingRule(
            "bobrapet:run_crashes:increase15m",
            growth('bobrapet_controller_reconcile_errors_total{controller="storyrun"}', "15m", "error_type"),
        ),
        RecordingRule(
            "bobrapet:lost_events:increase1h", growth('bobrapet_resync_runs_total{found!="nothing"}', "1h", "found")
        ),
        RecordingRule(
            "bobrapet:unreadable_objects:increase15m", growth("bobrapet_unreadable_objects_total", "15m", "resource")
        ),
        RecordingRule(
            "bobrapet:objects_left_out:increase15m", growth("bobrapet_objects_left_out_total", "15m", "resource")
        ),
        RecordingRule(
            "bobrapet:metric_label_sets_removed:increase1h",
            growth(LABEL_SETS_REMOVED, "1h", "job", "metric"),
        ),
    ),
    (
        Alert(
            "BobrapetAbsent",
            Urgency.CRITICAL,
            f'absent(up{{job="{JOB}"}} == 1)',
            "5m",
            "No replica of the operator answers Prometheus.",
            "No target of job bobrapet has been up for 5 minutes. Either no operator runs, so that runs stand still "
            "and new objects are refused, or Prometheus may not scrape it.",
        ),
        Alert(
            "BobrapetNoLeader",
            Urgency.CRITICAL,
            f'max(leader_election_master_status{{job="{JOB}"}}) == 0',
            "3m",
            "Replicas of the operator run, but none leads.",
            "No replica has held the Lease for 3 minutes. Running containers continue; no step starts and no run ends.",
        ),
        Alert(
            "BobrapetCannotWatch",
            Urgency.CRITICAL,
            "max by (resource) (bobrapet_informer_stuck_seconds) > 120",
            "3m",
            "The operator cannot follow {{ $labels.resource }}.",
            "The operator has not been able to list or watch {{ $labels.resource }} for {{ $value | humanizeDuration "
            "}}. It decides by what it saw before.",
        ),
        Alert(
            "BobrapetConfigurationRejected",
            Urgency.WARNING,
            'min by (instance) (bobrapet_ready{check="configuration"}) == 0',
            "5m",
            "The operator rejects its ConfigMap.",
            "{{ $labels.instance }} keeps the settings that it had before, because the ConfigMap has a wrong value or "
            "cannot be read. A restart would not start.",
        ),
        Alert(
            "BobrapetRestarts",
            Urgency.WARNING,
            f"changes(process_start_time_seconds{{{_BOTH}}}[30m]) >= 3",
            "0m",
            "{{ $labels.job }} restarts again and again.",
            "{{ $labels.instance }} has started {{ $value }} times within 30 minutes. Runs continue after each "
            "start, but later.",
        ),
        Alert(
            "BobrapetMemoryHigh",
            Urgency.WARNING,
            f"process_resident_memory_bytes{{{_BOTH}}} > 0.85 * {MEMORY_LIMIT_BYTES}",
            "15m",
            "{{ $labels.job }} is near its memory limit.",
            "{{ $labels.instance }} uses {{ $value | humanize1024 }}B of 1 GiB. At the limit the kernel ends it.",
        ),
        Alert(
            "BobrapetEventLoopBusy",
            Urgency.WARNING,
            f"rate(process_cpu_seconds_total{{{_BOTH}}}[5m]) > 0.9",
            "15m",
            "{{ $labels.job }} uses a whole core.",
            "{{ $labels.instance }} has used {{ $value | humanizePercentage }} of a core for 15 minutes. All work of a "
            "process shares one thread, so everything takes longer.",
        ),
        Alert(
            "BobrapetRunsCrash",
            Urgency.WARNING,
            "bobrapet:run_crashes:increase15m > 0",
            "0m",
            "Tasks of runs crash with {{ $labels.error_type }}.",
            "{{ $value | humanize }} crashes within 15 minutes. The affected runs start again from their recorded "
            "state, after longer and longer pauses; other runs are not affected. This is a bug.",
        ),
        Alert(
            "BobrapetReconcileErrors",
            Urgency.WARNING,
            f'sum by (controller) (rate({_RECONCILES}{{result="error"}}[10m])) / '
            f"sum by (controller) (rate({_RECONCILES}[10m])) > 0.1 and "
            f'sum by (controller) (rate({_RECONCILES}{{result="error"}}[10m])) > 0.02',
            "15m",
            "Controller {{ $labels.controller }} fails.",
            "{{ $value | humanizePercentage }} of the reconciles of {{ $labels.controller }} end with an error. They "
            "are repeated after a pause.",
        ),
        Alert(
            "BobrapetEventsLost",
            Urgency.WARNING,
            "bobrapet:lost_events:increase1h > 0",
            "0m",
            "A resync found runs that no event had woken ({{ $labels.found }}).",
            "{{ $value | humanize }} runs within an hour would have stood still without the resync. They continue now. "
            "Watches of this API server lose events, or the operator has a bug.",
        ),
        Alert(
            "BobrapetObjectsUnreadable",
            Urgency.WARNING,
            "bobrapet:unreadable_objects:increase15m > 0 or bobrapet:objects_left_out:increase15m > 0",
            "0m",
            "Objects of kind {{ $labels.resource }} cannot be read.",
            "{{ $value | humanize }} versions of objects within 15 minutes were too deep, too large or damaged. "
            "Their runs fail with reason Unreadable, or the objects are ignored.",
        ),
        Alert(
            "BobrapetMetricFull",
            Urgency.WARNING,
            "bobrapet:metric_label_sets_removed:increase1h > 0",
            "0m",
            "{{ $labels.metric }} of {{ $labels.job }} has more label sets than it may have.",
            "{{ $value | humanize }} label sets left within an hour to make room for others. Rules about single "
            "Stories or Engrams may miss events that they should see.",
        ),
    ),
)
