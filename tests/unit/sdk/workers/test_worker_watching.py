"""How a worker sees its StepRuns, and keeps its Lease."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bubu_sdk.errors import ContextError, Object
from bubu_sdk.kube import UnreachableError, UntrustedError, status_error
from bubu_sdk.workers import clock
from bubu_sdk.workers import watching as watching_module
from bubu_sdk.workers.heartbeat import Heartbeat, WorkerState
from bubu_sdk.workers.settings import IsolationMode, WorkerSettings
from bubu_sdk.workers.supervisor import KILL_SECONDS
from bubu_sdk.workers.watching import Listed, LostSight, Seen, StepRunWatch, WatchNews
from reconcilers.adapters.worker_heartbeats import LOST_AFTER_SECONDS
from reconcilers.adapters.worker_leftovers import HEARS_WITHIN_SECONDS
from tests.unit.sdk.workers.worker_stand import (
    NAMESPACE,
    POD,
    POD_UID,
    WatchableCluster,
    WorkerStand,
    eventually,
    path_of,
)

ENVIRON = {
    "BUBU_WORKER_POOL": "pool-a",
    "BUBU_POD_NAME": POD,
    "BUBU_POD_UID": POD_UID,
    "BUBU_POD_NAMESPACE": NAMESPACE,
}
SETTINGS = WorkerSettings.of(ENVIRON)


@contextmanager
def watching(cluster: WatchableCluster) -> Iterator[list[WatchNews]]:
    news: list[WatchNews] = []
    watch = StepRunWatch(cluster, SETTINGS, news.append)
    watch.begin()
    try:
        yield news
    finally:
        watch.close()


def names(news: list[WatchNews]) -> list[tuple[str, str]]:
    found = []
    for each in news:
        objects = each.step_runs if isinstance(each, Listed) else [each.step_run]
        found += [(type(each).__name__, str(step_run["metadata"]["name"])) for step_run in objects]
    return found


def test_it_lists_and_then_watches_what_is_assigned_to_this_pod(cluster: WatchableCluster, stand: WorkerStand) -> None:
    stand.assign("before")
    cluster.add(path_of("other"), {"metadata": {"name": "other", "labels": {"bubustack.io/worker": "pool-a-2"}}})
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 1)
        stand.assign("after")
        cluster.remove(path_of("before"))
        eventually(lambda: len(news) == 3)

    assert names(news) == [("Listed", "before"), ("Seen", "after"), ("LostSight", "before")]
    assert isinstance(news[1], Seen)
    assert isinstance(news[2], LostSight)


def test_a_watch_that_breaks_is_continued_without_a_list(cluster: WatchableCluster, stand: WorkerStand) -> None:
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 1)
        stand.assign("one")
        eventually(lambda: len(news) == 2)
        cluster.break_streams()
        stand.assign("two")
        eventually(lambda: len(news) == 3)

    assert names(news) == [("Seen", "one"), ("Seen", "two")]
    assert [request.method for request in cluster.requests] == ["GET"]


def test_a_watch_whose_version_is_too_old_begins_again_with_a_list(
    cluster: WatchableCluster, stand: WorkerStand
) -> None:
    cluster.expired = True
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 2)
        stand.assign("one")
        eventually(lambda: len(news) == 3)

    assert [type(each) for each in news] == [Listed, Listed, Seen]


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bubu_sdk.workers.watching.SILENCE_AT_WORK_SECONDS", 0.2)


@pytest.mark.usefixtures("short_silence")
def test_while_an_attempt_is_under_way_a_silent_connection_is_noticed_soon(
    cluster: WatchableCluster, stand: WorkerStand
) -> None:
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 1)
        stand.assign("one")
        eventually(lambda: len(news) == 2)
        cluster.break_streams_in_silence()
        cluster.remove(path_of("one"))
        eventually(lambda: len(news) == 3)

    assert names(news) == [("Seen", "one"), ("LostSight", "one")]
    assert cluster.server_seconds == [290, 8], "the server ends the second before it is silent for long"


@pytest.mark.usefixtures("short_silence")
def test_what_the_list_shows_is_under_way_too(cluster: WatchableCluster, stand: WorkerStand) -> None:
    stand.assign("one")
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 1)
        cluster.break_streams_in_silence()
        cluster.remove(path_of("one"))
        eventually(lambda: len(news) == 2)

    assert names(news) == [("Listed", "one"), ("LostSight", "one")]
    assert cluster.server_seconds[0] == 8


@pytest.mark.usefixtures("short_silence")
def test_without_an_attempt_silence_means_that_nothing_happens(cluster: WatchableCluster, stand: WorkerStand) -> None:
    cluster.add(path_of("other"), _assigned_to_another(stand.assign("other")))
    with watching(cluster) as news:
        eventually(lambda: cluster.watches == 1)
        stand.assign("one")
        eventually(lambda: len(news) == 2)
        stand.change("one", status={"workerExit": {"attempt": 0, "exitCode": 0}})
        eventually(lambda: len(news) == 3)
        stand.assign("two")
        eventually(lambda: len(news) == 4)
        cluster.remove(path_of("two"))
        eventually(lambda: len(news) == 5)
        time.sleep(0.5)

    assert cluster.watches == 1


def _assigned_to_another(step_run: Object) -> Object:
    """As one of an earlier Pod of that name."""
    assignment = {"attempt": 0, "worker": POD, "workerUid": "earlier", "environment": {}}
    annotations = {"runs.bubustack.io/assignment": json.dumps(assignment)}
    return {**step_run, "metadata": {**step_run["metadata"], "annotations": annotations}}


def test_the_operator_waits_until_a_worker_has_surely_heard() -> None:
    """Either it has another watch by then, or it is cut off, and has killed what it ran before it counts as lost."""
    assert HEARS_WITHIN_SECONDS == watching_module.HEARS_WITHIN_SECONDS
    assert watching_module.SILENCE_AT_WORK_SECONDS + 5 <= HEARS_WITHIN_SECONDS
    assert KILL_SECONDS + 2 <= LOST_AFTER_SECONDS


def test_it_lists_anew_when_it_is_asked_to(cluster: WatchableCluster, stand: WorkerStand) -> None:
    news: list[WatchNews] = []
    watch = StepRunWatch(cluster, SETTINGS, news.append)
    watch.begin()
    eventually(lambda: cluster.watches == 1)
    stand.assign("one")
    eventually(lambda: len(news) == 2)
    assert watch.list_anew() == 1
    eventually(lambda: len(news) == 3)
    eventually(lambda: cluster.watches == 2)
    stand.assign("two")
    eventually(lambda: len(news) == 4)
    watch.close()

    assert names(news) == [("Seen", "one"), ("Listed", "one"), ("Seen", "two")]
    assert [each.number for each in news if isinstance(each, Listed)] == [0, 1]


def test_a_server_that_is_away_is_asked_again(cluster: WatchableCluster, stand: WorkerStand) -> None:
    failures = iter([UnreachableError("refused"), status_error(503, "busy"), status_error(429, "slow down")])

    def fail(*_: Any) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    cluster.before = fail
    stand.assign("one")
    with watching(cluster) as news:
        eventually(lambda: news)

    assert names(news) == [("Listed", "one")]


def test_a_long_list_is_read_in_pages(
    cluster: WatchableCluster, stand: WorkerStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bubu_sdk.workers.watching._PAGE", 2)
    for number in range(5):
        stand.assign(f"step-{number}")
    with watching(cluster) as news:
        eventually(lambda: news)

    assert names(news) == [("Listed", f"step-{number}") for number in range(5)]


@contextmanager
def beating(cluster: WatchableCluster) -> Iterator[tuple[Heartbeat, list[str]]]:
    news: list[str] = []
    heartbeat = Heartbeat(
        cluster,
        SETTINGS,
        renewed=lambda _: news.append("renewed"),
        distrusted=news.append,
        looked_at=clock.now,
        hung=lambda: news.append("hung"),
    )
    heartbeat.begin()
    try:
        yield heartbeat, news
    finally:
        heartbeat.close()


def test_the_lease_is_created_and_then_renewed(cluster: WatchableCluster, stand: WorkerStand) -> None:
    with beating(cluster) as (heartbeat, news):
        eventually(lambda: heartbeat.announced is WorkerState.READY)
        assert stand.lease["spec"] == {
            "holderIdentity": POD_UID,
            "leaseDurationSeconds": 20,
            "renewTime": stand.lease["spec"]["renewTime"],
        }
        heartbeat.announce(WorkerState.DRAINING)
        eventually(lambda: heartbeat.announced is WorkerState.DRAINING)

    assert stand.state == "draining"
    assert [request.method for request in cluster.requests] == ["PATCH", "POST", "PATCH"]
    assert news == ["renewed", "renewed"]


def test_a_renewal_that_fails_is_not_counted(cluster: WatchableCluster) -> None:
    failing = threading.Event()
    failing.set()

    def fail(*_: Any) -> None:
        if failing.is_set():
            raise UnreachableError("refused")

    cluster.before = fail
    with beating(cluster) as (heartbeat, news):
        eventually(lambda: cluster.requests)
        assert heartbeat.renewed_at is None
        failing.clear()
        heartbeat.announce(WorkerState.READY)
        eventually(lambda: heartbeat.renewed_at is not None)
        assert news == ["renewed"]


def test_an_untrusted_server_is_reported(cluster: WatchableCluster) -> None:
    def fail(*_: Any) -> None:
        raise UntrustedError("the certificate has changed")

    cluster.before = fail
    with beating(cluster) as (_, news):
        eventually(lambda: news)

    assert news[0] == "the certificate has changed"


def test_settings_name_all_that_is_wrong() -> None:
    wrong = {
        "BUBU_WORKER_POOL": "pool-a",
        "BUBU_WORKER_CONCURRENCY": "65",
        "BUBU_WORKER_MEMORY_BYTES": "1Gi",
        "BUBU_WORKER_ISOLATION": "vm",
    }
    with pytest.raises(ContextError) as caught:
        WorkerSettings.of(wrong)

    for name in ("POD_NAME", "POD_UID", "POD_NAMESPACE", "WORKER_CONCURRENCY", "WORKER_MEMORY_BYTES", "ISOLATION"):
        assert name in str(caught.value)


def test_settings_have_defaults() -> None:
    assert (SETTINGS.concurrency, SETTINGS.isolation, SETTINGS.memory_bytes, SETTINGS.grace_seconds) == (
        1,
        IsolationMode.PROCESS,
        None,
        20.0,
    )
