"""The fault proxy applies exactly the given faults to requests, in front of a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest
import trio

from core.kube.errors import ConnectionLostError
from core.kube.transport import open_lines
from tools.control_plane.access import load_access
from tools.control_plane.faults import (
    Cut,
    Delay,
    Hold,
    Late,
    LoseAnswer,
    LoseRequest,
    Moment,
    Mute,
    Refuse,
    Repeat,
    RepeatLines,
    everything,
    named,
    watches,
    writes,
)
from tools.control_plane.proxy import Proxy, open_proxy
from tools.control_plane.session import SessionCluster

MAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Rig:
    proxy: Proxy
    client: httpx.AsyncClient
    """A client through the proxy."""
    direct: httpx.AsyncClient

    async def create(self, name: str) -> httpx.Response:
        return await self.client.post(MAPS, json={"metadata": {"name": name}})

    async def exists(self, name: str) -> bool:
        return (await self.direct.get(f"{MAPS}/{name}")).status_code == httpx.codes.OK


@pytest.fixture
async def rig(real_cluster: SessionCluster) -> AsyncIterator[Rig]:
    if real_cluster.ready is None:
        pytest.skip("needs the certificates of a control plane of our own")
    access = load_access(Path(real_cluster.ready.kubeconfig).parent)
    headers = {"authorization": f"Bearer {real_cluster.ready.admin_token}"}
    async with open_proxy(access, real_cluster.ready.url) as proxy:
        tls = access.tls_context()
        async with (
            httpx.AsyncClient(base_url=proxy.url, verify=tls, headers=headers, timeout=20) as client,
            httpx.AsyncClient(base_url=real_cluster.ready.url, verify=tls, headers=headers, timeout=20) as direct,
        ):
            await direct.delete(MAPS, params={"labelSelector": "!tests.example/none"})
            yield Rig(proxy, client, direct)


async def test_without_faults_everything_passes_and_is_recorded(rig: Rig) -> None:
    assert (await rig.create("a")).status_code == httpx.codes.CREATED
    assert (await rig.create("a")).status_code == httpx.codes.CONFLICT
    assert [(seen.request.name, seen.code) for seen in rig.proxy.seen] == [
        ("POST configmaps", 201),
        ("POST configmaps", 409),
    ]


@pytest.mark.parametrize(("fault", "done"), [(LoseRequest(), False), (LoseAnswer(), True)], ids=["before", "after"])
async def test_a_write_may_break_before_or_after_it_took_effect(rig: Rig, fault: LoseAnswer, done: bool) -> None:
    rig.proxy.add(fault, writes)
    with pytest.raises(httpx.TransportError):
        await rig.create("a")
    assert await rig.exists("a") is done
    assert (await rig.create("b")).status_code == httpx.codes.CREATED


async def test_a_repeated_write_reaches_the_server_twice(rig: Rig) -> None:
    rig.proxy.add(Repeat(), named("POST configmaps"))
    assert (await rig.create("a")).status_code == httpx.codes.CONFLICT
    assert await rig.exists("a")


async def test_a_refusal_is_the_proxys_own(rig: Rig) -> None:
    rig.proxy.add(Refuse(429, "TooManyRequests", retry_after_seconds=3), everything)
    answer = await rig.create("a")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["reason"] == "TooManyRequests"
    assert not await rig.exists("a")


async def test_a_held_request_waits_before_the_server_sees_it(rig: Rig) -> None:
    fault = Hold()
    rig.proxy.add(fault, writes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.create, "a")
        await fault.held.wait()
        assert not await rig.exists("a")
        fault.release.set()
    assert await rig.exists("a")


@pytest.mark.parametrize("moment", [Moment.DONE, Moment.TOLD], ids=["done", "told"])
async def test_a_request_may_be_held_after_it_took_effect(rig: Rig, moment: Moment) -> None:
    fault, told = Hold(moment), trio.Event()
    rig.proxy.add(fault, writes)

    async def create() -> None:
        await rig.create("a")
        told.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        await fault.held.wait()
        assert await rig.exists("a")
        with trio.move_on_after(0.2):
            await told.wait()
        assert told.is_set() is (moment is Moment.TOLD)
        fault.release.set()


async def test_an_answer_may_come_late_or_never(rig: Rig) -> None:
    rig.proxy.add(Delay(0.3), everything)
    started = trio.current_time()
    await rig.create("a")
    assert trio.current_time() - started >= 0.3
    rig.proxy.add(Mute(), everything)
    with trio.move_on_after(0.3) as scope:
        await rig.create("b")
    assert scope.cancelled_caught
    assert await rig.exists("b")


async def watched(rig: Rig, count: int, *, cut: bool = False) -> list[str]:
    """Names in the first ``count`` lines of a watch through the proxy.

    With ``cut`` all connections break afterwards.
    """
    names: list[str] = []
    with trio.fail_after(20):
        async with rig.client.stream("GET", MAPS, params={"watch": "1"}) as answer, open_lines(answer) as lines:
            async for line in lines:
                names.append(orjson.loads(line)["object"]["metadata"]["name"])
                if cut:
                    rig.proxy.cut_connections()
                elif len(names) == count:
                    break
    return names


async def test_events_of_a_watch_may_come_twice(rig: Rig) -> None:
    await rig.create("a")
    rig.proxy.add(RepeatLines(2), watches)
    names = await watched(rig, 4)
    assert names == sorted([name for name in names[::2] for _ in range(2)], key=names.index)


async def test_events_of_a_watch_may_come_late_and_keep_their_order(rig: Rig) -> None:
    for name in "abc":
        await rig.create(name)
    on_time = await watched(rig, 4)
    rig.proxy.add(Late(0.4), watches)
    started = trio.current_time()
    assert await watched(rig, 4) == on_time
    assert trio.current_time() - started >= 0.4


async def test_a_watch_may_break_in_the_middle_of_a_line(rig: Rig) -> None:
    await rig.create("a")
    rig.proxy.add(Cut(20), watches)
    with pytest.raises(ConnectionLostError):
        await watched(rig, 1)
    assert await watched(rig, 1)


async def test_every_connection_can_be_cut_at_once(rig: Rig) -> None:
    await rig.create("a")
    with pytest.raises(ConnectionLostError):
        await watched(rig, 1, cut=True)
    assert (await rig.create("b")).status_code == httpx.codes.CREATED
