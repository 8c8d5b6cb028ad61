"""The Lease of a worker whose main thread, or whose machine, stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bubu_sdk.workers import heartbeat as module
from bubu_sdk.workers.heartbeat import Heartbeat
from tests.unit.sdk.workers.test_worker_watching import SETTINGS
from tests.unit.sdk.workers.worker_stand import WatchableCluster, eventually


class Beating:
    """A heartbeat with a clock that the test moves, and a main thread that looks when the test says so."""

    def __init__(self, cluster: WatchableCluster) -> None:
        self.time = self.looked_at = 1000.0
        self.news: list[str] = []
        self.heartbeat = Heartbeat(
            cluster,
            SETTINGS,
            renewed=lambda: self.news.append("renewed"),
            distrusted=self.news.append,
            looked_at=lambda: self.looked_at,
            hung=lambda: self.news.append("hung"),
            monotonic=lambda: self.time,
        )

    def look(self) -> None:
        self.looked_at = self.time


@contextmanager
def beating(cluster: WatchableCluster) -> Iterator[Beating]:
    found = Beating(cluster)
    found.heartbeat.begin()
    try:
        yield found
    finally:
        found.heartbeat.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RENEW_SECONDS", "_RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


def test_a_worker_whose_main_thread_is_stuck_is_not_renewed_and_ends(cluster: WatchableCluster) -> None:
    with beating(cluster) as beat:
        eventually(lambda: "renewed" in beat.news)
        beat.time += module._ATTENTION_SECONDS + 0.1
        eventually(lambda: "hung" in beat.news)
        renewals = beat.news.count("renewed")
        sent = len(cluster.requests)
        eventually(lambda: beat.news.count("hung") > 3)
        assert (beat.news.count("renewed"), len(cluster.requests)) == (renewals, sent)
        beat.look()
        eventually(lambda: beat.news.count("renewed") > renewals)


def test_a_main_thread_that_was_only_late_is_forgiven(cluster: WatchableCluster) -> None:
    with beating(cluster) as beat:
        for _ in range(20):
            seen = beat.news.count("renewed")
            beat.time += 3600
            time.sleep(0.02)
            beat.look()
            eventually(lambda seen=seen: beat.news.count("renewed") > seen)  # type: ignore[misc]
        assert "hung" not in beat.news
