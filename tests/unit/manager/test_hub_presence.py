"""The operator follows the Lease of the hub. (manager/hub_presence.py)"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
import trio

from bubu_contract.instants import format_precise_instant
from core.api.objects import Object
from core.api.resource import LEASE, NAMESPACE
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.policy.settings import OperatorSettings, TransportSettings
from core.workloads.hub_lease import HUB_LEASE
from localcluster.server.cluster import open_api_server
from manager.hub_presence import HubPresence
from tests.integration.adapter_world import Wire
from tests.integration.api_access import embedded
from tests.integration.operator_cluster import eventually

SYSTEM = "bobrapet-system"
LONG = timedelta(hours=1)
SHORT = timedelta(milliseconds=300)


@dataclass
class Stand:
    client: KubeClient
    wired: KubeClient
    """That of the operator."""
    wire: Wire
    nursery: trio.Nursery
    timeout: timedelta = LONG
    told: list[bool] = field(default_factory=list)
    """What was known at each call of the listener: whether the hub was lost."""

    @property
    def settings(self) -> OperatorSettings:
        return OperatorSettings(transport=replace(TransportSettings(), heartbeat_timeout=self.timeout))

    def presence(self) -> HubPresence:
        made = HubPresence(self.wired, SYSTEM, lambda: self.settings, system_now)
        made.listeners.append(lambda: self.told.append(made.silence() is not None))
        self.nursery.start_soon(made.run)
        return made

    async def renew(self, *, ago: timedelta = timedelta()) -> Object:
        at = format_precise_instant(system_now() - ago)
        spec = {"holderIdentity": "hub", "leaseDurationSeconds": 1, "renewTime": at}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": HUB_LEASE}, "spec": spec}
        return await self.client.apply(LEASE, body, namespace=SYSTEM, field_manager="hub", force=True)

    async def until_told(self, *told: bool) -> None:
        async def is_so() -> bool:
            await trio.lowlevel.checkpoint()
            return self.told == [*told]

        await eventually(is_so)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with open_api_server() as server, trio.open_nursery() as nursery:
        access = embedded(server, nursery)
        wire = Wire(access.open_wire())
        async with access.connected() as client, access.connected(wire) as wired:
            await client.create(NAMESPACE, {"metadata": {"name": SYSTEM}})
            yield Stand(client, wired, wire, nursery)
            nursery.cancel_scope.cancel()


async def test_a_hub_that_renews_no_more_is_lost_and_back_with_its_second_renewal(stand: Stand) -> None:
    stand.timeout = SHORT
    presence = stand.presence()
    await stand.renew()
    await stand.until_told(True)
    await stand.renew()
    await trio.sleep(0.1)
    silence = presence.silence()
    assert silence is not None
    assert silence.back_at is not None
    await stand.renew()
    await stand.until_told(True, False)
    assert presence.silence() is None


async def test_the_death_of_a_hub_that_has_renewed_once_is_news_too(stand: Stand) -> None:
    stand.timeout = SHORT
    presence = stand.presence()
    await stand.renew()
    await stand.until_told(True)
    await stand.renew()
    await stand.until_told(True, True)
    silence = presence.silence()
    assert silence is not None
    assert silence.back_at is None


async def test_no_hub_is_lost_before_the_api_server_has_confirmed_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.hub_presence.ASK_AGAIN_SECONDS", 0.2)
    stand.timeout = SHORT
    stand.wire.refuse = f"GET {HUB_LEASE}"
    stand.presence()
    await stand.renew()
    await eventually(lambda: asked_twice(stand))
    assert stand.told == []
    stand.wire.refuse = ""
    await stand.until_told(True)


async def asked_twice(stand: Stand) -> bool:
    await trio.lowlevel.checkpoint()
    return stand.wire.reads.count(f"GET {HUB_LEASE}") >= 2


async def test_another_time_limit_counts_for_a_hub_that_is_silent_already(stand: Stand) -> None:
    presence = stand.presence()
    await stand.renew(ago=timedelta(minutes=5))
    await trio.sleep(0.2)
    assert stand.told == []
    stand.timeout = timedelta(minutes=1)
    presence.settings_changed()
    await stand.until_told(True)


async def test_a_process_that_starts_knows_a_dead_hub_and_forgets_it_with_its_lease(stand: Stand) -> None:
    stand.timeout = timedelta(minutes=1)
    await stand.renew(ago=timedelta(minutes=5))
    stand.presence()
    await stand.until_told(True)
    await stand.client.delete(LEASE, HUB_LEASE, SYSTEM)
    await stand.until_told(True, False)


async def test_renewals_tell_nobody(stand: Stand) -> None:
    presence = stand.presence()
    for _ in range(5):
        await stand.renew()
    await trio.sleep(0.1)
    assert (stand.told, presence.silence()) == ([], None)
