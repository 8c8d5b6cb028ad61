"""A write is refused if its key belongs to another process; this is checked just before the write is sent."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from core.api.resource import LEASE
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.fence import NotOwnedError, fence_of
from core.kube.lease import LeaseLostError
from core.kube.retry import ONCE
from core.ownership.acting import acting_for
from core.ownership.ownership import WHOLE_CLUSTER, OwnedKey

MINE, OTHER = ("team", "mine"), ("team", "other")
OBJECT = {"metadata": {"name": "a", "namespace": "b"}}


class Owning:
    """Owns the keys of a set."""

    def __init__(self, *keys: OwnedKey) -> None:
        self.keys = {*keys}

    def owns(self, key: OwnedKey) -> bool:
        return key in self.keys


class Server(httpx.AsyncBaseTransport):
    """Accepts and counts all requests."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.methods.append(request.method)
        return httpx.Response(200, json={"kind": "Lease", **OBJECT})


def open_it(server: Server) -> AbstractAsyncContextManager[KubeClient]:
    return open_client(ClusterConfig("http://cluster.test"), transport=server, retry=ONCE)


async def test_what_is_written_for_a_key_of_another_process_is_not_sent() -> None:
    server, owning = Server(), Owning(MINE)
    async with open_it(server) as client:
        writer = client.fenced(fence_of(owning, None)).in_background()
        with acting_for(MINE):
            await writer.create(LEASE, OBJECT)
        with acting_for(OTHER):
            await writer.get(LEASE, "a", "b")  # reads are not fenced
            with pytest.raises(NotOwnedError, match="does not own team/other any more"):
                await writer.delete(LEASE, "a", "b")
        owning.keys.clear()
        with acting_for(MINE), pytest.raises(NotOwnedError):
            await writer.patch(LEASE, "a", {}, namespace="b")
    assert server.methods == ["POST", "GET"]


async def test_what_is_written_for_no_key_in_particular_needs_the_lease_only() -> None:
    server = Server()
    async with open_it(server) as client:
        await client.fenced(fence_of(Owning(), None)).create(LEASE, OBJECT)
    assert server.methods == ["POST"]


async def test_one_lease_covers_every_key_and_hears_which() -> None:
    asked: list[OwnedKey | None] = []

    def lease(key: OwnedKey | None) -> None:
        asked.append(key)
        if key == OTHER:
            raise LeaseLostError("of the shard of this key")

    server = Server()
    async with open_it(server) as client:
        writer = client.fenced(fence_of(WHOLE_CLUSTER, lease))
        with acting_for(MINE):
            await writer.create(LEASE, OBJECT)
        with acting_for(OTHER), pytest.raises(LeaseLostError):
            await writer.create(LEASE, OBJECT)
    assert asked == [MINE, OTHER]
    assert server.methods == ["POST"]
