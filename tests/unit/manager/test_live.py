"""What a scrape reports about live runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core.api.objects import NamespacedName
from core.api.resource import STORY_RUN, Resource
from core.engine.slots.slots import Slots
from core.engine.wakeup import WakeUp
from core.telemetry import metrics
from fuzz.engine.slot_model import clock, demand, limits, never
from manager.live import ImpulseGauges, LiveGauges, QueueGauges, ReadinessGauges


class Alive:
    """Stands for the supervisor: the number of steps at work of each run."""

    def __init__(self) -> None:
        self.runs: dict[NamespacedName, int] = {}

    def steps_at_work(self) -> Iterator[tuple[NamespacedName, int]]:
        yield from self.runs.items()


class StoryRuns:
    """Run ``<story>-<n>`` belongs to ``story``. A run with the name ``lost`` is no longer in the store."""

    def get(self, namespace: str | None, name: str) -> dict[str, Any] | None:
        return None if name == "lost" else {"spec": {"storyRef": {"name": name.rpartition("-")[0]}}}


def active(story: str) -> float | None:
    return metrics.sample("bobrapet_storyrun_steps_active", namespace="team", story=story)


def test_steps_of_all_runs_of_a_story_are_added_up_when_somebody_asks() -> None:
    alive = Alive()
    alive.runs = {
        NamespacedName("team", "etl-1"): 2,
        NamespacedName("team", "etl-2"): 3,
        NamespacedName("team", "idle-1"): 0,
    }
    with metrics.recording(), metrics.collected_by(LiveGauges(alive, StoryRuns()).collect):
        metrics.exposition()
        assert (active("etl"), active("idle")) == (5, 0)
        alive.runs = {NamespacedName("team", "idle-1"): 1}
        assert active("etl") == 5
        metrics.exposition()
        assert (active("etl"), active("idle")) == (None, 1)


def test_steps_that_have_ended_are_added_up_too_while_their_runs_live() -> None:
    class WithStates(StoryRuns):
        def get(self, namespace: str | None, name: str) -> dict[str, Any] | None:
            states = {"a": {"phase": "Succeeded"}, "b": {"phase": "Failed"}, "c": {"phase": "Running"}}
            return {**(super().get(namespace, name) or {}), "status": {"stepStates": states}}

    def completed() -> float | None:
        return metrics.sample("bobrapet_storyrun_steps_completed", namespace="team", story="etl")

    alive = Alive()
    alive.runs = {NamespacedName("team", "etl-1"): 1, NamespacedName("team", "etl-2"): 1}
    with metrics.recording(), metrics.collected_by(LiveGauges(alive, WithStates()).collect):
        metrics.exposition()
        assert completed() == 4
        alive.runs = {}
        metrics.exposition()
        assert completed() is None


def test_a_run_that_is_gone_from_the_store_counts_under_an_unknown_story() -> None:
    alive = Alive()
    alive.runs = {NamespacedName("team", "lost"): 1}
    with metrics.recording(), metrics.collected_by(LiveGauges(alive, StoryRuns()).collect):
        metrics.exposition()
        assert active("(unknown)") == 1


def test_live_runs_are_counted_by_namespace_and_a_namespace_without_any_has_no_series() -> None:
    alive = Alive()
    alive.runs = {
        NamespacedName("team", "etl-1"): 0,
        NamespacedName("team", "etl-2"): 3,
        NamespacedName("other", "etl-1"): 1,
    }
    with metrics.recording(), metrics.collected_by(LiveGauges(alive, StoryRuns()).collect):
        metrics.exposition()
        numbers = [metrics.sample("bobrapet_storyruns_live", namespace=name) for name in ("team", "other")]
        assert numbers == [2, 1]
        alive.runs = {NamespacedName("team", "etl-1"): 0}
        metrics.exposition()
        numbers = [metrics.sample("bobrapet_storyruns_live", namespace=name) for name in ("team", "other")]
        assert numbers == [1, None]


def test_after_the_block_nobody_collects() -> None:
    alive = Alive()
    alive.runs = {NamespacedName("team", "etl-1"): 2}
    with metrics.recording():
        with metrics.collected_by(LiveGauges(alive, StoryRuns()).collect):
            pass
        metrics.exposition()
        assert active("etl") is None


async def test_queues_tell_what_waits_and_what_runs(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    def depth(run: str) -> float | None:
        return metrics.sample("bobrapet_storyrun_queue_depth", namespace="team", storyrun=run, queue="gpu")

    def running() -> float | None:
        return metrics.sample("bobrapet_queue_steps_running", queue="gpu")

    slots = Slots(lambda: limits(gpu=1), clock())
    slots.load([])
    for step in ("one/a", "two/a", "two/b"):
        nursery.start_soon(slots.acquire, demand(step, queue="gpu"), list[str]().append, WakeUp(), never)
        await wait_all_tasks_blocked()
    with metrics.recording(), metrics.collected_by(QueueGauges(slots).collect):
        metrics.exposition()
        assert (depth("one"), depth("two"), running()) == (None, 2, 1)
        for run, step in (("one", "a"), ("two", "a")):
            slots.release(f"uid-{run}", step)
        metrics.exposition()
        assert (depth("two"), running()) == (None, 1)
        slots.forget("uid-two")
        metrics.exposition()
        assert running() == 0


async def test_of_more_queues_than_label_sets_those_at_work_are_shown_first(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def running(queue: str) -> float | None:
        return metrics.sample("bobrapet_queue_steps_running", queue=queue)

    slots = Slots(lambda: limits(), clock())
    slots.load([])
    with metrics.recording(), metrics.collected_by(QueueGauges(slots).collect):
        metrics.set_most_label_sets(2)
        for run in ("one", "two", "three"):
            nursery.start_soon(slots.acquire, demand(f"{run}/a", queue=run), list[str]().append, WakeUp(), never)
        await wait_all_tasks_blocked()
        metrics.exposition()
        assert [running(queue) for queue in ("one", "two", "three")] == [1, 1, 1]
        slots.forget("uid-two")
        metrics.exposition()
        assert [running(queue) for queue in ("one", "two", "three")] == [1, None, 1]


async def test_a_queue_tells_how_long_its_oldest_step_has_waited(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def waited() -> float | None:
        return metrics.sample("bobrapet_queue_oldest_wait_seconds", queue="gpu")

    slots = Slots(lambda: limits(gpu=1), clock())
    slots.load([])
    for step in ("one/a", "two/a", "two/b"):
        nursery.start_soon(slots.acquire, demand(step, queue="gpu"), list[str]().append, WakeUp(), never)
        await wait_all_tasks_blocked()
        await trio.sleep(60)
    with metrics.recording(), metrics.collected_by(QueueGauges(slots).collect):
        metrics.exposition()
        oldest = waited()
        assert oldest is not None
        assert oldest >= 120
        for run in ("one", "two"):
            slots.forget(f"uid-{run}")
            await wait_all_tasks_blocked()
        slots.forget("uid-two")
        metrics.exposition()
        assert waited() == 0


class Followed:
    """Stands for an informer that has not been able to follow its kind for a while."""

    resource: Resource = STORY_RUN
    stuck_seconds = 90.0


def test_readiness_is_a_series_for_each_check_and_each_kind() -> None:
    reasons = {"informers": "cannot watch storyruns for 90 s", "configuration": ""}
    checks = {name: lambda name=name: reasons[name] for name in reasons}
    with metrics.recording(), metrics.collected_by(ReadinessGauges(checks, [Followed()]).collect):
        metrics.exposition()
        assert metrics.sample("bobrapet_ready", check="informers") == 0
        assert metrics.sample("bobrapet_ready", check="configuration") == 1
        assert metrics.sample("bobrapet_informer_stuck_seconds", resource="storyruns") == 90
        reasons["informers"] = ""
        metrics.exposition()
        assert metrics.sample("bobrapet_ready", check="informers") == 1


class KnownImpulses:
    """Stands for the informer: the throttled triggers of each Impulse, None where the status says nothing."""

    def __init__(self) -> None:
        self.throttled: dict[str, int | None] = {}

    def each(self, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        for name, number in self.throttled.items():
            status = {} if number is None else {"throttledTriggers": number}
            yield {"metadata": {"namespace": "team", "name": name}, "status": status}


def throttled(impulse: str) -> float | None:
    return metrics.sample("bobrapet_impulse_throttled_triggers_total", namespace="team", impulse=impulse)


def test_each_impulse_reports_what_its_sdk_has_throttled() -> None:
    known = KnownImpulses()
    known.throttled = {"hook": 7, "cron": None}
    with metrics.recording(), metrics.collected_by(ImpulseGauges(known).collect):
        metrics.exposition()
        assert (throttled("hook"), throttled("cron")) == (7, 0)
        known.throttled = {"hook": 8}
        metrics.exposition()
        assert (throttled("hook"), throttled("cron")) == (8, None)
