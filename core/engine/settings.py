"""What of the operator's configuration the engine itself needs. Source: StoryRun contract 4, 17.2 and 24."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from core.policy.settings import OffloadedDataPolicy, QueueSettings


def refuse_foreign_namespace(run_namespace: str, story_namespace: str, story_name: str) -> str | None:
    """The strictest rule, cross-namespace policy ``deny``: why the Story may not be run from there, or None."""
    if run_namespace == story_namespace:
        return None
    return (
        f"spec.storyRef points to Story {story_namespace}/{story_name}, but cross-namespace references are not "
        f"allowed; copy the Story to namespace {run_namespace}"
    )


def refuse_foreign_story(calling_namespace: str, story_namespace: str, story_name: str) -> str | None:
    """The same for one Story that calls another."""
    if calling_namespace == story_namespace:
        return None
    return (
        f"with.storyRef points to Story {story_namespace}/{story_name}, but cross-namespace references are not "
        f"allowed; copy the Story to namespace {calling_namespace}"
    )


@dataclass(frozen=True, slots=True)
class EngineSettings:
    max_inline_inputs_bytes: int = 1024
    """Bound of ``spec.inputs`` as compact JSON; zero or less falls back to 5120."""
    graceful_shutdown: timedelta = timedelta(seconds=20)
    """How long canceled steps may take to end, unless the Story says otherwise."""
    cleanup_timeout: timedelta = timedelta(minutes=10)
    """How long compensations, and again ``finally`` steps, may take, unless the Story says otherwise."""
    gate_timeout: timedelta | None = None
    """Of gates that set none; None: they wait for ever."""
    wait_timeout: timedelta | None = None
    """Of ``wait`` steps that set none."""
    max_story_depth: int = 10
    """How many ``executeStory`` steps may be above a run."""
    queues: Callable[[], Mapping[str, QueueSettings]] = dict
    """What the operator's configuration says of scheduling queues at the moment."""
    max_priorities: Callable[[], Mapping[str, int]] = dict
    """Namespace → the highest priority of its runs, at the moment."""
    offloaded_data: Callable[[], OffloadedDataPolicy] = lambda: OffloadedDataPolicy.INJECT
    """Whether expressions may look into what steps have put into object storage."""
    max_recursion_depth: Callable[[], int] = lambda: 32
    """How deep data may be nested, references followed, unless the Story says otherwise."""
    status_linger_seconds: float = 0.1
    """How long a status change waits for company, so that steps which move together share one write."""
    phase_linger_seconds: float = 0.02
    """The same when the phase of the run has changed, which is what people and other programs wait for."""
    announce_after_seconds: float = 0.25
    """How long after its Job a StepRun is said to be ``Running``: work that lets others begin goes first, and a step
    that ends sooner needs no such write."""
    first_restart_delay_seconds: float = 1.0
    longest_restart_delay_seconds: float = 300.0
    """Between them doubles the pause before a crashed scope is started again."""
    jitter: Callable[[], float] = random.random
    """Uniform in [0, 1): spreads retries of steps and of calls."""
    why_story_refused: Callable[[str, str, str], str | None] = refuse_foreign_namespace
    """``(run namespace, Story namespace, Story name)`` → why not, or None; reads caches only, never blocks."""
    why_call_refused: Callable[[str, str, str], str | None] = refuse_foreign_story
    """``(calling Story's namespace, Story namespace, Story name)``, likewise."""
