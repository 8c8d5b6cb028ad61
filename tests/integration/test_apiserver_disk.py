"""The API server when the disk fails it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import open_cluster

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size_bytes``: to SQLite a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
