"""The access to the hub, from two Secrets of the operator's namespace. (manager/hub_access.py)"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from operator import eq

import pytest
import trio

from core.api.objects import Object
from core.api.resource import NAMESPACE, SECRET
from core.kube.client import KubeClient
from core.policy.settings import OperatorSettings, TransportSettings
from core.workloads.hub_access import HubAccess
from core.workloads.hub_key import hub_key_secret, keys_of_secret
from localcluster.server.cluster import open_api_server
from manager.hub_access import HubAccessSource
from tests.integration.api_access import embedded
from tests.integration.operator_cluster import eventually

SYSTEM = "bobrapet-system"


@dataclass
class Stand:
    client: KubeClient
    nursery: trio.Nursery
    told: list[str] = field(default_factory=list)

    async def source(self, *, endpoint: str = "", configured: str = "") -> HubAccessSource:
        settings = OperatorSettings(transport=TransportSettings(hub_endpoint=configured))
        made = HubAccessSource(self.client, SYSTEM, lambda: settings, endpoint=endpoint)
        made.listeners.append(lambda: self.told.append("news"))
        self.nursery.start_soon(made.run)
        return made

    async def secret(self, name: str, **data: bytes) -> Object:
        encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
        manifest = {"metadata": {"name": name, "namespace": SYSTEM}, "data": encoded}
        return await self.client.create(SECRET, manifest)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with (
        open_api_server() as server,
        trio.open_nursery() as nursery,
        embedded(server, nursery).connected() as client,
    ):
        await client.create(NAMESPACE, {"metadata": {"name": SYSTEM}})
        yield Stand(client, nursery)
        nursery.cancel_scope.cancel()


async def gives(source: HubAccessSource, holds: Callable[[HubAccess | None], bool]) -> None:
    async def is_so() -> bool:
        return holds(source.current())

    await eventually(is_so)


async def has_way(source: HubAccessSource) -> HubAccess:
    await gives(source, lambda found: found is not None)
    found = source.current()
    assert found is not None
    return found


async def test_a_missing_key_is_made_once_and_again_when_somebody_deletes_it(stand: Stand) -> None:
    one, other = await stand.source(endpoint="127.0.0.1:7"), await stand.source(endpoint="127.0.0.1:7")
    first = await has_way(one)
    await gives(other, lambda found: found == first)
    [key] = keys_of_secret(await stand.client.get(SECRET, "bobrapet-hub-key", SYSTEM))
    assert first == HubAccess("127.0.0.1:7", key)
    assert len(key) == 64
    await stand.client.delete(SECRET, "bobrapet-hub-key", SYSTEM)
    await gives(one, lambda found: found not in (None, first))


async def test_the_first_line_signs_and_an_unusable_key_is_no_way(stand: Stand) -> None:
    stored = await stand.client.create(SECRET, hub_key_secret(SYSTEM, "a" * 64))
    source = await stand.source(endpoint="localhost:1")
    assert (await has_way(source)).key == b"a" * 64
    for text, wanted in ((b"b" * 64 + b"\n" + b"a" * 64, HubAccess("localhost:1", b"b" * 64)), (b"short", None)):
        patch = {"data": {"keys": base64.b64encode(text).decode()}}
        await stand.client.patch(SECRET, stored["metadata"]["name"], patch, namespace=SYSTEM)
        await gives(source, partial(eq, wanted))
    assert stand.told


async def test_a_hub_with_tls_is_known_once_its_authority_is(stand: Stand) -> None:
    await stand.client.create(SECRET, hub_key_secret(SYSTEM, "a" * 64))
    source = await stand.source()
    await trio.sleep(0.1)
    assert source.current() is None
    await stand.secret("bobrapet-hub-tls", ca_crt=b"pem")
    found = await has_way(source)
    assert (found.endpoint, found.ca_bundle) == ("bobrapet-hub.bobrapet-system.svc:9000", b"pem")


async def test_another_hub_may_have_a_public_authority(stand: Stand) -> None:
    source = await stand.source(configured="hub.example:443")
    found = await has_way(source)
    assert (found.endpoint, found.ca_bundle) == ("hub.example:443", None)


async def test_the_settings_count_more_than_the_hub_of_the_operator(stand: Stand) -> None:
    source = await stand.source(endpoint="127.0.0.1:9", configured="hub.example:443")
    assert (await has_way(source)).endpoint == "hub.example:443"
