"""Gauges that are read whenever the metrics are scraped: running and waiting work, Impulses, readiness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from core.api.objects import NamespacedName
from core.api.phases import TERMINAL_PHASES
from core.api.resource import Resource
from core.engine.slots.slots import Slots
from core.telemetry import catalogue, metrics

_Story = tuple[str, str]


class RunsAlive(Protocol):
    """The part of ``Supervisor`` that the gauges need."""

    def steps_at_work(self) -> Iterable[tuple[NamespacedName, int]]: ...


class CountedRuns(Protocol):
    """The part of the informer of StoryRuns that the gauges need."""

    def get(self, namespace: str | None, name: str) -> dict[str, Any] | None: ...


class KnownImpulses(Protocol):
    """The part of the informer of Impulses that the gauges need."""

    def each(self, namespace: str | None = None) -> Iterable[dict[str, Any]]: ...


class FollowedKind(Protocol):
    """The part of an informer that the gauges need."""

    resource: Resource

    @property
    def stuck_seconds(self) -> float: ...


class LiveGauges:
    """``collect`` sets ``bobrapet_storyrun_steps_active`` and ``…_completed``, the active and the ended steps of all
    live runs of a Story, and the number of live runs of a namespace.

    A Story without a live run has no series. Source: operator contract 8.1 (the reference reports one run only).
    """

    def __init__(self, supervisor: RunsAlive, story_runs: CountedRuns) -> None:
        self._supervisor = supervisor
        self._story_runs = story_runs
        self._reported: set[_Story] = set()
        self._namespaces: set[str] = set()

    def collect(self) -> None:
        active: Counter[_Story] = Counter()
        ended: Counter[_Story] = Counter()
        runs: Counter[str] = Counter()
        for key, steps in self._supervisor.steps_at_work():
            runs[key.namespace] += 1
            run = self._story_runs.get(key.namespace, key.name)
            of_story = key.namespace, _story_of(run)
            active[of_story] += steps
            ended[of_story] += _ended_steps(run)
        for series, counts in (
            (catalogue.STORY_RUN_STEPS_ACTIVE, active),
            (catalogue.STORY_RUN_STEPS_COMPLETED, ended),
        ):
            for namespace, story in self._reported - set(active):
                metrics.drop(series, namespace=namespace, story=story)
            for (namespace, story), steps in counts.items():
                metrics.set_gauge(series, steps, namespace=namespace, story=story)
        self._reported = set(active)
        for namespace in self._namespaces - set(runs):
            metrics.drop(catalogue.STORY_RUNS_LIVE, namespace=namespace)
        for namespace, number in runs.items():
            metrics.set_gauge(catalogue.STORY_RUNS_LIVE, number, namespace=namespace)
        self._namespaces = set(runs)


class QueueGauges:
    """``collect`` sets ``bobrapet_storyrun_queue_depth``, the waiting steps of a run; and for each queue the number of
    steps with a slot, and how long the oldest step has waited.

    A run without waiting steps has no series; a queue without running or waiting steps has 0, until there are more
    queues than a metric may have label sets: those that have rested longest have no series then.
    Source: operator contract 8.1.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._reported: set[tuple[NamespacedName, str]] = set()
        self._queues: dict[str, None] = {}
        """Those that have a series; the one that has rested longest is the first."""

    def collect(self) -> None:
        waiting = self._slots.waiting()
        for run, queue in self._reported - set(waiting):
            metrics.drop(catalogue.STORY_RUN_QUEUE_DEPTH, namespace=run.namespace, storyrun=run.name, queue=queue)
        for (run, queue), steps in waiting.items():
            metrics.set_gauge(
                catalogue.STORY_RUN_QUEUE_DEPTH, steps, namespace=run.namespace, storyrun=run.name, queue=queue
            )
        self._reported = set(waiting)
        running, oldest = self._slots.running(), self._slots.longest_waits()
        at_work = {**running, **oldest}
        for queue in at_work:
            self._queues.pop(queue, None)
            self._queues[queue] = None
        surplus = len(self._queues) - max(metrics.most_label_sets(), len(at_work))
        for queue in [*self._queues][: max(surplus, 0)]:
            del self._queues[queue]
            for series in (catalogue.QUEUE_STEPS_RUNNING, catalogue.QUEUE_OLDEST_WAIT):
                metrics.drop(series, queue=queue)
        for queue in self._queues:
            metrics.set_gauge(catalogue.QUEUE_STEPS_RUNNING, running.get(queue, 0), queue=queue)
            metrics.set_gauge(catalogue.QUEUE_OLDEST_WAIT, oldest.get(queue, 0.0), queue=queue)


class ImpulseGauges:
    """``collect`` sets ``bobrapet_impulse_throttled_triggers_total``, as the status of each Impulse reports it.

    SDKs count these events. Source: Trigger contract 7.
    """

    def __init__(self, impulses: KnownImpulses) -> None:
        self._impulses = impulses
        self._reported: set[tuple[str, str]] = set()

    def collect(self) -> None:
        known = set()
        for impulse in self._impulses.each():
            namespace, name = impulse["metadata"]["namespace"], impulse["metadata"]["name"]
            throttled = (impulse.get("status") or {}).get("throttledTriggers") or 0
            metrics.set_gauge(catalogue.IMPULSE_THROTTLED_TRIGGERS, throttled, namespace=namespace, impulse=name)
            known.add((namespace, name))
        for namespace, name in self._reported - known:
            metrics.drop(catalogue.IMPULSE_THROTTLED_TRIGGERS, namespace=namespace, impulse=name)
        self._reported = known


class ReadinessGauges:
    """``collect`` sets ``bobrapet_ready`` for each check of ``/readyz``, and how long a kind could not be followed."""

    def __init__(self, checks: Mapping[str, Callable[[], str]], kinds: Iterable[FollowedKind]) -> None:
        """``checks``: name → the reason why the check fails, empty if it does not; ``kinds``: the informers."""
        self._checks = checks
        self._kinds = kinds

    def collect(self) -> None:
        for name, check in self._checks.items():
            metrics.set_gauge(catalogue.READY, 0.0 if check() else 1.0, check=name)
        for kind in self._kinds:
            metrics.set_gauge(catalogue.INFORMER_STUCK, kind.stuck_seconds, resource=kind.resource.title)


def _ended_steps(run: dict[str, Any] | None) -> int:
    states = ((run or {}).get("status") or {}).get("stepStates") or {}
    return sum(isinstance(state, dict) and state.get("phase") in TERMINAL_PHASES for state in states.values())


def _story_of(run: dict[str, Any] | None) -> str:
    reference = ((run or {}).get("spec") or {}).get("storyRef") or {}
    name: str = reference.get("name") or ""
    return name
