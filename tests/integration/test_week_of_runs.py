"""Nothing is left of runs after their retention: the short form of ``make bench BENCH=week``, in virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from bench.compressed import CompressedCluster, open_compressed_cluster
from bench.week import RETRIED, Count, count, install, start_runs
from core.api.resource import STORY_RUN
from core.policy.settings import OperatorSettings
from core.telemetry import metrics

ROUNDS: Final = 3
RUNS: Final = 40
SLACK: Final = 20
"""What may be under way by chance; one entry for each run of the later rounds would be four times as many."""
ROUND_SECONDS: Final = 1800.0
CHILDREN_SECONDS: Final = 300
RETENTION_SECONDS: Final = 900
GONE_SECONDS: Final = 5477.0
"""More than the sleep of a run, its retention, and the hour after which the server deletes its Events. At no count is
the ten-minute resync under way.
"""
REMEMBERED: Final = {
    *("InformerStore._deletions", "InformerStore._alike", "OwnVersions._uids", "RunnerAccess._chosen"),
    "ExecutionPolicy.provenance",  # of the last bindings
}
"""In caches of limited size; their oldest entries give way."""


@pytest.fixture
def settings() -> OperatorSettings:
    default = OperatorSettings()
    return replace(
        default,
        job=replace(default.job, ttl_seconds_after_finished=CHILDREN_SECONDS),
        runs=replace(default.runs, retention_seconds=RETENTION_SECONDS),
        triggers=replace(default.triggers, retention_seconds=RETENTION_SECONDS),
    )


async def test_nothing_is_left_of_runs_after_their_retention(
    autojump_clock: MockClock, settings: OperatorSettings
) -> None:
    with metrics.recording():
        async with open_compressed_cluster(None, settings, failing={RETRIED: 1}) as cluster:
            await install(cluster)
            await trio.sleep(GONE_SECONDS)
            counts = [count(cluster, None, 0)]
            for number in range(ROUNDS):
                await start_runs(cluster, range(number * RUNS, (number + 1) * RUNS), ROUND_SECONDS)
                if number == 0:
                    await _all_have_succeeded(cluster)
                await trio.sleep(GONE_SECONDS)
                counts.append(count(cluster, None, (number + 1) * RUNS))
    before, first, *later = counts
    _no_object_is_left(before, later[-1])
    _no_structure_grows(first, later[-1])
    assert later[-1].series < first.series + SLACK
    assert later[-1].tasks < before.tasks + SLACK
    assert later[-1].wakeups < before.wakeups + SLACK
    assert later[-1].runs_alive == 0


async def _all_have_succeeded(cluster: CompressedCluster) -> None:
    await trio.sleep(700)
    kept = (await cluster.client.list(STORY_RUN)).items
    phases = Counter(run["status"]["phase"] for run in kept)
    assert len(phases) == 1, phases
    assert phases["Succeeded"] > RUNS // 3


def _no_object_is_left(before: Count, after: Count) -> None:
    """The ServiceAccount and rights of the Story, and its stored copy, stay for its next run."""
    of_stories = {"serviceaccounts", "roles", "rolebindings", "controllerrevisions"}
    left = {kind for kind, objects in after.stored.items() if objects > before.stored[kind]}
    assert left <= of_stories


def _no_structure_grows(first: Count, last: Count) -> None:
    grown = {name: (first.held[name], size) for name, size in last.held.items() if size > first.held[name] + SLACK}
    assert grown.keys() <= REMEMBERED, grown
