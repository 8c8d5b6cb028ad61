"""Containers on the unmodified Go SDK, whose operator, hub or connection is away for a while."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.e2e.go_sdk_rig import LINE, NEW, OLD, GoStream
from tests.e2e.stream_rig import open_real_rig, until
from tools.control_plane.link import open_link
from tools.control_plane.ports import unshared_port
from tools.control_plane.session import SessionCluster

MESSAGES = 200
STREAMS = 5
MANY = 2_000
ADDRESSES = {"source": "127.0.0.1", "transform": "127.0.0.2", "sink": "127.0.0.3"}
"""The source and each receiver come another way to the hub."""

pytestmark = pytest.mark.usefixtures("mounts", "go_engrams")


async def test_no_source_that_has_ended_sends_its_beginning_again(tmp_path: Path, steerable: SessionCluster) -> None:
    """The node starts its container again at once; the operator, which ends the step, comes 8 seconds later."""
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        streams = [
            GoStream(rig, f"s{number}", MESSAGES, versions=dict.fromkeys(LINE, (OLD, NEW)[number % 2]), waits=True)
            for number in range(STREAMS)
        ]
        for stream in streams:
            await stream.apply()
        for stream in streams:
            await rig.until_connected(stream.name, LINE)
        async with rig.operator.away():
            for stream in streams:
                stream.let_flow()
            await until(lambda: all(stream.returned() for stream in streams))
            await trio.sleep(8)
        phases = [(await rig.ended(stream.name))["phase"] for stream in streams]
        print([stream.faults() for stream in streams])
        assert [stream.faults()[1] for stream in streams] == [0] * STREAMS
        assert phases == ["Succeeded"] * STREAMS


async def test_no_container_ends_while_the_hub_is_away(tmp_path: Path, steerable: SessionCluster) -> None:
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        streams = [
            GoStream(rig, name, MESSAGES, "20ms", dict.fromkeys(LINE, version), waits=True)
            for name, version in (("old", OLD), ("new", NEW))
        ]
        for stream in streams:
            await stream.apply()
        for stream in streams:
            await rig.until_connected(stream.name, LINE)
            stream.let_flow()
        await until(lambda: all(stream.kept().total() >= 50 for stream in streams))
        pods = await rig.pods()
        async with rig.hub.away():
            await trio.sleep(15)
            assert await rig.pods() == pods
        await until(lambda: all(stream.returned() for stream in streams))
        phases = [(await rig.ended(stream.name))["phase"] for stream in streams]
        print([stream.faults() for stream in streams])
        assert phases == ["Succeeded"] * len(streams)
        assert all(f"{2 * MESSAGES - 2} message-{MESSAGES - 1}" in stream.kept() for stream in streams)


@pytest.mark.parametrize("broken", ["transform", "sink"])
async def test_what_a_receiver_loses_with_its_connection_comes_again(
    tmp_path: Path, steerable: SessionCluster, broken: str
) -> None:
    """Hub and containers live on. What is lost in spite of that is counted."""
    way = unshared_port()
    async with open_real_rig(tmp_path, steerable, tls=True, way=way) as rig, AsyncExitStack() as stack:
        links = {
            name: await stack.enter_async_context(open_link(f"tcp://127.0.0.1:{rig.port}", host=address, port=way))
            for name, address in ADDRESSES.items()
        }
        stream = GoStream(rig, "broken", MANY, address=ADDRESSES)
        await stream.apply()
        for share in (0.2, 0.4, 0.6):
            await stream.until_kept(share)
            assert links[broken].cut() == 1
        status = await rig.ended(stream.name)
        missing, doubled = stream.faults()
        lost = sum([await stream.lost(name) for name in LINE])
        print(f"missing {missing}, doubled {doubled}, counted as lost {lost}")
        assert status["phase"] == "Succeeded", status
        assert lost == missing
        assert missing == 0
