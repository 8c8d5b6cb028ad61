"""The throttle's counts in the Impulse's status. (counters.py; Trigger contract 7.2)"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bubu_sdk.counters import ThrottleCounter, increment
from bubu_sdk.errors import Object
from bubu_sdk.kube import ENGRAMS_API
from bubu_sdk.testing import InMemoryCluster

PATH = f"{ENGRAMS_API}/namespaces/default/impulses/hook"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Stand:
    """A cluster with one Impulse, and its counter, which writes only when it is flushed."""

    def __init__(self, status: Object | None = None) -> None:
        self.cluster = InMemoryCluster()
        self.cluster.add(PATH, {"kind": "Impulse", "metadata": {"name": "hook"}, "status": status or {}})
        self.pauses: list[float] = []
        self.counter = ThrottleCounter(self.cluster, "default", "hook", now=lambda: NOON, sleep=self.pauses.append)
        self.counter._collect = lambda: None  # type: ignore[method-assign] # no thread writes behind the test's back

    @property
    def status(self) -> Object:
        status: Object = self.cluster.objects[PATH]["status"]
        return status

    def patches(self) -> list[Any]:
        return [sent.body for sent in self.cluster.requests if sent.method == "PATCH"]


def test_many_counts_are_one_patch_with_a_precondition() -> None:
    stand = Stand({"throttledTriggers": 5, "phase": "Running"})
    version = stand.cluster.objects[PATH]["metadata"]["resourceVersion"]

    for _ in range(3):
        stand.counter.add()
    stand.counter.flush()
    stand.counter.flush()

    assert stand.patches() == [
        {
            "metadata": {"resourceVersion": version},
            "status": {"throttledTriggers": 8, "lastThrottled": "2026-01-01T12:00:00Z"},
        }
    ]
    assert stand.status == {"phase": "Running", "throttledTriggers": 8, "lastThrottled": "2026-01-01T12:00:00Z"}


def test_a_conflict_is_read_again_and_no_count_of_another_replica_is_lost() -> None:
    stand = Stand()

    def another_replica(method: str, path: str, _: Any) -> None:
        if method == "PATCH" and len(stand.pauses) < 2:
            now = stand.status.get("throttledTriggers", 0)
            stand.cluster.add(PATH, {**stand.cluster.objects[PATH], "status": {"throttledTriggers": now + 10}})

    stand.cluster.before = another_replica
    stand.counter.add()
    stand.counter.flush()

    assert stand.status["throttledTriggers"] == 21
    assert stand.pauses == pytest.approx([0.01, 0.05])


def test_counts_that_could_not_be_written_are_written_with_the_next() -> None:
    stand = Stand()
    stand.cluster.fail(403)
    stand.counter.add()
    stand.counter.flush()

    stand.counter.add()
    stand.counter.flush()

    assert stand.status["throttledTriggers"] == 2


def test_the_time_only_moves_forward() -> None:
    later = "2027-01-01T00:00:00Z"

    assert "lastThrottled" not in increment({"status": {"lastThrottled": later}}, 1, NOON)["status"]
    assert increment({}, 1, NOON) == {"status": {"throttledTriggers": 1, "lastThrottled": "2026-01-01T12:00:00Z"}}


def test_a_process_without_an_impulse_counts_nothing() -> None:
    cluster = InMemoryCluster()
    counter = ThrottleCounter(cluster, "default", "")

    counter.add()
    counter.flush()

    assert cluster.requests == []
