"""What all scopes share: created once, in the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from core.engine.awaited import AwaitedDefinitions
from core.engine.concurrency.limiter import ConcurrencyLimiter
from core.engine.equal_work import EqualWork
from core.engine.executors import Executors
from core.engine.payload_port import Payloads
from core.engine.plan_cache import PlanCache
from core.engine.ports import Bindings, Clock, EventSink, RunStore, StepRuns
from core.engine.settings import EngineSettings
from core.engine.slots.slots import Slots
from core.evaluation.evaluator import Evaluator
from core.fairness.turns import Turns
from core.ownership.ownership import WHOLE_CLUSTER, Ownership

STARTS_AT_ONCE: Final = 32
STARTS_OF_ONE: Final = 8
STARTS_ALONE: Final = 16
"""Those of one namespace beside others, and alone."""


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What all scopes share: ports, settings, slots."""

    runs: RunStore
    step_runs: StepRuns
    bindings: Bindings
    executors: Executors
    evaluator: Evaluator
    payloads: Payloads
    events: EventSink
    clock: Clock
    settings: EngineSettings
    slots: Slots
    concurrency: ConcurrencyLimiter
    ownership: Ownership = WHOLE_CLUSTER
    """Which runs this process works for."""
    plans: PlanCache = field(default_factory=PlanCache)
    equal_work: EqualWork = field(default_factory=EqualWork)
    """Steps with an output cache that execute the same."""
    awaited: AwaitedDefinitions = field(default_factory=AwaitedDefinitions)
    """Steps that wait for their Engram or template."""
    starts: Turns = field(default_factory=lambda: Turns(STARTS_AT_ONCE, STARTS_OF_ONE, at_once_alone=STARTS_ALONE))
    """Steps whose StepRun is created and whose first attempt is started, by namespace. What has begun goes first: else
    many starts at once would delay each other until each needs further requests.
    """
