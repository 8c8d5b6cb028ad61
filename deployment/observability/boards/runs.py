"""Runs and steps: how many, how they end, how long they take."""

from __future__ import annotations

from typing import Final

from deployment.observability.alerts.work import FAILED
from deployment.observability.board import HERE, RATE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import quantiles, rates, sums

_RUNS: Final = f"bobrapet_storyruns_total{{{HERE}}}"
_FAILED_RUNS: Final = f'bobrapet_storyruns_total{{{HERE}, phase=~"{FAILED}"}}'
_STEPS: Final = f"bobrapet_stepruns_total{{{HERE}}}"
_RETRIES: Final = f"bobrapet_steprun_retries_total{{{HERE}}}"
_LOOKUPS: Final = "bobrapet_steprun_cache_lookups_total"

BOARD: Final = Dashboard(
    "runs",
    "bobrapet / Runs",
    "How many runs and steps there are, how they end, and how long they take.",
    (
        Row(
            "Now",
            (
                stat(
                    "Live runs",
                    Unit.COUNT,
                    "Runs that the leader executes, also those that wait.",
                    Query(f"sum(bobrapet_storyruns_live{{{HERE}}})"),
                ),
                stat(
                    "Steps at work",
                    Unit.COUNT,
                    "Steps that have begun and not ended.",
                    Query(f"sum(bobrapet_storyrun_steps_active{{{HERE}}})"),
                ),
                stat(
                    "Runs ended in the last hour",
                    Unit.COUNT,
                    "In every phase, also Canceled.",
                    Query(f"round(sum(increase({_RUNS}[1h])))"),
                ),
                stat(
                    "Of these failed",
                    Unit.SHARE,
                    "Failed, timed out, aborted or compensated. `bobrapet list -A --phase Failed` shows them.",
                    Query(f"(sum(increase({_FAILED_RUNS}[1h])) or vector(0)) / sum(increase({_RUNS}[1h]))"),
                    bad_from=0.5,
                ),
                stat(
                    "Steps ended in the last hour",
                    Unit.COUNT,
                    "StepRuns; steps without a container have none.",
                    Query(f"round(sum(increase({_STEPS}[1h])))"),
                ),
                stat(
                    "Retries in the last hour",
                    Unit.COUNT,
                    "Each is another Pod.",
                    Query(f"round(sum(increase({_RETRIES}[1h])))"),
                ),
            ),
        ),
        Row(
            "Runs",
            (
                graph(
                    "Ended runs a minute, by phase",
                    Unit.PER_MINUTE,
                    "If Failed or Timeout grows, look at the next panel for the Story.",
                    rates(_RUNS, "phase", times=60),
                    is_stacked=True,
                ),
                graph(
                    "Share of failed runs, by Story",
                    Unit.SHARE,
                    "The ten Stories with the highest share. `bobrapet why RUN -n NAMESPACE` says why one failed.",
                    Query(
                        f"topk(10, sum by (namespace, story) (rate({_FAILED_RUNS}[{RATE}])) "
                        f"/ sum by (namespace, story) (rate({_RUNS}[{RATE}])))",
                        "{{namespace}}/{{story}}",
                    ),
                    bad_from=0.5,
                ),
                graph(
                    "Live runs, by namespace",
                    Unit.COUNT,
                    "If it grows without end, runs arrive faster than they end: look at the queues.",
                    sums(f"bobrapet_storyruns_live{{{HERE}}}", "namespace"),
                    is_stacked=True,
                ),
                graph(
                    "Duration of runs",
                    Unit.SECONDS,
                    "From start to end, of the runs that ended. Buckets go up to an hour.",
                    *quantiles(f"bobrapet_storyrun_duration_seconds_bucket{{{HERE}}}"),
                ),
            ),
        ),
        Row(
            "Steps",
            (
                graph(
                    "Ended steps a minute, by phase",
                    Unit.PER_MINUTE,
                    "Steps with a container, whoever reported their end.",
                    rates(_STEPS, "phase", times=60),
                    is_stacked=True,
                ),
                graph(
                    "Retries a minute, by Engram and class of the failure",
                    Unit.PER_MINUTE,
                    "rateLimited: a service asks to come later. retry: killed or timed out. Look at the logs of the "
                    "Engram.",
                    rates(_RETRIES, "engram", "reason", times=60),
                ),
                graph(
                    "Duration of steps (p95), by Engram",
                    Unit.SECONDS,
                    "From Pending to the end, with all attempts. Buckets go up to five minutes.",
                    *quantiles(
                        f"bobrapet_steprun_duration_seconds_bucket{{{HERE}}}", "namespace", "engram", shares=(0.95,)
                    ),
                ),
                graph(
                    "Steps at work, by Story",
                    Unit.COUNT,
                    "Who uses the cluster now.",
                    Query(
                        f"topk(10, sum by (namespace, story) (bobrapet_storyrun_steps_active{{{HERE}}}))",
                        "{{namespace}}/{{story}}",
                    ),
                    is_stacked=True,
                ),
                graph(
                    "Share of steps from the output cache, by Engram",
                    Unit.SHARE,
                    "Of the steps that ask the cache. Near 0: the inputs differ each time.",
                    Query(
                        f'sum by (engram) (rate({_LOOKUPS}{{{HERE}, result="hit"}}[{RATE}])) '
                        f"/ sum by (engram) (rate({_LOOKUPS}{{{HERE}}}[{RATE}]))",
                        "{{engram}}",
                    ),
                ),
                graph(
                    "Triggers that Impulses throttle",
                    Unit.COUNT,
                    "As each Impulse reports it. If it grows, the Impulse is at its own limits.",
                    sums(f"bobrapet_impulse_throttled_triggers_total{{{HERE}}}", "namespace", "impulse"),
                ),
            ),
        ),
    ),
    has_namespaces=True,
)
