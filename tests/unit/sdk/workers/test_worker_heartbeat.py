"""The Lease of a worker whose main thread, or whose machine, stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bubu_sdk.workers import clock
from bubu_sdk.workers import heartbeat as module
from bubu_sdk.workers.heartbeat import Heartbeat
from tests.unit.sdk.workers.conftest import StartWorker
from tests.unit.sdk.workers.test_worker_process import MANY, is_alive, waiting
from tests.unit.sdk.workers.test_worker_watching import SETTINGS
from tests.unit.sdk.workers.worker_stand import WatchableCluster, WorkerStand, eventually


class Beating:
    """A heartbeat with a clock that the test moves, and a main thread that looks when the test says so."""

    def __init__(self, cluster: WatchableCluster) -> None:
        self.time = self.looked_at = 1000.0
        self.news: list[str] = []
        self.silences: list[float] = []
        self.heartbeat = Heartbeat(
            cluster,
            SETTINGS,
            renewed=self._renewed,
            distrusted=self.news.append,
            looked_at=lambda: self.looked_at,
            hung=lambda: self.news.append("hung"),
            clock_now=lambda: self.time,
        )

    def _renewed(self, silence_seconds: float) -> None:
        self.silences.append(silence_seconds)
        self.news.append("renewed")

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


def test_each_renewal_says_how_long_there_was_none(cluster: WatchableCluster) -> None:
    with beating(cluster) as beat:
        eventually(lambda: beat.news)
        beat.time += 25
        beat.look()
        eventually(lambda: max(beat.silences) == 25)
        assert beat.silences[0] == 0


def test_the_clock_of_the_limits_goes_on_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    really = time.clock_gettime
    before = clock.now()
    monkeypatch.setattr(time, "clock_gettime", lambda which: really(which) + 3600 * (which == time.CLOCK_BOOTTIME))

    assert 3600 <= clock.now() - before < 3700
    assert abs(clock.as_monotonic(clock.now() + 5) - time.monotonic() - 5) < 1


@pytest.mark.parametrize("isolation", ["process", "task"])
def test_a_machine_that_was_suspended_ends_its_steps(
    start_worker: StartWorker, stand: WorkerStand, tmp_path: Path, isolation: str
) -> None:
    """The operator has taken the worker for lost meanwhile, and the watch has not shown it yet."""
    flag = tmp_path / "suspended"
    suspended = f"""
    import os, time
    really = time.clock_gettime

    def gettime(which):
        return really(which) + 25 * (which == time.CLOCK_BOOTTIME and os.path.exists({str(flag)!r}))

    time.clock_gettime = gettime
    """
    options = {"source": suspended + MANY} if isolation == "process" else {"source": MANY, "supervisor": suspended}
    worker = start_worker(**options, BUBU_WORKER_ISOLATION=isolation)
    process, child, _ = waiting(stand, tmp_path, "before", deaf=isolation == "task")

    flag.touch()

    assert stand.wait_for_exit("before") in (0, 143, 137)
    eventually(lambda: not any(map(is_alive, (process, child))))
    if isolation == "task":  # it is the process of all steps
        assert worker.process.wait(60) == 1
        worker.restart()
    stand.wait_until_it_serves(do="echo", text="serves")
