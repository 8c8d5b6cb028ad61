"""The clock of the API server decides, whatever our own clock says."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
import trio
import trio.testing

from certs.verifiertime import VerifierClock
from core.engine.clock import WallClock
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.retry import ONCE
from tests.unit.certs.certs_world import START


class TimeServer(httpx.AsyncBaseTransport):
    def __init__(self, date: str | None) -> None:
        self.date = date

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.date is None:
            raise httpx.ConnectError("down")
        return httpx.Response(200, headers={"date": self.date} if self.date else {}, content=b"{}")


def written(**ahead: float) -> str:
    return format_datetime(START + timedelta(**ahead), usegmt=True)


async def test_the_servers_date_counts_and_goes_on_while_it_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    server = TimeServer(written(days=3))
    ours = START
    async with open_client(ClusterConfig("http://x"), transport=server, retry=ONCE) as client:
        clock = VerifierClock(client, WallClock(lambda: ours))
        assert await clock.ask() == START + timedelta(days=3)

        server.date = None
        await trio.sleep(3600)
        ours = START + timedelta(days=400)

        assert await clock.ask() == START + timedelta(days=3, hours=1)
        assert clock.on_our_clock(START + timedelta(days=4)) == ours + timedelta(hours=23)


@pytest.mark.parametrize("date", ["", "nonsense", written(seconds=-1)], ids=["none", "nonsense", "agreeing"])
async def test_our_clock_counts_where_the_server_says_nothing_or_the_same(date: str) -> None:
    async with open_client(ClusterConfig("http://x"), transport=TimeServer(date), retry=ONCE) as client:
        told = await VerifierClock(client, WallClock(lambda: START)).ask()

        assert abs(told - START) < timedelta(seconds=0.5)
