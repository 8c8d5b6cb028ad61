"""The part of the operator's configuration that the engine itself needs. Source: StoryRun contract 4, 17.2 and 24."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from core.policy.settings import OffloadedDataPolicy, QueueSettings


def refuse_foreign_namespace(run_namespace: str, story_namespace: str, story_name: str) -> str | None:
    """The strictest rule, cross-namespace policy ``deny``: why a run there may not use the Story, or None."""
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


FALLBACK_INPUTS_LIMIT_BYTES: Final = 5120


@dataclass(frozen=True, slots=True)
class RunDefaults:
    """What applies to a run whose Story sets nothing else."""

    max_inline_inputs_bytes: int = 1024
    """Largest size of ``spec.inputs`` as compact JSON; see ``EngineSettings.inputs_limit_bytes``."""
    graceful_shutdown: timedelta = timedelta(seconds=20)
    """How long canceled steps may take to end."""
    cleanup_timeout: timedelta = timedelta(minutes=10)
    """How long compensations, and again ``finally`` steps, may take."""
    gate_timeout: timedelta | None = None
    """For gates that set no timeout; None: they wait without limit."""
    wait_timeout: timedelta | None = None
    """For ``wait`` steps that set no timeout; None: they wait without limit."""
    max_story_depth: int = 10
    """How many ``executeStory`` steps may be above a run."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    run_defaults: Callable[[], RunDefaults] = RunDefaults
    """Returns the defaults of runs in the operator's current configuration; read whenever one is needed."""
    disconnected_grace: timedelta = timedelta(seconds=60)
    """How long all streams of a realtime run may be without a connection before the run shows it."""
    queues: Callable[[], Mapping[str, QueueSettings]] = dict
    """Returns the scheduling queues in the operator's current configuration."""
    max_priorities: Callable[[], Mapping[str, int]] = dict
    """Returns, for each namespace that has one, the highest priority that its runs may have now."""
    offloaded_data: Callable[[], OffloadedDataPolicy] = lambda: OffloadedDataPolicy.INJECT
    """Returns whether expressions may read data that steps have put into object storage."""
    max_recursion_depth: Callable[[], int] = lambda: 32
    """Returns how deep data may be nested, references followed, unless the Story sets another depth."""
    max_inline_bytes: Callable[[], int] = lambda: 4096
    """Returns the size up to which a part of a large value stays in a status."""
    max_inline_output_bytes: int = 64 * 1024
    """Size up to which the output of a run stays in its status, if there is an object store."""
    status_linger_seconds: float = 0.25
    """How long a status change waits for further ones, so that what happens together shares one write, and a run that
    is over by then needs no write for its start: its StepRuns have its Story revision. What a task waits for, and the
    end of a run, are written at once."""
    status_interval_seconds: float = 1.0
    """Least time between two such writes; a new phase of the run does not wait for it."""
    announce_after_seconds: float = 2.0
    """How long after the creation of its Job the engine records a StepRun as ``Running``. A step that ends sooner, or
    whose container reports itself before, needs no such write; until then the status of the run shows that it runs."""
    first_restart_delay_seconds: float = 1.0
    longest_restart_delay_seconds: float = 300.0
    """The pause before a crashed scope is started again doubles from the first to the longest delay."""
    jitter: Callable[[], float] = random.random
    """Uniform in [0, 1): spreads retries of steps and of calls."""
    why_story_refused: Callable[[str, str, str], str | None] = refuse_foreign_namespace
    """``(run namespace, Story namespace, Story name)`` → why not, or None; reads caches only, never blocks."""
    why_call_refused: Callable[[str, str, str], str | None] = refuse_foreign_story
    """``(calling Story's namespace, Story namespace, Story name)`` → the same for a Story that calls another."""

    def seconds_to_announce(self, *, live: bool) -> float:
        """How long after the start of an attempt its StepRun shows that it runs; nothing else shows a ``live`` one."""
        return self.status_linger_seconds if live else self.announce_after_seconds

    @property
    def inputs_limit_bytes(self) -> int:
        """Largest size of a run's inputs."""
        limit = self.run_defaults().max_inline_inputs_bytes
        return limit if limit > 0 else FALLBACK_INPUTS_LIMIT_BYTES
