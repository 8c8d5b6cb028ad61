"""The world of every scope: made once, in the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.plan_cache import PlanCache
from core.engine.ports import Clock, EventSink, Payloads, RunStore, StepExecutor
from core.engine.settings import EngineSettings
from core.engine.slots.slots import Slots
from core.evaluation.evaluator import Evaluator


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The world of every scope."""

    runs: RunStore
    executor: StepExecutor
    evaluator: Evaluator
    payloads: Payloads
    events: EventSink
    clock: Clock
    settings: EngineSettings
    slots: Slots
    concurrency: ConcurrencyLimiter
    plans: PlanCache = field(default_factory=PlanCache)
