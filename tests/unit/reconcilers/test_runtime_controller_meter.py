"""Controllers and their queues under the names of controller-runtime and client-go."""

from __future__ import annotations

from datetime import timedelta

import trio
from trio.testing import MockClock

from core.engine.errors import RejectedError, UnavailableError
from core.telemetry import metrics
from reconcilers.runtime.controller import Controller, ControllerOptions, Key
from reconcilers.runtime.outcome import After, Done, Outcome

SECOND = timedelta(seconds=1)
QUEUE = {"name": "story", "controller": "story"}


def of_queue(name: str, **more: str) -> float | None:
    return metrics.sample(f"workqueue_{name}", **QUEUE, **more)


def of_controller(name: str, **more: str) -> float | None:
    return metrics.sample(f"controller_runtime_{name}", controller="story", **more)


async def test_results_and_waits_are_counted(autojump_clock: MockClock) -> None:
    answers: list[Outcome | Exception] = [
        UnavailableError("away"),
        After(5 * SECOND),
        ValueError("a bug"),
        RejectedError("no"),
        Done(),
    ]

    async def reconcile(key: Key) -> Outcome:
        await trio.sleep(0.5)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    controller = Controller("story", reconcile, ControllerOptions(1, SECOND, SECOND))
    with metrics.recording(), metrics.collected_by(controller.meter.collect):
        controller.enqueue(Key("team", "a"))
        with trio.move_on_after(60):
            await controller.run()
        controller.enqueue(Key("team", "a"))
        with trio.move_on_after(60):
            await controller.run()
        for _ in range(2):  # a second exposition adds nothing
            metrics.exposition()
        assert [of_controller("reconcile_total", result=each) for each in ("success", "error", "requeue_after")] == [
            *(1, 3, 1)
        ]
        assert of_controller("reconcile_errors_total") == 3
        assert of_controller("terminal_reconcile_errors_total") == 1
        assert of_controller("reconcile_panics_total") == 1
        assert of_controller("reconcile_time_seconds_sum") == 2.5
        assert of_queue("work_duration_seconds_sum") == 2.5
        assert (of_queue("adds_total"), of_queue("retries_total")) == (5, 2)
        assert of_queue("queue_duration_seconds_count") == 5
        assert (of_queue("depth", priority="0"), of_controller("active_workers")) == (0, 0)


async def test_the_time_of_work_under_way_is_read_at_each_exposition(autojump_clock: MockClock) -> None:
    async def reconcile(key: Key) -> Outcome:
        await trio.sleep(30)
        return Done()

    controller = Controller("story", reconcile, ControllerOptions(2, SECOND, SECOND))
    with metrics.recording(), metrics.collected_by(controller.meter.collect):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(controller.run)
            for number in range(5):
                controller.enqueue(Key(f"team-{number}", "a"))
            await trio.sleep(10)
            metrics.exposition()
            assert of_queue("depth", priority="0") == 3
            assert (of_controller("active_workers"), of_controller("max_concurrent_reconciles")) == (2, 2)
            assert (of_queue("unfinished_work_seconds"), of_queue("longest_running_processor_seconds")) == (20, 10)
            await trio.sleep(25)
            metrics.exposition()
            assert of_queue("longest_running_processor_seconds") == 5
            nursery.cancel_scope.cancel()
        assert of_queue("queue_duration_seconds_sum") == 60, "two keys have waited for 30 s"
