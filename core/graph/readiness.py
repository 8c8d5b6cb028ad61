"""Which steps may start now, which can never start, and which wait.

Pure: graph, recorded phases and failure rules in; frozen decisions out. A step without a phase has not started.
Not here: ``if`` (needs evaluation) and free slots. Source: StoryRun contract 10.1, 14.1 to 14.3.

Terms: a step is *completed* when it is Succeeded, Skipped, or failed with ``allowFailure``; *failed* in any other
terminal phase. A step that was skipped because of a failure passes the skip on to its dependents; a step that was
skipped by its own ``if`` does not.

The steps of a realtime Story serve a stream: they run side by side, and none waits for the end of another. There, a
need is met as long as its step is at work, or has succeeded (``started_suffices``). Source: streaming contract 3.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from core.api.phases import Phase
from core.graph.needs import Graph


class SkipCause(StrEnum):
    FAIL_FAST = "fail-fast"
    """A step of the group failed, and the Story does not continue on failure."""
    FAILED_NEED = "failed-need"
    """A step that it needs failed, or was itself skipped because of a failure."""


@dataclass(frozen=True, slots=True)
class FailureRules:
    """The effect of a failure on the other steps."""

    allowed: frozenset[str] = frozenset()
    """Steps with ``allowFailure``."""
    continue_on_failure: bool = False
    any_end_suffices: bool = False
    """For compensations and ``finally``: any end of a needed step meets the need, and no failure skips a step."""
    started_suffices: bool = False
    """For the main steps of a realtime Story: a need is met once the work of its step exists, and as long as the step
    has not ended, or has succeeded. Any other end of a needed step skips the step."""


@dataclass(frozen=True, slots=True)
class Skip:
    step: str
    cause: SkipCause
    because_of: str
    """The step that failed, or was skipped because of a failure."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The decisions that follow from the phases; both lists are in spec order."""

    start: tuple[str, ...]
    skip: tuple[Skip, ...]


def has_failed(step: str, phases: Mapping[str, Phase], rules: FailureRules) -> bool:
    phase = phases.get(step)
    return phase is not None and phase.failing and step not in rules.allowed


def failed_steps(graph: Graph, phases: Mapping[str, Phase], rules: FailureRules) -> tuple[str, ...]:
    """The failed steps, in spec order."""
    return tuple(step for step in graph.order if has_failed(step, phases, rules))


def failure_skips(graph: Graph, phases: Mapping[str, Phase], rules: FailureRules) -> frozenset[str]:
    """The recorded skips with a failure as their cause. A status does not distinguish them, but they follow from the
    graph.

    A step is skipped by its ``if`` only after all its needs are completed. So a skipped step with a need that failed or
    was skipped because of a failure was skipped for that reason.
    """
    if rules.any_end_suffices or not rules.continue_on_failure:
        return frozenset()
    found: set[str] = set()
    spreading = list(failed_steps(graph, phases, rules))
    while spreading:
        for user in graph.dependents[spreading.pop()]:
            if phases.get(user) is Phase.SKIPPED and user not in found:
                found.add(user)
                spreading.append(user)
    return frozenset(found)


def advance(
    graph: Graph,
    phases: Mapping[str, Phase],
    rules: FailureRules,
    skipped_for_failure: Set[str],
    candidates: Iterable[str],
    begun: Set[str] = frozenset(),
) -> Advance:
    """The next decisions about ``candidates``; skips spread to dependents within the same call.

    ``candidates`` are the steps whose situation may have changed: all of them at first, later the dependents of the
    step that ended. ``skipped_for_failure`` is the result of ``failure_skips``, or kept up to date from earlier
    answers. ``begun`` are the steps whose work exists; it counts only where ``started_suffices``.
    """
    if not rules.continue_on_failure and not rules.any_end_suffices:
        failed = failed_steps(graph, phases, rules)
        if failed:
            untouched = (step for step in graph.order if step not in phases)
            return Advance((), tuple(Skip(step, SkipCause.FAIL_FAST, failed[0]) for step in untouched))
    start: list[str] = []
    skips: dict[str, Skip] = {}

    def spoils(need: str) -> bool:
        if rules.any_end_suffices:
            return False
        if rules.started_suffices and _ended_without_success(need, phases):
            return True
        return has_failed(need, phases, rules) or need in skipped_for_failure or need in skips

    queue = [(graph.position[step], step) for step in set(candidates)]
    heapq.heapify(queue)
    seen: set[str] = set()
    while queue:
        _, step = heapq.heappop(queue)
        if step in phases or step in skips or step in seen:
            continue
        broken = next((need for need in graph.needs[step] if spoils(need)), None)
        if broken is not None:
            skips[step] = Skip(step, SkipCause.FAILED_NEED, broken)
            for user in graph.dependents[step]:
                heapq.heappush(queue, (graph.position[user], user))
        elif all(_is_met(need, phases, rules, begun) for need in graph.needs[step]):
            seen.add(step)
            start.append(step)
    in_order = sorted(skips.values(), key=lambda skip: graph.position[skip.step])
    return Advance(tuple(sorted(start, key=graph.position.__getitem__)), tuple(in_order))


def _is_met(need: str, phases: Mapping[str, Phase], rules: FailureRules, begun: Set[str]) -> bool:
    if not rules.started_suffices:
        return _completed(need, phases, rules)
    phase = phases.get(need)
    return phase is Phase.SUCCEEDED or (phase is not None and not phase.terminal and need in begun)


def _ended_without_success(need: str, phases: Mapping[str, Phase]) -> bool:
    phase = phases.get(need)
    return phase is not None and phase.terminal and phase is not Phase.SUCCEEDED


def _completed(step: str, phases: Mapping[str, Phase], rules: FailureRules) -> bool:
    phase = phases.get(step)
    if phase is None or not phase.terminal:
        return False
    return rules.any_end_suffices or not has_failed(step, phases, rules)
