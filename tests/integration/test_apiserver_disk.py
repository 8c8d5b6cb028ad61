"""The API server when the disk is full: requests, and its work between requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from localcluster.clock import to_time, utc_now
from localcluster.controllers import housekeeping
from localcluster.controllers.running import run_controllers
from localcluster.server import crd_cleanup, event_expiry
from localcluster.server.storage import Storage, StorageFullError, Write
from localcluster_tests.file_limit import largest_file
from tests.integration.conftest import Cluster, open_cluster
from tests.integration.nodecluster import until
from tests.integration.widgets import DEFINITIONS, WIDGETS, definition, widget

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
NODES = "/api/v1/nodes"


class FullFor:
    """A disk that takes ``room`` more writes, then refuses ``refusals`` of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = self.refusals = 0
        commit = Storage.commit

        def refuse_or_commit(storage: Storage, writes: Sequence[Write]) -> None:
            if self.room:
                self.room -= 1
            elif self.refusals:
                self.refusals -= 1
                raise StorageFullError("no space left for the write; free some disk space and try again")
            commit(storage, writes)

        monkeypatch.setattr(Storage, "commit", refuse_or_commit)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullFor:
    return FullFor(monkeypatch)


async def test_a_full_disk_refuses_writes_serves_reads_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    async with open_cluster(path) as cluster:
        kept = await cluster.create(CONFIGMAPS, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
        huge = {"metadata": {"name": "huge"}, "data": {"a": "x" * 900_000}}
        with largest_file(500_000):
            refused = await cluster.client.post(CONFIGMAPS, json=huge)
            assert refused.status_code in (500, 507)
            assert str(path) in refused.json()["message"]
            assert (await cluster.client.get(f"{CONFIGMAPS}/kept")).json() == kept
            assert (await cluster.client.get(f"{CONFIGMAPS}/huge")).status_code == 404
        assert (await cluster.client.post(CONFIGMAPS, json=huge)).status_code == 201
    async with open_cluster(path) as cluster:
        assert (await cluster.client.get(f"{CONFIGMAPS}/kept")).json() == kept
        assert (await cluster.client.get(f"{CONFIGMAPS}/huge")).status_code == 200


async def test_events_that_cannot_be_forgotten_now_are_forgotten_later(
    disk: FullFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_expiry, "INTERVAL_SECONDS", 0.01)
    old = to_time(utc_now() - timedelta(hours=2))
    event = {
        "metadata": {"name": "old"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "lastTimestamp": old,
    }
    async with open_cluster() as cluster:
        monkeypatch.setattr(event_expiry, "LIFETIME", timedelta(days=1))
        await cluster.create(EVENTS, event)
        disk.refusals = 3
        monkeypatch.setattr(event_expiry, "LIFETIME", timedelta(0))
        await until(answers(cluster, f"{EVENTS}/old", 404), seconds=30)
        assert disk.refusals == 0


async def test_a_definition_that_cannot_be_cleaned_up_now_is_cleaned_up_later(
    disk: FullFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crd_cleanup, "RETRY_FIRST_SECONDS", 0.01)
    async with open_cluster() as cluster:
        created = await cluster.create(DEFINITIONS, definition())
        await cluster.create(WIDGETS, widget("held", finalizers=["example.com/hold"]))
        name = f"{DEFINITIONS}/{created['metadata']['name']}"
        await cluster.client.delete(name)
        disk.room, disk.refusals = 1, 3  # the release of the object is stored, but the deletion that follows is not
        patch = {"metadata": {"finalizers": None}}
        headers = {"content-type": "application/merge-patch+json"}
        released = await cluster.client.patch(f"{WIDGETS}/held", json=patch, headers=headers)
        await until(answers(cluster, name, 404), seconds=30)
        assert released.status_code == 200
        assert disk.refusals == 0


async def test_controllers_go_on_with_what_the_disk_refused_them(
    disk: FullFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent Node is marked, and a new namespace gets its objects, as soon as there is space."""
    monkeypatch.setattr(housekeeping, "NODE_CHECK_SECONDS", 0.01)
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    async with open_cluster() as cluster:
        await cluster.nursery.start(run_controllers, cluster.registry, utc_now)
        await until(answers(cluster, f"{CONFIGMAPS}/kube-root-ca.crt"), seconds=30)
        await cluster.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
        await cluster.create(NODES, {"metadata": {"name": "silent"}})
        headers = {"content-type": "application/merge-patch+json"}
        status = {"status": {"conditions": [ready]}}
        await cluster.client.patch(f"{NODES}/silent/status", json=status, headers=headers)
        disk.refusals = 6
        monkeypatch.setattr(housekeeping, "NODE_SILENCE", timedelta(0))
        await until(lambda: is_silent(cluster), seconds=30)
        await until(answers(cluster, "/api/v1/namespaces/later/configmaps/kube-root-ca.crt"), seconds=30)
        assert disk.refusals == 0


def answers(cluster: Cluster, path: str, code: int = 200) -> Callable[[], Awaitable[bool]]:
    async def does() -> bool:
        return (await cluster.client.get(path)).status_code == code

    return does


async def is_silent(cluster: Cluster) -> bool:
    node = (await cluster.client.get(f"{NODES}/silent")).json()
    return bool(node["status"]["conditions"][0]["status"] == "Unknown")
