"""The evaluator of the operator, bounded by its settings.

The settings are read before each evaluation, so a change applies at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from core.evaluation.evaluator import EvaluationPolicy, Evaluator
from core.evaluation.pool import WorkerLimits, WorkerPool
from core.expressions.limits import EvaluationLimits
from core.policy.settings import MissingKey, OperatorSettings, TemplatingSettings


def evaluator_of(settings: Callable[[], OperatorSettings], now: Callable[[], datetime]) -> Evaluator:
    """An evaluator that uses the current ``templating.*`` settings; ``now`` is the clock of templates."""
    pool = WorkerPool(lambda: worker_limits_of(settings().templating))
    return Evaluator(lambda: policy_of(settings().templating), now=now, pool=pool)


def policy_of(templating: TemplatingSettings) -> EvaluationPolicy:
    """The limits of one evaluation."""
    limits = EvaluationLimits(
        steps=templating.max_steps,
        output_bytes=templating.max_output_bytes,
        wall_seconds=templating.evaluation_timeout.total_seconds(),
        input_bytes=templating.max_input_bytes,
        depth=templating.max_depth,
        include_depth=templating.max_include_depth,
        collection_items=templating.max_collection_items,
        range_items=templating.max_range_items,
    )
    return EvaluationPolicy(
        limits,
        templating.deterministic,
        templating.namespace_budget.total_seconds(),
        missing_as_text=templating.missing_key is MissingKey.TEXT,
    )


def worker_limits_of(templating: TemplatingSettings) -> WorkerLimits:
    """The limits of the separate processes."""
    return WorkerLimits(
        seconds=templating.worker_timeout.total_seconds(),
        memory_bytes=templating.worker_memory_bytes,
        processes=templating.workers,
    )
