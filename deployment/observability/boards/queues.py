"""Queues: who waits for a slot, how long, and behind what."""

from __future__ import annotations

from typing import Final

from deployment.observability.board import HERE, Dashboard, Query, Row, Unit, graph, stat
from deployment.observability.query import highest, quantiles, rates, sums

_DEPTH: Final = f"bobrapet_storyrun_queue_depth{{{HERE}}}"

BOARD: Final = Dashboard(
    "queues",
    "bobrapet / Queues",
    "Which steps wait for a slot of a queue, and which expressions for their turn.",
    (
        Row(
            "Now",
            (
                stat("Waiting steps", Unit.COUNT, "In all queues.", Query(f"sum({_DEPTH})"), width=6),
                stat(
                    "Running steps with a slot",
                    Unit.COUNT,
                    "In all queues and namespaces.",
                    Query("sum(bobrapet_queue_steps_running)"),
                    width=6,
                ),
                stat(
                    "Oldest wait",
                    Unit.SECONDS,
                    "Runbook BobrapetQueueWaitLong says what to do about a long one.",
                    Query("max(bobrapet_queue_oldest_wait_seconds)"),
                    width=6,
                    bad_from=1800,
                ),
                stat(
                    "Runs with waiting steps",
                    Unit.COUNT,
                    "Each run waits with its own steps.",
                    Query(f"count({_DEPTH} > 0)"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Slots",
            (
                graph(
                    "Waiting steps, by queue",
                    Unit.COUNT,
                    "If it grows without end, more work arrives than the limit lets through.",
                    sums(_DEPTH, "queue"),
                    is_stacked=True,
                ),
                graph(
                    "Running steps, by queue",
                    Unit.COUNT,
                    "Flat at the limit while steps wait: the limit decides. Below it: another limit does.",
                    highest("bobrapet_queue_steps_running", "queue"),
                ),
                graph(
                    "Oldest wait, by queue",
                    Unit.SECONDS,
                    "How long the step that has waited longest has waited.",
                    highest("bobrapet_queue_oldest_wait_seconds", "queue"),
                    bad_from=1800,
                ),
                graph(
                    "Wait of steps that got a slot",
                    Unit.SECONDS,
                    "Recorded when the step starts. Steps that found a free slot are not counted.",
                    *quantiles(f"bobrapet_storyrun_queue_age_seconds_bucket{{{HERE}}}", "queue", shares=(0.5, 0.95)),
                ),
                graph(
                    "Waiting steps, by run",
                    Unit.COUNT,
                    "The ten runs with most of them. `bobrapet why RUN` shows the position of each step.",
                    Query(f"topk(10, {_DEPTH})", "{{namespace}}/{{storyrun}}"),
                ),
                graph(
                    "Steps that had to wait, a minute, by namespace",
                    Unit.PER_MINUTE,
                    "Which tenants share the queue.",
                    rates(f"bobrapet_storyrun_queue_age_seconds_count{{{HERE}}}", "namespace", times=60),
                ),
            ),
        ),
        Row(
            "Expressions",
            (
                graph(
                    "Wait of expressions for their turn, by lane",
                    Unit.SECONDS,
                    "Costly expressions run in threads and processes, in turns of namespaces. 15 s is too long.",
                    *quantiles("bobrapet_evaluation_wait_seconds_bucket", "lane", shares=(0.5, 0.95)),
                    bad_from=15,
                ),
                graph(
                    "Processes for costly expressions, a minute",
                    Unit.PER_MINUTE,
                    "time, memory, crash: an expression exceeded its limit, and its step failed.",
                    rates("bobrapet_evaluation_workers_ended_total", "limit", times=60),
                    Query("sum(rate(bobrapet_evaluation_workers_started_total[$__rate_interval])) * 60", "started"),
                ),
            ),
        ),
    ),
    has_namespaces=True,
)
