"""Which changes of runs and steps count, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.api.objects import Object
from core.kube.store import Change, ChangeKind
from core.ownership.ownership import OwnedKey
from core.telemetry import metrics
from reconcilers.run_counts import RunCounts
from tests.unit.reconcilers.reconciler_samples import run, step_run

TIMES = {"startedAt": "2025-01-02T03:00:00Z", "finishedAt": "2025-01-02T03:00:07Z"}
RUN = {"namespace": "team", "story": "report"}
STEP = {"namespace": "team", "engram": "http"}


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    with metrics.recording():
        yield


def with_status(obj: Object, **status: Any) -> Object:
    return {**obj, "status": status}


def moved(obj: Object, before: Object, after: Object) -> Change:
    return Change(ChangeKind.UPDATED, with_status(obj, **before), with_status(obj, **after))


def runs(phase: str) -> float | None:
    return metrics.sample("bobrapet_storyruns_total", **RUN, phase=phase)


def steps(phase: str) -> float | None:
    return metrics.sample("bobrapet_stepruns_total", **STEP, phase=phase)


def retries(reason: str) -> float | None:
    return metrics.sample("bobrapet_steprun_retries_total", **STEP, reason=reason)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Timeout", "Canceled", "Compensated"])
def test_each_end_of_a_run_counts_with_its_phase_and_duration(phase: str) -> None:
    counts = RunCounts()

    counts.story_run_changed(moved(run(), {"phase": "Running"}, {"phase": phase, **TIMES}))

    assert runs(phase) == 1
    assert metrics.sample("bobrapet_storyrun_duration_seconds_sum", **RUN, phase=phase) == 7


def test_a_step_counts_whoever_wrote_its_end() -> None:
    RunCounts().step_run_changed(moved(step_run(run()), {"phase": "Pending"}, {"phase": "Succeeded", **TIMES}))

    assert steps("Succeeded") == 1
    assert metrics.sample("bobrapet_steprun_duration_seconds_count", **STEP, phase="Succeeded") == 1


def test_what_had_ended_before_counts_no_more() -> None:
    counts, ended = RunCounts(), {"phase": "Failed", **TIMES}

    for changed, obj in ((counts.story_run_changed, run()), (counts.step_run_changed, step_run(run()))):
        changed(Change(ChangeKind.ADDED, None, with_status(obj, **ended)))
        changed(moved(obj, ended, {**ended, "childrenCleanedAt": "2025-01-03T03:00:00Z"}))
        changed(Change(ChangeKind.DELETED, with_status(obj, **ended), None))

    assert (runs("Failed"), steps("Failed")) == (None, None)


def test_a_run_that_is_executed_again_counts_again() -> None:
    counts, ended = RunCounts(), {"phase": "Failed", **TIMES}

    for before, after in (({"phase": "Running"}, ended), (ended, {"phase": "Running"}), ({"phase": "Running"}, ended)):
        counts.story_run_changed(moved(run(), before, after))

    assert runs("Failed") == 2


def test_an_end_without_readable_instants_counts_without_a_duration() -> None:
    RunCounts().story_run_changed(moved(run(), {}, {"phase": "Failed", "startedAt": "yesterday"}))

    assert runs("Failed") == 1
    assert metrics.sample("bobrapet_storyrun_duration_seconds_count", **RUN, phase="Failed") is None


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"phase": "Failed", "exitClass": "rateLimited"}, {"exitCode": 1}, "rateLimited"),
        ({"phase": "Running"}, {"exitCode": 137}, "retry"),
        ({"phase": "Running", "exitClass": "as the user likes"}, {"exitCode": 1}, "terminal"),
        ({"phase": "Running"}, {}, "unknown"),
    ],
    ids=["reported", "killed", "a class that does not exist", "nothing is known"],
)
def test_a_retry_counts_with_the_class_of_the_failure(before: Object, after: Object, reason: str) -> None:
    RunCounts().step_run_changed(moved(step_run(run()), before, {"phase": "Pending", "retries": 1, **after}))

    assert retries(reason) == 1


def test_a_retry_counts_once() -> None:
    waiting = {"phase": "Pending", "retries": 1, "exitCode": 137}

    counts, step = RunCounts(), step_run(run())
    counts.step_run_changed(moved(step, {"phase": "Running"}, waiting))
    counts.step_run_changed(moved(step, waiting, {**waiting, "message": "still waiting"}))
    counts.step_run_changed(moved(step, waiting, {"phase": "Running", "retries": 1}))
    counts.step_run_changed(Change(ChangeKind.ADDED, None, with_status(step, **waiting)))

    assert retries("retry") == 1


class Nothing:
    def owns(self, key: OwnedKey) -> bool:
        return False


def test_a_run_of_another_process_is_counted_there() -> None:
    counts = RunCounts(Nothing())
    counts.story_run_changed(moved(run(), {"phase": "Running"}, {"phase": "Failed", **TIMES}))
    counts.step_run_changed(moved(step_run(run()), {"phase": "Running"}, {"phase": "Failed", **TIMES}))

    assert (runs("Failed"), steps("Failed")) == (None, None)
